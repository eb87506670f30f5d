"""Items, guarded by a token (S1). Everything that legacy reads deep below is a parameter here."""

from typing import Any

from fastapi import APIRouter, Depends, Request

from gateway.demo.legacy.pipeline import submit
from gateway.demo.native.dependencies import Db, Token, first, verify_token
from gateway.demo.native.schemas import Item, ItemCreated, ItemList, ItemOut
from gateway.demo.shop.catalog import add_item, find_item, list_items
from gateway.flask import FlaskRoute


async def _check(request: Request) -> None:
    await verify_token(request.headers.get("x-token", ""))


router = APIRouter(route_class=first(_check), dependencies=[Depends(verify_token)])


@router.post("/")
def create_item(item: Item, token: Token, db: Db) -> ItemCreated:
    """Store a new item."""
    stored = add_item(db, item.item_name, item.size, item.tags)
    return ItemCreated(data=ItemOut.model_validate(stored), token=token)


@router.get("/")
def list_first(db: Db) -> ItemList:
    """List the first items."""
    page = list_items(db, page=1, per_page=20)
    return ItemList(items=[ItemOut.model_validate(item) for item in page.items], total=page.total)


@router.get("/{item_id}")
def show_item(item_id: int, db: Db) -> ItemOut:
    """Show one item."""
    return ItemOut.model_validate(find_item(db, item_id))


#: Not ported yet: the helpers below read Flask's `request` and `g`, and so they may.
unported = APIRouter(route_class=FlaskRoute)


@unported.post("/import")
def import_item() -> dict[str, Any]:
    """Store a new item by legacy's own helper, four calls deep."""
    return submit()


router.include_router(unported)
