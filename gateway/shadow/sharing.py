"""What a worker has found goes into the store: samples to look at, and noise for its neighbours.

It waits for the store on a thread of its own, so that one that is down or hangs harms no request:
samples are kept, a limited number of them, and written once it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.logs import logger_for
from gateway.shadow.noise import DAY, Noise
from gateway.shadow.verdicts import KEPT_SECONDS, MOST_SAMPLES
from gateway.store import StoreDown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.shadow.proofs import Proofs
    from gateway.shadow.verdicts import Verdicts
    from gateway.store import Store

T = TypeVar("T")

logger = logger_for("gateway.shadow")

#: What samples, noise and proofs are called in the store.
DIFFS, NOISE, PROOFS = "diffs", "noise", "proofs"
#: How often the store is looked at and written to, in seconds.
EVERY_SECONDS = 2.0
#: How long the server's start waits for what is known, and its end for what is to be written.
END_SECONDS = 2.0
#: How many samples, and routes with noise, the store keeps.
MOST_DOCUMENTS = 1000
#: How many samples wait for a store that is down; the newest.
MOST_PENDING = 200
#: A field that is seen to differ again is news for the others after so many seconds.
_AGAIN_SECONDS = DAY / 24
#: How much noise is taken in at once: more would keep the event loop.
_SLICE = 50


class Sharing:
    """Shares what one worker has found. `mirrored` returns the ids of the routes that are mirrored.

    Nothing is made before `start`; no thread before there is something to do.
    """

    def __init__(
        self,
        verdicts: Verdicts,
        store: Store,
        mirrored: Callable[[], frozenset[str]],
        clock: Callable[[], float] = time.time,
        every: float = EVERY_SECONDS,
        proofs: Proofs | None = None,
    ) -> None:
        self._proofs = proofs
        self._told: dict[str, list[int]] = {}
        self._verdicts = verdicts
        self._store = store.twin()
        self._mirrored = mirrored
        self._clock = clock
        self._every = every
        self._pending: dict[str, dict[str, Any]] = {}
        self._taken: dict[str, Any] = {}
        self._down = False
        self._threads: ThreadPoolExecutor | None = None
        self._task: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Learn what the other workers know, before the first request; waits for two seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self._try()

    def start(self) -> None:
        """Begin to share."""
        self._task = asyncio.create_task(self._run(), name="gateway-sharing")

    async def stop(self) -> None:
        """Write what is left, unless the store takes too long."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self._try()
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.submit(self._store.close)
            threads.shutdown(wait=False)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self._try()

    async def _try(self) -> None:
        try:
            await self._share_samples()
            await self._share_noise()
            await self._share_proofs()
        except StoreDown as error:
            if not self._down:
                logger.error("what mirrors find can't be kept, it is tried again: %s", error)
            self._down = True
        except Exception:
            logger.exception("sharing what mirrors find failed")
        else:
            if self._down:
                logger.warning("what mirrors find is kept again")
            self._down = False

    # -- samples ------------------------------------------------------------------------------

    async def _share_samples(self) -> None:
        for key, sample in self._verdicts.take_samples().items():
            self._pending.pop(key, None)
            self._pending[key] = sample
        for key in list(self._pending)[:-MOST_PENDING]:
            del self._pending[key]
        if self._pending:
            await self._on_thread(self._write_samples, dict(self._pending))
            self._pending.clear()

    def _write_samples(self, samples: dict[str, dict[str, Any]]) -> None:
        self._store.put(DIFFS, samples, KEPT_SECONDS, MOST_DOCUMENTS)
        gone = surplus(self._store.documents(DIFFS), MOST_SAMPLES)
        if gone:
            self._store.remove(DIFFS, gone)

    # -- noise --------------------------------------------------------------------------------

    async def _share_noise(self) -> None:
        mirrored = self._mirrored()
        if not mirrored:
            return
        held = await self._on_thread(self._store.documents, NOISE)
        for route in mirrored & held.keys():
            if held[route] != self._taken.get(route):
                self._taken[route] = held[route]
                await self._take_in(route, held[route])
        fresh: dict[str, Any] = {}
        for route, noise in list(self._verdicts.noise.items()):
            own = noise.as_json()
            if news(own, held.get(route)):
                fresh[route] = own
            await asyncio.sleep(0)
        if fresh:
            await self._on_thread(self._store.put, NOISE, fresh, DAY, MOST_DOCUMENTS)

    async def _take_in(self, route: str, document: Any) -> None:
        noise = self._verdicts.noise.setdefault(route, Noise())
        for part in _slices(document):
            take_in(noise, part, self._clock())
            await asyncio.sleep(0)

    # -- proofs -------------------------------------------------------------------------------

    async def _share_proofs(self) -> None:
        """Tell what was compared of blocked routes; judge it together with what others tell."""
        own = self._proofs.documents() if self._proofs is not None else {}
        if self._proofs is None or not own:
            return
        if own != self._told:
            await self._on_thread(self._store.put, PROOFS, own, KEPT_SECONDS, MOST_DOCUMENTS)
            self._told = own
        await self._proofs.judge(await self._on_thread(self._store.documents, PROOFS))

    async def _on_thread(self, function: Callable[..., T], *args: Any) -> T:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(1, "gateway-sharing")
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)


def surplus(samples: Mapping[str, Any], most: int) -> list[str]:
    """Return the keys of the samples that are too many for their route: the oldest.

    Those of native letting somebody in go last.
    """
    by_route: dict[str, list[tuple[bool, float, str]]] = defaultdict(list)
    for key, sample in samples.items():
        by_route[sample["route"]].append((sample.get("verdict") == "opened", sample["at"], key))
    return [key for each in by_route.values() for *_, key in sorted(each, reverse=True)[most:]]


def take_in(noise: Noise, document: Any, now: float) -> None:
    """Merge what the store holds of a route's noise; leave what another version has written."""
    with contextlib.suppress(AttributeError, KeyError, IndexError, TypeError, ValueError):
        noise.merge(document, now)


def _slices(document: Any) -> list[dict[str, Any]]:
    if not isinstance(document, dict):
        return []
    parts: list[dict[str, Any]] = []
    for kind, other in (("objects", "fields"), ("fields", "objects")):
        whole = document.get(kind, [])
        parts += [{kind: whole[at : at + _SLICE], other: []} for at in range(0, len(whole), _SLICE)]
    return parts


def news(own: dict[str, Any], held: Any) -> bool:
    """Tell whether a worker's noise (`Noise.as_json`) has what the store's document hasn't."""
    try:
        fields = {(*parts, flap): last for parts, flap, _, last, _ in held["fields"]}
        objects = {tuple(parts): {*one, *two} for parts, _, one, two in held["objects"]}
    except (KeyError, TypeError, ValueError):
        return bool(own["fields"] or own["objects"])
    for parts, flap, _, last, _ in own["fields"]:
        if last > fields.get((*parts, flap), float("-inf")) + _AGAIN_SECONDS:
            return True
    return any(
        {*one, *two} - objects.get(tuple(parts), set()) for parts, _, one, two in own["objects"]
    )
