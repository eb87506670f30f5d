"""A store that lives and dies with its process: for a Gateway without a config file."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gateway.held import Held
from gateway.store.base import Entry, Step, Store, StoreDown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class MemoryStore(Store):
    """Overrides in this process alone; with `alone` False it has neighbours, and takes none."""

    url = "memory://"

    def __init__(self, *, alone: bool = True) -> None:
        self._alone = alone
        self._held = Held()
        self._entries: list[Entry] = []
        self._documents: dict[str, dict[str, tuple[float, Any]]] = {}
        self._leases: dict[str, tuple[str, float]] = {}
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

    def put(
        self, kind: str, documents: Mapping[str, Any], seconds: float, most: int = 1000
    ) -> None:
        """Keep documents."""
        with self._changed:
            held = self._documents.setdefault(kind, {})
            for key, value in documents.items():
                held.pop(key, None)
                held[key] = (time.time() + seconds, value)
            for key in list(held)[: max(0, len(held) - most)]:
                del held[key]

    def documents(self, kind: str) -> dict[str, Any]:
        """Return documents."""
        with self._changed:
            now = time.time()
            held = self._documents.get(kind, {})
            return {key: value for key, (until, value) in held.items() if until > now}

    def remove(self, kind: str, keys: Collection[str]) -> None:
        """Remove documents."""
        with self._changed:
            for key in keys:
                self._documents.get(kind, {}).pop(key, None)

    def lease(self, name: str, owner: str, seconds: float) -> bool:
        """Take a lease; nobody else is there to have it but other objects of this process."""
        with self._changed:
            now = time.time()
            holder, until = self._leases.get(name, (owner, 0.0))
            if holder != owner and until > now:
                return False
            self._leases[name] = (owner, now + seconds)
            return True

    def close(self) -> None:
        """Keep everything: there is nothing to let go of."""
        self._over = False
