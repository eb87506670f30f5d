"""What one worker has compared of blocked routes since they were blocked: a new release's proof."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Protocol

from gateway.blocks import Proof, name_of, proof, proof_key
from gateway.shadow.compare import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gateway.blocks import Block
    from gateway.routing import Route
    from gateway.shadow.opening import Pair


class Blocking(Protocol):
    """Who keeps the blocks."""

    release: str
    """The build that this worker serves."""

    def block(self, route: Route, what: str) -> None:
        """Leave a route to legacy at once."""
        ...

    def standing(self) -> Mapping[str, Block]:
        """Return the blocks that stand, by the names of their routes."""
        ...

    async def prove(self, block: Block, found: Proof) -> None:
        """End a block that is proved to have no reason any more."""
        ...


class Proofs:
    """Blocks where native opens, and counts the comparisons that may end that again."""

    def __init__(self, blocking: Blocking) -> None:
        self.opened: dict[tuple[str, str], int] = {}
        """How often native let in a caller whom legacy refused, by method and path template."""
        self._blocking = blocking
        self._worker = ""
        self._counted: dict[str, Proof] = {}

    def compared(self, route: Route, pair: Pair, verdict: Verdict | None, what: str) -> None:
        """Take note of one comparison; block the route where it opened."""
        if verdict is Verdict.OPENED:
            key = (route.method, route.label)
            self.opened[key] = self.opened.get(key, 0) + 1
            self._blocking.block(route, what)
            return
        if verdict is Verdict.RACED:
            return
        block = self._blocking.standing().get(name_of(route))
        if block is None or self._blocking.release in block.releases:
            return
        # Not before: a server may fork its workers from a process that has made this.
        self._worker = self._worker or secrets.token_hex(6)
        key_ = proof_key(block, self._blocking.release, self._worker)
        so_far = self._counted.get(key_, Proof())
        refused = so_far.refused + pair.both_refused
        self._counted[key_] = Proof(so_far.compared + 1, refused)

    def documents(self) -> dict[str, list[int]]:
        """Return what this worker has counted, as the store keeps it; forget what is over."""
        release, standing = self._blocking.release, self._blocking.standing()
        keys = {proof_key(each, release, self._worker) for each in standing.values()}
        self._counted = {key: each for key, each in self._counted.items() if key in keys}
        return {key: [each.compared, each.refused] for key, each in self._counted.items()}

    async def judge(self, documents: Mapping[str, Any]) -> None:
        """End the blocks that what all workers have counted is enough for. Raises StoreDown."""
        release = self._blocking.release
        for block in list(self._blocking.standing().values()):
            if release not in block.releases:
                found = proof(block, release, documents)
                if found.ends:
                    await self._blocking.prove(block, found)
