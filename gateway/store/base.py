"""What a store of overrides is, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from gateway.exceptions import GatewayError
from gateway.overrides import Held

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.overrides import Override


class StoreDown(GatewayError):
    """The store can't be reached, or can't be written to; what it held last stays in force."""


class StoreConflict(GatewayError):
    """Somebody else has changed the store since; nothing was written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit trail; never changed and never removed.

    `at` is in seconds since the epoch. `action` is set, rollback, clear, expire, drop, restore or
    reload. `before` and `after` are what was in force: a cutover as people write it, or empty.
    """

    at: float
    action: str
    route: str
    before: str
    after: str
    author: str
    reason: str
    revision: str = ""
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One step of the store: overrides that come, routes whose overrides go, and their entries."""

    put: Sequence[Override] = ()
    drop: Sequence[str] = ()
    entries: Sequence[Entry] = field(default=())


class Store(Protocol):
    """Keeps overrides and the audit trail, for all workers of a host or all replicas.

    Every method may block and is called on a thread of its own; each raises StoreDown where the
    store can't do it. One object is used by one thread at a time.
    """

    url: str
    """Where it is, without a password."""

    def twin(self) -> Store:
        """Return another object of the same store, for another thread."""
        ...

    def read(self) -> Held:
        """Return what is held; an empty Held where nothing ever was."""
        ...

    def wait(self, sequence: int, seconds: float) -> bool:
        """Return True as soon as the sequence isn't `sequence` any more, False after `seconds`."""
        ...

    def interrupt(self) -> None:
        """Let a `wait` on another thread return False soon; it never waits again."""
        ...

    def write(self, change: Change, expected: int | None = None) -> Held:
        """Carry out a change as one step, and return what is held then.

        Raises StoreConflict where `expected` is given and isn't the sequence.
        """
        ...

    def restore(self, held: Held, entry: Entry) -> Held:
        """Put back what the store has lost: only if its sequence is below that of `held`."""
        ...

    def note(self, entry: Entry) -> None:
        """Add a line to the audit trail without changing anything."""
        ...

    def audit(self, limit: int, route: str | None = None) -> list[Entry]:
        """Return the last `limit` entries, the newest first."""
        ...

    def close(self) -> None:
        """Let go of connections. The object can be used again."""
        ...


def entry_of(data: dict[str, Any]) -> Entry:
    """Read an Entry from plain values; keys of a newer version are passed over."""
    return Entry(**{name: data[name] for name in Entry.__dataclass_fields__ if name in data})


def after(held: Held, change: Change) -> Held:
    """Return what is held after a change."""
    gone = {*change.drop, *(each.route for each in change.put)}
    kept = tuple(each for each in held.overrides if each.route not in gone)
    return Held(held.sequence + 1, (*kept, *change.put))
