"""What a store of overrides is, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from gateway.exceptions import GatewayError
from gateway.held import Held, merged, new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from gateway.blocks import Block
    from gateway.overrides import Override


class StoreDown(GatewayError):
    """The store can't be reached, or can't be written to; what it held last stays in force."""


class StoreConflict(GatewayError):
    """Somebody else has changed the store since; nothing was written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit trail; never changed and never removed.

    `at` is in seconds since the epoch. `action` is set, rollback, clear, expire, drop, restore,
    reload, block, accept or unblock. `before` and `after` are what was in force: a cutover as
    people write it, `blocked`, or empty.
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
    """One step of the store: overrides that come, routes whose overrides go, and their entries.

    `write` is its id, so that whoever tries it out beforehand comes to the same state. `blocks` are
    those that begin, or have ended.
    """

    put: Sequence[Override] = ()
    drop: Sequence[str] = ()
    entries: Sequence[Entry] = field(default=())
    write: str = field(default_factory=new_id)
    blocks: Sequence[Block] = ()


Step: TypeAlias = "Callable[[Held], tuple[Held, Sequence[Entry]]]"
"""From what is held to what shall be held, and what the audit trail says of it."""


class Store(Protocol):
    """Keeps overrides and the audit trail, for all workers of a host or all replicas.

    Every method may block and is called on a thread of its own; each raises StoreDown where the
    store can't do it, also where what it holds can't be understood. One object is used by one
    thread at a time.
    """

    url: str
    """Where it is, without a password."""

    def twin(self) -> Store:
        """Return another object of the same store, for another thread."""
        ...

    def read(self) -> Held:
        """Return what is held; an empty Held where nothing ever was. Writes nothing."""
        ...

    def wait(self, mark: str, seconds: float) -> bool:
        """Return True as soon as the state isn't the one of `mark`, False after `seconds`."""
        ...

    def interrupt(self) -> None:
        """Let a `wait` on another thread return False soon; it never waits again."""
        ...

    def step(self, take: Step) -> Held:
        """Go from what is held to what `take` makes of it, as one step with its entries.

        Where `take` gives back the very object that it was given, nothing is written. It may be
        called again if somebody else was quicker. What it raises leaves everything as it is.
        """
        ...

    def write(self, change: Change, expected: Held | None = None) -> Held:
        """Carry out a change as one step, and return what is held then.

        Raises StoreConflict where `expected` is given and something else is held.
        """

        def take(held: Held) -> tuple[Held, Sequence[Entry]]:
            if expected is not None and expected.mark != held.mark:
                raise StoreConflict(f"the overrides are at {held.mark}, not at {expected.mark}")
            return after(held, change), change.entries

        return self.step(take)

    def restore(self, ours: Held, entry: Entry) -> Held:
        """Put back what the store has lost of `ours`; where it has lost nothing, write nothing."""

        def take(held: Held) -> tuple[Held, Sequence[Entry]]:
            if held.includes(ours):
                return held, ()
            return merged(ours, held), [entry]

        return self.step(take)

    def note(self, entry: Entry) -> None:
        """Add a line to the audit trail without changing anything."""
        ...

    def audit(self, limit: int, routes: Collection[str] | None = None) -> list[Entry]:
        """Return the last `limit` entries, of these routes or of all, the newest first."""
        ...

    def put(
        self, kind: str, documents: Mapping[str, Any], seconds: float, most: int = 1000
    ) -> None:
        """Keep plain values of a kind, by their keys, for so many seconds; the newest `most`.

        They are replaced where they are there already, and are nothing that must not be lost.
        """
        ...

    def documents(self, kind: str) -> dict[str, Any]:
        """Return what is kept of a kind and isn't over, by key."""
        ...

    def remove(self, kind: str, keys: Collection[str]) -> None:
        """Keep these no longer."""
        ...

    def lease(self, name: str, owner: str, seconds: float) -> bool:
        """Take a lease, or prolong one's own; False where somebody else has it.

        It ends by itself after `seconds`, so that whoever dies holds it for no longer.
        """
        ...

    def close(self) -> None:
        """Let go of connections. The object can be used again."""
        ...


def entry_of(data: dict[str, Any]) -> Entry:
    """Read an Entry from plain values; keys of a newer version are passed over."""
    return Entry(**{name: data[name] for name in Entry.__dataclass_fields__ if name in data})


def after(held: Held, change: Change) -> Held:
    """Return what is held after a change."""
    return held.changed(change.put, change.drop, change.write, change.blocks)
