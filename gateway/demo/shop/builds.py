"""Builds (S6): what the factory has made, some of it for a project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from gateway.demo.shop.models import Build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

MAX_PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class Range:
    """Some builds, numbered from `first`."""

    builds: Sequence[Build]
    first: int

    @property
    def content_range(self) -> str:
        """Return the Content-Range of a list whose end nobody counts (RFC 9110, 14.4)."""
        return f"koji-builds {self.first + 1}-{self.first + len(self.builds)}/*"


def list_builds(session: Session, page: int, per_page: int, scratch: bool | None) -> Range:
    """Return one page of the builds by id; pages count from 1."""
    per_page = max(1, min(per_page, MAX_PER_PAGE))
    first = (max(1, page) - 1) * per_page
    query = select(Build).order_by(Build.id).offset(min(first, 10**9)).limit(per_page)
    if scratch is not None:
        query = query.where(Build.scratch == scratch)
    return Range(session.scalars(query).all(), first)
