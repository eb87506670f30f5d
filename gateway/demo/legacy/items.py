"""Items, guarded by a token (S1)."""

from __future__ import annotations

import csv
import hmac
import io
from typing import TYPE_CHECKING, Any

from flask import Response, g, jsonify, request, stream_with_context

from gateway.demo.legacy import db
from gateway.demo.legacy.blueprints import items
from gateway.demo.legacy.pipeline import submit
from gateway.demo.shop import settings
from gateway.demo.shop.catalog import all_items, find_item, list_items

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.typing import ResponseReturnValue

    from gateway.demo.shop.models import Item


@items.before_request
def check_token() -> ResponseReturnValue | None:
    """Ask for the token on every page of this blueprint, and keep it in `g`."""
    token = request.headers.get("x-token", "")
    if not hmac.compare_digest(token.encode(), settings.token().encode()):
        return jsonify(error=settings.UNAUTHORIZED), 401
    g.token = token
    return None


@items.post("/")
def create_item() -> ResponseReturnValue:
    """Store a new item. The view hands nothing down: see `pipeline.py`."""
    return jsonify(submit())


@items.post("/import")
def import_item() -> ResponseReturnValue:
    """Store a new item, again: the native twin of this view still calls the same helper."""
    return jsonify(submit())


@items.get("/")
def index() -> ResponseReturnValue:
    """List the first items."""
    page = list_items(db.session(), page=1, per_page=20)
    return jsonify(items=[as_dict(item) for item in page.items], total=page.total)


@items.get("/<int:item_id>")
def show(item_id: int) -> ResponseReturnValue:
    """Show one item."""
    return jsonify(as_dict(find_item(db.session(), item_id)))


@items.get("/export.csv")
def export() -> ResponseReturnValue:
    """Stream all items, one line at a time, however many there are."""
    # With the context, or teardown would close the session before the first row is read.
    response = Response(stream_with_context(_csv_lines()), mimetype="text/csv")
    response.headers["Content-Disposition"] = "attachment; filename=items.csv"
    return response


def _csv_lines() -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["id", "item_name", "size", "tags", "price_cents"])
    for item in all_items(db.session()):
        writer.writerow([item.id, item.item_name, item.size, " ".join(item.tags), item.price_cents])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def as_dict(item: Item) -> dict[str, Any]:
    """Return what clients see of an item."""
    return {"id": item.id, "item_name": item.item_name, "size": item.size, "tags": item.tags}
