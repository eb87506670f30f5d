"""The first version of the public API (S7). It stays on Flask; version 2 is native."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import jsonify, request

from gateway.demo.legacy import db
from gateway.demo.legacy.blueprints import api_v1
from gateway.demo.shop.catalog import MAX_PER_PAGE, find_item, list_items

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from gateway.demo.shop.models import Item


@api_v1.get("/items")
def list_all() -> ResponseReturnValue:
    """List items by page; nonsense in the query means the default, as ever."""
    number = max(request.args.get("page", 1, type=int), 1)
    per_page = min(max(request.args.get("per_page", 20, type=int), 1), MAX_PER_PAGE)
    page = list_items(db.session(), number, per_page)
    return jsonify(
        items=[as_dict(item) for item in page.items],
        page=page.page,
        per_page=page.per_page,
        total=page.total,
    )


@api_v1.get("/items/<int:item_id>")
def show(item_id: int) -> ResponseReturnValue:
    """Show one item."""
    return jsonify(as_dict(find_item(db.session(), item_id)))


def as_dict(item: Item) -> dict[str, Any]:
    """Return an item as version 1 has it: flat, and the price a float (regretted since)."""
    return {
        "id": item.id,
        "name": item.item_name,
        "tags": item.tags,
        "price": item.price_cents / 100,
    }
