"""The overrides last known on this host, for a process that starts while the store is down.

Without them a worker that is replaced in an outage would have the file alone, and serve a route
natively that its neighbours have rolled back. They are a file in a private folder, taken while it
is fresh; once the store is back it has the say, as over any worker's memory.

Blocks count however old they are: without one, native would serve whom legacy refuses. Those that
no store has taken yet are a file each, so that workers that find several don't undo each other.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from gateway.blocks import Block
from gateway.folders import private_folder
from gateway.held import Held
from gateway.logs import logger_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.folders import Folder

logger = logger_for("gateway.control")

#: How long they count, in seconds, after a process has seen the store in this state.
FRESH_SECONDS = 3600.0
#: How often a state that doesn't change is seen anew, in seconds.
EVERY_SECONDS = 60.0
#: How long another config's blocks that no store has taken are left there, in seconds (30 days).
BLOCKS_SECONDS = 30 * 86_400.0
_BLOCK = TypeAdapter(Block)
_SUFFIX = ".block"


class LastKnown:
    """What was last in force of one store and one config. Blocks, and never raises.

    `store` is the store's URL without a password, `config` where the config came from.
    """

    def __init__(self, store: str, config: str) -> None:
        name = hashlib.blake2b(f"{store}\n{config}".encode(), digest_size=12).hexdigest()
        self._name, self._stem = f"{name}.json", name
        self._blocks: dict[str, Block] = {}
        self._mark: str | None = None
        self._at = 0.0
        self._off = store.startswith("memory:")

    def is_due(self, held: Held) -> bool:
        """Tell whether `note` has something to do; costs nothing."""
        if self._off:
            return False
        return held.mark != self._mark or time.monotonic() >= self._at + EVERY_SECONDS

    def note(self, held: Held) -> None:
        """Keep a state that the store holds just now."""
        try:
            with self._folder() as folder:
                if held.mark != self._mark or self._name not in folder.names():
                    folder.write(self._name, json.dumps(held.as_json()).encode())
                else:
                    folder.touch(self._name)
        except OSError as error:
            logger.warning("the overrides can't be kept for a start in an outage: %s", error)
            self._off = True
        self._mark, self._at = held.mark, time.monotonic()

    def read(self) -> Held:
        """Return what was kept, if it is fresh; an empty Held otherwise."""
        if self._off:
            return Held()
        try:
            with self._folder() as folder:
                age = folder.age(self._name)
                held = Held.parse(folder.read(self._name))
        except (OSError, ValueError):
            return Held()
        if age > FRESH_SECONDS:
            return Held(blocks=held.blocks)
        if not held.overrides and not held.blocks:
            return Held()
        logger.warning("the overrides of %.0f s ago are in force until the store is back", age)
        return held

    def keep(self, blocks: Mapping[str, Block]) -> None:
        """Keep these blocks, and no others of this store, until it has taken them."""
        if self._off or blocks == self._blocks:
            return
        try:
            with self._folder() as folder:
                for route in self._blocks.keys() | blocks.keys():
                    if route in blocks:
                        data = json.dumps(blocks[route].as_json()).encode()
                        folder.write(self._block_name(route), data)
                    else:
                        folder.remove(self._block_name(route))
        except OSError as error:
            logger.warning("blocks can't be kept for a start in an outage: %s", error)
        self._blocks = dict(blocks)

    def blocks(self) -> dict[str, Block]:
        """Return the blocks that a process of this store has kept, by their routes."""
        found: dict[str, Block] = {}
        if self._off:
            return found
        with contextlib.suppress(OSError), self._folder() as folder:
            for name in folder.names():
                if not (name.startswith(f"{self._stem}.") and name.endswith(_SUFFIX)):
                    continue
                with contextlib.suppress(OSError, ValueError):
                    block = _BLOCK.validate_json(folder.read(name))
                    if name == self._block_name(block.route):
                        found[block.route] = block
        self._blocks = dict(found)
        return found

    def _block_name(self, route: str) -> str:
        name = hashlib.blake2b(route.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
        return f"{self._stem}.{name}{_SUFFIX}"

    def _folder(self) -> Folder:
        with private_folder() as base:
            folder = base.below("last-known")
        if self._mark is None:
            for other in folder.names():
                with contextlib.suppress(FileNotFoundError):  # a neighbour clears up as well
                    block = other.endswith(_SUFFIX)
                    old = folder.age(other) > (BLOCKS_SECONDS if block else FRESH_SECONDS)
                    own = other == self._name or (block and other.startswith(self._stem))
                    if old and not own:
                        folder.remove(other)
        return folder
