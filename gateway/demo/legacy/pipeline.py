"""From the view down to `process_data()`, without a parameter on the way.

Nothing is wrong with it as long as Flask calls: `request` and `g` are wherever one needs them.
Moving the route means finding this out, four calls below the view.
"""

from __future__ import annotations

import logging
from typing import Any

from flask import g, request

from gateway.demo.legacy import db
from gateway.demo.legacy.errors import BadInputError
from gateway.demo.shop.catalog import add_item
from gateway.demo.shop.models import LARGEST

logger = logging.getLogger(__name__)


def submit() -> dict[str, Any]:
    """Take one submission from the request that is being served."""
    result = run_import()
    logger.info("item %s submitted from %s", result["data"]["id"], request.remote_addr)
    return result


def run_import() -> dict[str, Any]:
    """Run the import, all of it or nothing."""
    try:
        return import_one()
    except Exception:
        db.session().rollback()
        raise


def import_one() -> dict[str, Any]:
    """Process one item, on behalf of an account where the client names one."""
    logger.debug("importing for %s", request.headers.get("X-Account", "nobody"))
    return process_data()


def process_data() -> dict[str, Any]:
    """Store the item that the request's JSON describes; the view sends what this returns."""
    payload = request.get_json()
    try:
        item_name = str(payload["item_name"])
        size = int(payload.get("size", 0))
        tags = [str(tag) for tag in payload.get("tags", ())]
    except KeyError as error:
        raise BadInputError(f"{error.args[0]} is required") from None
    except (AttributeError, TypeError, ValueError):
        raise BadInputError("this is no item") from None
    if abs(size) > LARGEST:
        raise BadInputError("size is too large")
    item = add_item(db.session(), item_name, size, tags)
    data = {"id": item.id, "item_name": item.item_name, "size": item.size, "tags": item.tags}
    return {"data": data, "token": g.token}
