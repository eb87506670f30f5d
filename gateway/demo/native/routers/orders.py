"""Orders: the route of `gateway demo --story`, and its bug."""

from fastapi import APIRouter

from gateway.demo.native.schemas import OrderTotal
from gateway.demo.shop.orders import Order, Total, find_order, total_of
from gateway.demo.shop.settings import totals_mended

router = APIRouter()


@router.get("/{order_id}/total")
def show_total(order_id: int) -> OrderTotal:
    """Show what an order costs."""
    order = find_order(order_id)
    total = total_of(order) if totals_mended() else _rewritten(order)
    return OrderTotal.model_validate(total)


def _rewritten(order: Order) -> Total:
    """Add an order up anew.

    INTENDED FLAWS, the story's: `round` takes half a cent to the even side, where the invoice
    rounds up; and an empty order is divided by zero. No review has seen either of them.
    """
    total = round(order.price_cents * order.pieces * (100 - order.discount) / 100)
    return Total(order.id, order.pieces, total // order.pieces, total)
