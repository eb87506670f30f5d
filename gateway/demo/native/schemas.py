"""What comes in and what goes out. A field that isn't here never leaves: no password does."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from gateway.demo.shop.models import LARGEST

#: Written as legacy writes it, `+00:00`, where Pydantic would write `Z`.
Timestamp = Annotated[datetime, PlainSerializer(datetime.isoformat, return_type=str)]
Required = Annotated[str, Field(min_length=1)]


class Item(BaseModel):
    """An item to be stored."""

    item_name: str
    size: Annotated[int, Field(ge=-LARGEST, le=LARGEST)] = 0
    tags: set[str] = set()


class ItemOut(BaseModel):
    """An item as clients see it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    item_name: str
    size: int
    tags: list[str]


class ItemCreated(BaseModel):
    """The stored item, and the token that it was stored with."""

    data: ItemOut
    token: str


class ItemList(BaseModel):
    """The first items."""

    items: list[ItemOut]
    total: int


class UserIn(BaseModel):
    """A user to be stored."""

    name: Required
    email: Required
    password: Required


class UserCreated(BaseModel):
    """Where the new user is."""

    message: str
    id: int


class UserOut(BaseModel):
    """A user without the password (S3): the one difference to legacy that is meant."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    email: str
    created_at: Timestamp


class OrderTotal(BaseModel):
    """What an order costs, in cents."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    pieces: int
    per_piece_cents: int
    total_cents: int


class FileOut(BaseModel):
    """A file, enriched."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    size: int
    digest: str
    kind: str
    tag: str
    generated_at: Timestamp


class Price(BaseModel):
    """An amount that no float can spoil: a decimal number as text."""

    amount: str
    currency: str = "EUR"


class ItemV2(BaseModel):
    """An item as version 2 of the API has it."""

    id: int
    item_name: str
    size: int
    tags: list[str]
    price: Price


class PageV2(BaseModel):
    """One page of items; `next` is the number of the next page, or null."""

    items: list[ItemV2]
    total: int
    next: int | None
