"""A look at the overrides in the store: nothing is written and nothing is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.held import Held
from gateway.store import StoreDown, open_store

if TYPE_CHECKING:
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
        return Seen(store.read(), store.url)
    except StoreDown as error:
        return Seen(url=store.url, failure=str(error))
    finally:
        store.close()
