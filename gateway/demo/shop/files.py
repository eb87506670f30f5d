"""Files: finding one, and what the shop says about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from sqlalchemy import select

from gateway.demo.shop.errors import NotFoundError
from gateway.demo.shop.models import StoredFile

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

UNIDENTIFIED = "unidentified"

# Not the mimetypes module: what that says depends on the machine.
_KINDS = {
    ".csv": "text/csv",
    ".jpg": "image/jpeg",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".txt": "text/plain",
}


@dataclass(frozen=True, slots=True)
class FileReport:
    """A file, enriched: its kind, the caller's tag, and when this was said."""

    name: str
    size: int
    digest: str
    kind: str
    tag: str
    generated_at: datetime


def find_file(session: Session, name: str) -> StoredFile:
    """Return a file by its name; raise NotFoundError."""
    found = session.scalar(select(StoredFile).where(StoredFile.name == name))
    if found is None:
        raise NotFoundError(f"no file {name!r}")
    return found


def report(file: StoredFile, tag: str, at: datetime) -> FileReport:
    """Enrich a file. The tag and the time are handed in: nothing here knows of a request."""
    return FileReport(
        name=file.name,
        size=file.size,
        digest=file.digest,
        kind=_KINDS.get(PurePosixPath(file.name).suffix, "application/octet-stream"),
        tag=tag,
        generated_at=at,
    )
