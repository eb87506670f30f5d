"""Where overrides live: in a file for one host, in Redis for many, in memory for a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.exceptions import GatewayError
from gateway.store.base import Change, Entry, Store, StoreConflict, StoreDown, after
from gateway.store.memory import MemoryStore
from gateway.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Change",
    "Entry",
    "MemoryStore",
    "SqliteStore",
    "Store",
    "StoreConflict",
    "StoreDown",
    "after",
    "open_store",
]

#: Where overrides are kept if the config doesn't say, relative to its file.
DEFAULT_FILE = ".gateway/state.db"


def open_store(url: str | None, folder: Path, *, on_disk: bool = True, alone: bool = True) -> Store:
    """Make the store that `state:` names; nothing is opened before it is used.

    `sqlite:///path` is relative to `folder`. Where nothing is named, it is a file in that folder,
    or memory unless `on_disk`, which is of no use to a worker that isn't `alone`. Raises
    GatewayError where Redis's client isn't installed.
    """
    if url is None:
        return SqliteStore(folder / DEFAULT_FILE) if on_disk else MemoryStore(alone=alone)
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        return SqliteStore(folder / rest.removeprefix("/"))
    try:
        from gateway.store.redis import RedisStore  # noqa: PLC0415 - needs the `redis` extra
    except ModuleNotFoundError:
        message = f"state: {scheme}:// needs Redis's client (pip install 'gateway[redis]')"
        raise GatewayError(message) from None
    return RedisStore(url)
