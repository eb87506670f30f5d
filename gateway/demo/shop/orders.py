"""Orders: what is in them, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.demo.shop.errors import NotFoundError

#: Orders are numbered from 1 to this.
ORDERS = 40


@dataclass(frozen=True, slots=True)
class Order:
    """Some pieces of one item, and a discount in percent. An order may be empty."""

    id: int
    price_cents: int
    pieces: int
    discount: int


@dataclass(frozen=True, slots=True)
class Total:
    """What an order costs, in cents; a piece of an empty one costs nothing."""

    id: int
    pieces: int
    per_piece_cents: int
    total_cents: int


def find_order(order_id: int) -> Order:
    """Return an order; raise NotFoundError.

    They follow from their numbers: every fifth is empty, a basket that was just begun, and of one
    in ten the discount leaves half a cent.
    """
    if not 1 <= order_id <= ORDERS:
        raise NotFoundError(f"no order {order_id}")
    return Order(
        order_id,
        price_cents=803 + 28 * order_id,
        pieces=2 if order_id % 5 else 0,
        discount=25 if order_id % 10 == 7 else 0,  # noqa: PLR2004 - one in ten
    )


def total_of(order: Order) -> Total:
    """Add an order up; half a cent is rounded up, as its invoice has it."""
    hundredths = order.price_cents * order.pieces * (100 - order.discount)
    total = (hundredths + 50) // 100
    per_piece = total // order.pieces if order.pieces else 0
    return Total(order.id, order.pieces, per_piece, total)
