"""The tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, String, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: The largest number that SQLite stores. Python's have no end, and clients send what they like.
LARGEST = 2**63 - 1


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite stores no time zone, so it is added again on the way out."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store `value` as naive UTC."""
        del dialect
        return value.astimezone(UTC).replace(tzinfo=None) if value is not None else None

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Return what was stored as an aware time."""
        del dialect
        return value.replace(tzinfo=UTC) if value is not None else None


class Base(DeclarativeBase):
    """Base of all tables."""


class User(Base):
    """A customer."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    email: Mapped[str] = mapped_column(String(120))
    #: A salted hash, never the password itself; no page should show even that.
    password: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Item(Base):
    """Something to buy. `tags` are sorted and without duplicates."""

    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_name: Mapped[str] = mapped_column(String(120))
    size: Mapped[int] = mapped_column(default=0)
    tags: Mapped[list[str]] = mapped_column(JSON, default=list)
    price_cents: Mapped[int] = mapped_column(default=0)


class StoredFile(Base):
    """A document of the shop: a manual, an invoice. `name` may hold slashes."""

    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    size: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64))


class Build(Base):
    """A build of the factory (S6); the project's fields are flat, and empty without one."""

    __tablename__ = "builds"

    id: Mapped[int] = mapped_column(primary_key=True)
    package: Mapped[str] = mapped_column(String(80))
    status: Mapped[str] = mapped_column(String(20))
    scratch: Mapped[bool] = mapped_column(default=False)
    project_name: Mapped[str | None] = mapped_column(String(80))
    project_url: Mapped[str | None] = mapped_column(String(200))
