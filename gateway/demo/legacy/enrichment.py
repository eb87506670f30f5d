"""Enriching a file: the helper far from any view that knows the request all the same (S4)."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import request

from gateway.demo.legacy import db
from gateway.demo.shop.files import UNIDENTIFIED, find_file, report

if TYPE_CHECKING:
    from gateway.demo.shop.models import StoredFile


def enrich(name: str) -> dict[str, Any]:
    """Return a file with its kind, tag and time, ready for JSON."""
    values = _describe(find_file(db.session(), name))
    return values | {"generated_at": values["generated_at"].isoformat()}


def _describe(file: StoredFile) -> dict[str, Any]:
    # A query parameter and the wall clock, read where nobody looks for them.
    tag = request.args.get("tag", UNIDENTIFIED)
    return asdict(report(file, tag, datetime.now(UTC)))
