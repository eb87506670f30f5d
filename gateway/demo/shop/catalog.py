"""Items: adding, finding, listing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from gateway.demo.shop.errors import NotFoundError
from gateway.demo.shop.models import LARGEST, Item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy.orm import Session

MAX_PER_PAGE = 100


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the items, and how many there are in all. Pages count from 1."""

    items: Sequence[Item]
    page: int
    per_page: int
    total: int


def add_item(session: Session, item_name: str, size: int, tags: Iterable[str]) -> Item:
    """Store a new item; its id is set."""
    item = Item(item_name=item_name, size=size, tags=sorted(set(tags)), price_cents=0)
    session.add(item)
    session.commit()
    return item


def find_item(session: Session, item_id: int) -> Item:
    """Return an item; raise NotFoundError."""
    item = session.get(Item, item_id) if item_id <= LARGEST else None
    if item is None:
        raise NotFoundError(f"no item {item_id}")
    return item


def list_items(session: Session, page: int, per_page: int) -> Page:
    """Return one page of the items by id."""
    offset = min((page - 1) * per_page, LARGEST)
    total = session.scalar(select(func.count()).select_from(Item)) or 0
    items = session.scalars(select(Item).order_by(Item.id).offset(offset).limit(per_page)).all()
    return Page(items, page, per_page, total)


def all_items(session: Session) -> Iterator[Item]:
    """Yield every item by id, read from the database bit by bit."""
    yield from session.scalars(select(Item).order_by(Item.id).execution_options(yield_per=50))
