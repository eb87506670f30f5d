"""One worker's numbers, and through its neighbours' files those of the whole server."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from gateway.logs import logger_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.observe.metrics import Part
    from gateway.observe.tally import Tally
    from gateway.observe.workers import Workers

logger = logger_for("gateway.observe")

#: How often history is written and the neighbours are told, in seconds.
TICK_SECONDS = 1.0


class Telemetry:
    """Keeps the history of `tally`, and tells the neighbours.

    `facts` returns this worker's `counters`, `gauges` and `revision` of the moment.
    """

    def __init__(self, tally: Tally, workers: Workers, facts: Callable[[], dict[str, Any]]) -> None:
        self.tally = tally
        self._workers, self._facts = workers, facts
        self._ticking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to tick."""
        self._workers.start()
        self._ticking = asyncio.create_task(self._tick(), name="gateway-telemetry")

    async def stop(self) -> None:
        """Tell the neighbours for the last time: what was counted stays counted."""
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
            self._ticking = None
        self.tally.tick(int(time.time()))
        self._workers.tell(self._own())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                self.tally.tick(int(time.time()))
                if self._workers.shared:
                    await asyncio.to_thread(self._workers.tell, self._own())
            except Exception:
                logger.exception("telling the other workers failed")

    async def parts(self) -> list[Part]:
        """Return what each worker tells, this one's up to now, the others' of a second ago.

        What is returned was told to the others before, so that whichever worker is asked next, no
        counter is smaller than it was.
        """
        self.tally.tick(int(time.time()))
        own = self._own()
        return [own, *(await asyncio.to_thread(self._exchange, own))]

    def _exchange(self, own: Part) -> list[Part]:
        self._workers.tell(own)
        return self._workers.others()

    def _own(self) -> Part:
        return {"tally": self.tally.as_json(), **self._facts()}
