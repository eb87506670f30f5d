"""The bridge's own worker threads: a fixed number, a bounded queue, and a count of everything."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gateway.exceptions import LifespanError, QueueFull, RequestRefused, ShuttingDown
from gateway.logs import logger_for

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logger_for(__name__)


class Job(Protocol):
    """One unit of work. `run` is called once on a worker thread, unless the job is refused."""

    def run(self) -> None:
        """Do the work; an exception is a defect of the job and is only logged."""

    def refuse(self, error: RequestRefused) -> None:
        """Learn, on the thread that drains the pool, that `run` will never be called."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A moment's numbers. `busy` and `queued` are gauges, the last three count since creation."""

    threads: int
    busy: int
    queued: int
    served: int
    """Jobs that ran to their end."""
    dropped: int
    """Jobs that left the queue because nobody waited for their answer any more."""
    refused: int
    """Jobs that got 503: queue full, waited too long, or the pool was shutting down."""


class _Worker:
    """One thread and the lock it sleeps on. The last one to fall asleep is woken first."""

    __slots__ = ("baton", "thread")

    def __init__(self, pool: Pool, number: int) -> None:
        self.baton = threading.Lock()
        self.baton.acquire()
        # A daemon: a view that never returns must not keep the process from ending after the
        # deadline. Orderly ends go through Pool.drain.
        self.thread = threading.Thread(
            target=pool._work,  # noqa: SLF001 - the pool and its workers are one unit
            args=(self,),
            name=f"gateway-legacy-{number}",
            daemon=True,
        )


class Pool:
    """Threads for the legacy app, apart from anyio's, so that neither side can starve the other.

    `queue` jobs may wait beyond the `threads` running ones; `queue_timeout` (seconds) is how long
    one may wait, which the bridge enforces. No thread exists before `start`, so that the process
    may fork first; after `drain` the pool may be started again.

    At most one thread is on its way out of sleep at any time; it wakes the next one if there is
    more to do. So short jobs are run in a row by a thread that is awake, while a job that blocks
    lets the next thread have its turn: waking a thread per job cost twice the CPU time.
    """

    def __init__(self, threads: int = 40, queue: int = 200, queue_timeout: float = 5.0) -> None:
        if threads < 1:
            message = f"a pool needs at least one thread, got {threads}"
            raise ValueError(message)
        self.threads = threads
        self.queue = queue
        self.queue_timeout = queue_timeout
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._workers: set[_Worker] = set()
        self._waiting: deque[Job] = deque()
        self._open = False
        self._draining = False
        self._waking = False
        self._busy = 0
        self._served = 0
        self._dropped = 0
        self._refused = 0
        self._on_quiet: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def start(self) -> None:
        """Create the threads; call it after forking (in lifespan startup). Idempotent.

        Raises RuntimeError where the system gives no more threads; none is left behind then.
        """
        with self._lock:
            if self._open:
                return
            self._open = True
            self._draining = self._waking = False
            workers = [_Worker(self, number) for number in range(1, self.threads + 1)]
            self._workers = set(workers)
            self._idle = list(reversed(workers))
        try:
            for worker in workers:
                worker.thread.start()
        except RuntimeError:
            self._dismiss()
            raise

    def submit(self, job: Job) -> bool:
        """Give `job` to a thread (True) or let it wait for one (False).

        Raises LifespanError before `start`, ShuttingDown after `drain` began, and QueueFull where
        no thread is free and the queue is at its bound.
        """
        with self._lock:
            if not self._open:
                if self._draining:
                    self._refused += 1
                    message = "the server is shutting down"
                    raise ShuttingDown(message)
                message = "the legacy pool is not started: the server must run the ASGI lifespan"
                raise LifespanError(message)
            at_once = len(self._waiting) < self.threads - self._busy
            if not at_once and len(self._waiting) >= self.threads - self._busy + self.queue:
                self._refused += 1
                message = f"{self.threads} threads are busy and {self.queue} requests wait"
                raise QueueFull(message)
            self._waiting.append(job)
            if self._idle and not self._waking:
                self._wake_one()
            return at_once

    def _wake_one(self) -> None:
        self._waking = True
        self._idle.pop().baton.release()

    def withdraw(self, job: Job, *, refused: bool) -> bool:
        """Take `job` out of the queue: True if it was there and will now never run.

        It counts as `refused` (the client gets a 503) or else as dropped (nobody waits).
        """
        with self._lock:
            try:
                self._waiting.remove(job)
            except ValueError:
                return False
            if refused:
                self._refused += 1
            else:
                self._dropped += 1
            return True

    async def drain(self, timeout_seconds: float) -> bool:
        """Take no new work, refuse what is queued, and wait for what runs, at most the timeout.

        Returns whether every job ended. Threads still busy after the timeout end with their job;
        they keep no process alive.
        """
        with self._lock:
            if not self._open:
                return True
            self._open = False
            self._draining = True
            refused = list(self._waiting)
            self._waiting.clear()
            self._refused += len(refused)
            quiet = asyncio.Event()
            if self._busy:
                self._on_quiet = (asyncio.get_running_loop(), quiet)
            else:
                quiet.set()
        for job in refused:
            job.refuse(ShuttingDown("the server is shutting down"))
        try:
            async with asyncio.timeout(timeout_seconds):
                await quiet.wait()
        except TimeoutError:
            logger.warning(
                "%d legacy requests still ran after %.1f s; left behind",
                self.stats().busy,
                timeout_seconds,
            )
        self._dismiss()
        return quiet.is_set()

    @property
    def is_full(self) -> bool:
        """Whether every thread is busy just now, without the lock that `stats` takes."""
        return self._busy >= self.threads

    def stats(self) -> PoolStats:
        """Return the numbers of this moment; cheap, from any thread."""
        with self._lock:
            return PoolStats(
                threads=len(self._workers),
                busy=self._busy,
                queued=max(0, len(self._waiting) - len(self._workers) + self._busy),
                served=self._served,
                dropped=self._dropped,
                refused=self._refused,
            )

    def _dismiss(self) -> None:
        with self._lock:
            self._open = False
            self._on_quiet = None
            idle, self._idle = self._idle, []
            self._workers = set()
            self._busy = 0
        for worker in idle:
            worker.baton.release()

    def _work(self, worker: _Worker) -> None:
        job: Job | None = None
        employed = True
        while employed:
            worker.baton.acquire()
            job, employed = self._next(worker, woken=True)
            while job is not None:
                try:
                    job.run()
                except BaseException:
                    logger.exception("a job of the legacy pool failed")
                job, employed = self._next(worker)

    def _next(self, worker: _Worker, *, woken: bool = False) -> tuple[Job | None, bool]:
        """Account for the job that `worker` has ended, unless it was just `woken`.

        Returns the next job, if any, and whether the worker is to stay.
        """
        with self._lock:
            if not woken:
                self._served += 1
            if worker not in self._workers:  # dismissed, and no longer counted
                return None, False
            if woken:
                self._waking = False
            else:
                self._busy -= 1
            if self._waiting:
                job = self._waiting.popleft()
                self._busy += 1
                if self._waiting and self._idle and not self._waking:
                    self._wake_one()
                return job, True
            self._ring_if_quiet()
            self._idle.append(worker)
            return None, True

    def _ring_if_quiet(self) -> None:
        if self._busy == 0 and self._on_quiet is not None:
            loop, quiet = self._on_quiet
            self._on_quiet = None
            loop.call_soon_threadsafe(quiet.set)


class Doorbell:
    """Calls functions on an event loop from worker threads, many with one wake-up of the loop."""

    __slots__ = ("_calls", "_rung", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._calls: deque[Callable[[], object]] = deque()
        self._rung = False

    def ring(self, function: Callable[[], object]) -> None:
        """Have `function` called on the loop soon. Raises RuntimeError when the loop is closed."""
        self._calls.append(function)
        if not self._rung:
            self._rung = True
            self.loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._rung = False  # before the first look: whoever comes later rings again
        while self._calls:
            self._calls.popleft()()
