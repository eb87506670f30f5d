"""A store that lives and dies with its process: for a Gateway without a config file."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.overrides import Held
from gateway.store.base import Entry, Step, Store, StoreDown

if TYPE_CHECKING:
    from collections.abc import Collection


class MemoryStore(Store):
    """Overrides in this process alone; with `alone` False it has neighbours, and takes none."""

    url = "memory://"

    def __init__(self, *, alone: bool = True) -> None:
        self._alone = alone
        self._held = Held()
        self._entries: list[Entry] = []
        self._changed = threading.Condition()
        self._over = False

    def twin(self) -> MemoryStore:
        """Return itself: it is made for several threads."""
        return self

    def read(self) -> Held:
        """Return what is held."""
        return self._held

    def wait(self, mark: str, seconds: float) -> bool:
        """Wait for a change."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._held.mark != mark, seconds)
            return self._held.mark != mark

    def interrupt(self) -> None:
        """End a wait."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def step(self, take: Step) -> Held:
        """Carry out a change."""
        if not self._alone:
            message = "several workers serve without a store that they share; name one by `state:`"
            raise StoreDown(message)
        with self._changed:
            held, entries = take(self._held)
            self._held = held
            self._entries += [replace(each, sequence=held.sequence) for each in entries]
            self._changed.notify_all()
            return held

    def note(self, entry: Entry) -> None:
        """Add a line to the audit trail."""
        with self._changed:
            self._entries.append(replace(entry, sequence=self._held.sequence))

    def audit(self, limit: int, routes: Collection[str] | None = None) -> list[Entry]:
        """Return the last entries."""
        found = [e for e in reversed(self._entries) if routes is None or e.route in routes]
        return found[:limit]

    def close(self) -> None:
        """Keep everything: there is nothing to let go of."""
        self._over = False
