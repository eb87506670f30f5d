"""A store that lives and dies with its process: for a Gateway without a config file."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.overrides import Held
from gateway.store.base import Change, Entry, StoreConflict, StoreDown, after

if TYPE_CHECKING:
    from collections.abc import Sequence


class MemoryStore:
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

    def wait(self, sequence: int, seconds: float) -> bool:
        """Wait for a change."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._held.sequence != sequence, seconds)
            return self._held.sequence != sequence

    def interrupt(self) -> None:
        """End a wait."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def write(self, change: Change, expected: int | None = None) -> Held:
        """Carry out a change."""
        if not self._alone:
            message = "several workers serve without a store that they share; name one by `state:`"
            raise StoreDown(message)
        with self._changed:
            held = self._held
            if expected is not None and expected != held.sequence:
                raise StoreConflict(f"the overrides are at {held.sequence}, not at {expected}")
            return self._become(after(held, change), change.entries)

    def restore(self, held: Held, entry: Entry) -> Held:
        """Put back what was lost."""
        with self._changed:
            if self._held.sequence >= held.sequence:
                return self._held
            return self._become(replace(held, sequence=held.sequence + 1), [entry])

    def _become(self, held: Held, entries: Sequence[Entry]) -> Held:
        self._held = held
        self._entries += [replace(each, sequence=held.sequence) for each in entries]
        self._changed.notify_all()
        return held

    def note(self, entry: Entry) -> None:
        """Add a line to the audit trail."""
        with self._changed:
            self._entries.append(replace(entry, sequence=self._held.sequence))

    def audit(self, limit: int, route: str | None = None) -> list[Entry]:
        """Return the last entries."""
        found = [each for each in reversed(self._entries) if route in (None, each.route)]
        return found[:limit]

    def close(self) -> None:
        """Keep everything: there is nothing to let go of."""
        self._over = False
