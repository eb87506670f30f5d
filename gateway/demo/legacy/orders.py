"""Orders: the route of `gateway demo --story`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from flask import jsonify

from gateway.demo.legacy.blueprints import orders
from gateway.demo.shop.orders import find_order, total_of

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue


@orders.get("/<int:order_id>/total")
def show_total(order_id: int) -> ResponseReturnValue:
    """Show what an order costs."""
    return jsonify(asdict(total_of(find_order(order_id))))
