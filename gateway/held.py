"""What a store of overrides holds: one state of many, which know where they come from.

Every write has an id of its own, and a state remembers the last of those that led to it. So a
worker can tell a state that includes all that it knows from one that has lost some of it: a store
that was emptied, an older copy that was put back, a replica that lagged and was written to. What
two such states know is then put together. No clock has a say in that.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter

from gateway.blocks import Block, together
from gateway.overrides import ALL, Override

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

#: Writes that a state remembers by their ids.
_MOST_WRITES = 64
#: Earlier lives of the store that a state remembers.
_MOST_ANCESTORS = 20

Sequence_ = Annotated[int, Field(ge=0, lt=2**53)]


@dataclass(frozen=True, slots=True)
class Held:
    """All overrides that a store holds, and which of its states this is.

    `sequence` grows by one with every change. `generation` names the store's life: one that has
    lost its data begins another. `writes` are the ids of the last changes, the newest last.
    `ancestors` are the earlier lives that went into this one, each with the last sequence that it
    includes. `blocks` only grow: one that has ended says so.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, allow_inf_nan=False)

    sequence: Sequence_ = 0
    overrides: tuple[Override, ...] = ()
    generation: str = ""
    writes: tuple[str, ...] = ()
    ancestors: tuple[tuple[str, Sequence_], ...] = ()
    blocks: tuple[Block, ...] = ()

    @property
    def mark(self) -> str:
        """What tells this state from every other: `17.a3f9c012`."""
        return f"{self.sequence}.{self.writes[-1]}" if self.writes else str(self.sequence)

    def includes(self, other: Held) -> bool:
        """Tell whether everything that led to `other` led to this, too."""
        last = other.writes[-1] if other.writes else ""
        return not other.generation or self._knows(other.generation, other.sequence, last)

    def _knows(self, generation: str, sequence: int, write: str) -> bool:
        """Tell whether a write led to this state."""
        if generation != self.generation:
            return dict(self.ancestors).get(generation, -1) >= sequence
        back = self.sequence - sequence
        if back < 0:
            return False
        # Further back nobody remembers its id; forks are noticed long before.
        return back >= len(self.writes) or self.writes[-1 - back] == write

    def knew(self, override: Override) -> bool:
        """Tell whether an override was made before this state, or in it."""
        generation, sequence, write = f"{override.origin}::".split(":")[:3]
        return sequence.isdecimal() and self._knows(generation, int(sequence), write)

    def by_route(self, now: float) -> dict[str, Override]:
        """Return those that haven't expired, by the id that they go by."""
        return {
            each.route: each
            for each in self.overrides
            if each.expires is None or each.expires > now
        }

    def next_expiry(self) -> float | None:
        """Return when the next one ends, or has ended; None where none does."""
        return min((e.expires for e in self.overrides if e.expires is not None), default=None)

    def changed(
        self,
        put: Sequence[Override],
        drop: Collection[str],
        write: str,
        blocks: Sequence[Block] = (),
    ) -> Held:
        """Return the state after a change, whose id is `write`; `blocks` replace earlier ones."""
        gone = {*drop, *(each.route for each in put)}
        kept = tuple(each for each in self.overrides if each.route not in gone)
        generation, sequence = self.generation or write, self.sequence + 1
        origin = f"{generation}:{sequence}:{write}"
        return replace(
            self,
            sequence=sequence,
            overrides=(*kept, *(replace(each, origin=origin) for each in put)),
            generation=generation,
            writes=(*self.writes, write)[-_MOST_WRITES:],
            blocks=tuple(({e.route: e for e in (*self.blocks, *blocks)}).values()),
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain values, as the stores keep them."""
        return asdict(self)

    @classmethod
    def parse(cls, text: str | bytes) -> Held:
        """Read the JSON of `as_json`; keys of a newer version are passed over.

        Raises ValueError for anything else: a store's content is nothing that we can rely on.
        """
        return _HELD.validate_json(text)


_HELD = TypeAdapter(Held)


def new_id() -> str:
    """Name a write, or a store's new life."""
    return secrets.token_hex(4)


def merged(ours: Held, found: Held) -> Held:
    """Put together what a worker knows and what a store holds that has lost some of that.

    What was changed in the store since its loss is newer than what we know, and counts. But a
    rollback, a block and the kill switch never give way, whichever side they are on.
    """
    by_route = {each.route: each for each in ours.overrides}
    for each in found.overrides:
        if ours.knew(each):
            continue  # where we don't hold it any more, somebody has cleared it
        mine = by_route.get(each.route)
        if mine is None or not _stands(mine) or _stands(each):
            by_route[each.route] = each
    shut = {r for each in by_route.values() if each.stays for r in each.covers}
    kept = (e for e in by_route.values() if _stands(e) or e.route not in shut)
    ancestors = dict(ours.ancestors)
    past = (*found.ancestors, (ours.generation, ours.sequence), (found.generation, found.sequence))
    for name, sequence in past:
        if name:
            ancestors[name] = max(sequence, ancestors.pop(name, 0))
    life = new_id()
    return Held(
        max(ours.sequence, found.sequence) + 1,
        tuple(kept),
        life,
        (life,),
        tuple(ancestors.items())[-_MOST_ANCESTORS:],
        together(ours.blocks, found.blocks),
    )


def _stands(override: Override) -> bool:
    return override.stays or override.route == ALL
