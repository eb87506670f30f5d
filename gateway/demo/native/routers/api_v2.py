"""The second version of the public API (S7): native from its first day, legacy never had it."""

from typing import Annotated

from fastapi import APIRouter, Query

from gateway.demo.native.dependencies import Db
from gateway.demo.native.schemas import ItemV2, PageV2, Price
from gateway.demo.shop.catalog import MAX_PER_PAGE, find_item, list_items
from gateway.demo.shop.models import Item

router = APIRouter()


@router.get("/items")
def list_page(
    db: Db,
    page: Annotated[int, Query(ge=1)] = 1,
    per_page: Annotated[int, Query(ge=1, le=MAX_PER_PAGE)] = 20,
) -> PageV2:
    """List items by page; nonsense in the query is 422."""
    found = list_items(db, page, per_page)
    more = page * per_page < found.total
    return PageV2(
        items=[_as_v2(item) for item in found.items],
        total=found.total,
        next=page + 1 if more else None,
    )


@router.get("/items/{item_id}")
def show_item(item_id: int, db: Db) -> ItemV2:
    """Show one item."""
    return _as_v2(find_item(db, item_id))


def _as_v2(item: Item) -> ItemV2:
    euros, cents = divmod(item.price_cents, 100)
    return ItemV2(
        id=item.id,
        item_name=item.item_name,
        size=item.size,
        tags=item.tags,
        price=Price(amount=f"{euros}.{cents:02}"),
    )
