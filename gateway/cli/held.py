"""A look at the overrides in the store: nothing is written and nothing is made."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from gateway.overrides import Held, Override
from gateway.store import SqliteStore, StoreDown, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.loading import Loaded


@dataclass(frozen=True, slots=True)
class Seen:
    """What a store holds. `url` has no password; `failure` says why it could not be read."""

    held: Held = field(default_factory=Held)
    url: str = ""
    failure: str | None = None


def look(loaded: Loaded) -> Seen:
    """Read what the store of a config holds; where it can't be read, that is no error."""
    store = open_store(loaded.config.state, loaded.folder)
    try:
        held = _read(store.path) if isinstance(store, SqliteStore) else store.read()
    except StoreDown as error:
        return Seen(url=store.url, failure=str(error))
    except (sqlite3.Error, OSError, ValueError, TypeError) as error:
        return Seen(url=store.url, failure=f"{store.url}: {error}")
    finally:
        store.close()
    return Seen(held, store.url)


def _read(file: Path) -> Held:
    """Read the file that SqliteStore writes, as it would, but without its leave to write."""
    if not file.exists():
        return Held()
    log = file.with_name(f"{file.name}-wal")
    # Without a log nobody has it open; SQLite would make one, and `immutable` forbids that
    # (SQLite, "URI Filenames" and "Write-Ahead Logging", section 5).
    quiet = not log.exists() or log.stat().st_size == 0
    flags = "mode=ro&immutable=1" if quiet else "mode=ro"
    uri = f"file:{quote(str(file.resolve()))}?{flags}"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE name = 'held'").fetchone()
        row = names and connection.execute("SELECT sequence, overrides FROM held").fetchone()
    if not row:
        return Held()
    return Held(int(row[0]), tuple(Override.of_json(each) for each in json.loads(row[1])))
