"""The overrides last known on this host, for a process that starts while the store is down.

Without them a worker that is replaced in an outage would have the file alone, and serve a route
natively that its neighbours have rolled back. They are a file in a private folder, taken while it
is fresh; once the store is back it has the say, as over any worker's memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from gateway.folders import private_folder
from gateway.held import Held

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger("gateway.control")

#: How long they count, in seconds, after a process has seen the store in this state.
FRESH_SECONDS = 3600.0
#: How often a state that doesn't change is seen anew, in seconds.
EVERY_SECONDS = 60.0


class LastKnown:
    """What was last in force of one store and one config. Blocks, and never raises.

    `store` is the store's URL without a password, `config` where the config came from.
    """

    def __init__(self, store: str, config: str) -> None:
        name = hashlib.blake2b(f"{store}\n{config}".encode(), digest_size=12).hexdigest()
        self._name = f"{name}.json"
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
            file = self._file()
            if held.mark != self._mark or not file.exists():
                fresh = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.new")
                fresh.write_text(json.dumps(held.as_json()), encoding="utf-8")
                fresh.replace(file)
            else:
                os.utime(file)
        except OSError as error:
            logger.warning("the overrides can't be kept for a start in an outage: %s", error)
            self._off = True
        self._mark, self._at = held.mark, time.monotonic()

    def read(self) -> Held:
        """Return what was kept, if it is fresh; an empty Held otherwise."""
        if self._off:
            return Held()
        try:
            file = self._file()
            age = time.time() - file.stat().st_mtime
            held = Held.parse(file.read_bytes())
        except (OSError, ValueError):
            return Held()
        if age > FRESH_SECONDS or not held.overrides:
            return Held()
        logger.warning("the overrides of %.0f s ago are in force until the store is back", age)
        return held

    def _file(self) -> Path:
        folder = private_folder() / "last-known"
        folder.mkdir(mode=0o700, exist_ok=True)
        if self._mark is None:
            for other in folder.iterdir():
                with contextlib.suppress(FileNotFoundError):  # a neighbour clears up as well
                    old = time.time() - other.stat().st_mtime > FRESH_SECONDS
                    if old and other.name != self._name:
                        other.unlink()
        return folder / self._name
