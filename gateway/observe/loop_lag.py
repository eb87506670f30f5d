"""Finds what blocks the event loop, and names it: the function, its file and line, the stack.

A beat on the loop and a thread that listens for it: where the beat stays away for too long, the
thread looks at what the loop's thread is doing that very moment. Nothing is paid per request.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import traceback
from collections import Counter
from typing import TYPE_CHECKING

from gateway.logs import logger_for
from gateway.observe.loop_sql import culprit
from gateway.printable import Lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

logger = logger_for("gateway.loop")

#: One log line per culprit in so many seconds.
SILENCE_SECONDS = 60.0
#: So many culprits are told apart in metrics; what comes after them is `other`.
MOST_CULPRITS = 50
_DEPTH = 12  # lines of the stack that are logged


class LoopLag:
    """Watches the loop that it is started on; `limit` is the longest silence in seconds.

    `blocked` is called, on the watching thread, with what the loop's thread does, for each block.
    """

    def __init__(
        self, limit: float, blocked: Callable[[FrameType | None], None] | None = None
    ) -> None:
        self.limit = limit
        self.counts: Counter[str] = Counter()
        """How often each culprit has blocked the loop."""
        self.longest = 0.0
        """The longest block so far, in seconds."""
        self._blocked = blocked
        self._beat = 0.0
        self._said: dict[str, float] = {}
        self._stop = threading.Event()
        self._loop_thread = 0
        self._thread: threading.Thread | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch the running loop."""
        self._loop_thread = threading.get_ident()
        self._stop.clear()
        self._tick(asyncio.get_running_loop())
        self._thread = threading.Thread(target=self._watch, name="gateway-loop-lag", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._beat = time.monotonic()
        self._timer = loop.call_later(self.limit / 2, self._tick, loop)

    def _watch(self) -> None:
        # The beat comes every half limit: its absence shows within a quarter more.
        found: tuple[float, str] | None = None
        while not self._stop.wait(self.limit / 4):
            beat = self._beat
            silence = time.monotonic() - beat - self.limit / 2
            if found is not None and found[0] != beat:
                # The beat is back, as long after the last one as the loop was blocked.
                self.longest = max(self.longest, self._beat - found[0] - self.limit / 2)
                found = None
            if silence >= self.limit and (found is None or found[0] != beat):
                found = (beat, self._name(silence))

    def _name(self, silence: float) -> str:
        """Count and tell what the loop's thread does now."""
        self.longest = max(self.longest, silence)
        frame = frame_of(self._loop_thread)
        where = culprit(frame)
        name = where.partition(" (")[0]
        if name not in self.counts and len(self.counts) >= MOST_CULPRITS:
            name = "other"
        self.counts[name] += 1
        if self._blocked is not None:
            self._blocked(frame)
        now = time.monotonic()
        if now - self._said.get(name, -SILENCE_SECONDS) >= SILENCE_SECONDS:
            self._said[name] = now
            stack = traceback.extract_stack(frame)
            logger.error(
                "%s has blocked the event loop for %.2f s: every request waits. Write the handler "
                "as `def`, or await what it waits for\n%s",
                where,
                silence,
                Lines("".join(traceback.format_list(stack[-_DEPTH:])).rstrip()),
            )
        return name


def frame_of(thread: int) -> FrameType | None:
    """Return what a thread is doing this moment, by its identifier; None where it has ended.

    `sys._current_frames` holds a lock of the interpreter that starting a thread needs. A collection
    in the middle of it may run finalizers, which let other threads run, which then start threads:
    before it was mended (CPython gh-106883) the process stood still for ever. So no collection may
    begin meanwhile.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames().get(thread)  # noqa: SLF001 - documented, for CPython
    finally:
        if collects:
            gc.enable()
