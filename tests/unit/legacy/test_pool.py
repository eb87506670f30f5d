"""The pool: own threads, bounded queue, honest numbers, and an end."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from gateway.exceptions import LifespanError, QueueFull, ShuttingDown
from gateway.legacy import Pool
from gateway.legacy.pool import Doorbell
from tests.functional.bridge.conftest import eventually

if TYPE_CHECKING:
    from gateway.exceptions import RequestRefused


class Task:
    """A job that waits at a gate and notes what became of it."""

    def __init__(self, *, gate: threading.Event | None = None, fails: bool = False) -> None:
        self.gate = gate
        self.fails = fails
        self.started = threading.Event()
        self.done = threading.Event()
        self.thread = ""
        self.refused: RequestRefused | None = None

    def run(self) -> None:
        self.thread = threading.current_thread().name
        self.started.set()
        if self.gate is not None:
            self.gate.wait(20)
        self.done.set()
        if self.fails:
            message = "a job failed"
            raise RuntimeError(message)

    def refuse(self, error: RequestRefused) -> None:
        self.refused = error


@pytest.fixture(autouse=True)
def _no_threads_of_earlier_tests() -> None:
    assert eventually(lambda: own_threads() == 0)


def own_threads() -> int:
    return sum(thread.name.startswith("gateway-legacy-") for thread in threading.enumerate())


def drain(pool: Pool, seconds: float = 10) -> bool:
    return asyncio.run(pool.drain(seconds))


def test_no_thread_exists_before_start_and_none_after_drain() -> None:
    pool = Pool(threads=3)
    assert own_threads() == 0
    with pytest.raises(LifespanError):
        pool.submit(Task())
    pool.start()
    pool.start()
    assert own_threads() == 3
    assert drain(pool)
    assert eventually(lambda: own_threads() == 0)
    with pytest.raises(ShuttingDown):
        pool.submit(Task())


def test_a_drained_pool_starts_again() -> None:
    pool = Pool(threads=1)
    for _ in range(3):
        pool.start()
        task = Task()
        assert pool.submit(task)
        assert task.done.wait(20)
        assert drain(pool)


def test_every_job_runs_once_however_many_submit() -> None:
    pool = Pool(threads=4, queue=10_000)
    pool.start()
    tasks = [Task() for _ in range(2000)]

    def submit(part: list[Task]) -> None:
        for task in part:
            pool.submit(task)

    threads = [threading.Thread(target=submit, args=(tasks[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(task.done.wait(20) for task in tasks)
    assert all(task.thread.startswith("gateway-legacy-") for task in tasks)
    assert drain(pool)
    assert pool.stats().served == 2000


def test_jobs_that_block_get_a_thread_each() -> None:
    gate = threading.Event()
    pool = Pool(threads=8)
    pool.start()
    tasks = [Task(gate=gate) for _ in range(8)]
    assert all(pool.submit(task) for task in tasks)
    assert all(task.started.wait(20) for task in tasks)
    assert len({task.thread for task in tasks}) == 8
    assert pool.stats().busy == 8
    gate.set()
    assert drain(pool)


def test_the_queue_is_bounded_and_counted() -> None:
    gate = threading.Event()
    pool = Pool(threads=1, queue=2)
    pool.start()
    first, second, third = Task(gate=gate), Task(), Task()
    assert pool.submit(first)
    assert first.started.wait(20)
    assert not pool.submit(second)
    assert not pool.submit(third)
    with pytest.raises(QueueFull):
        pool.submit(Task())
    assert pool.withdraw(second, refused=False)
    assert not pool.withdraw(second, refused=False)
    assert not pool.withdraw(first, refused=False)
    stats = pool.stats()
    assert (stats.busy, stats.queued, stats.dropped, stats.refused) == (1, 1, 1, 1)
    gate.set()
    assert third.done.wait(20)
    assert drain(pool)
    assert not second.started.is_set()


def test_a_failing_job_costs_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    pool = Pool(threads=1)
    pool.start()
    for fails in (True, False):
        task = Task(fails=fails)
        pool.submit(task)
        assert task.done.wait(20)
    assert drain(pool)
    assert pool.stats().served == 2
    assert len(caplog.records) == 1


def test_draining_refuses_the_queue_and_leaves_stragglers_behind() -> None:
    gate = threading.Event()
    pool = Pool(threads=1)
    pool.start()
    running, queued = Task(gate=gate), Task()
    pool.submit(running)
    assert running.started.wait(20)
    pool.submit(queued)
    assert not drain(pool, 0.05)
    assert isinstance(queued.refused, ShuttingDown)
    assert not queued.started.is_set()
    gate.set()
    assert eventually(lambda: own_threads() == 0)
    assert (pool.stats().busy, pool.stats().served) == (0, 1)
    pool.start()
    again = Task()
    assert pool.submit(again)
    assert again.done.wait(20)
    assert drain(pool)


def test_draining_waits_for_what_runs() -> None:
    gate = threading.Event()
    pool = Pool(threads=1)
    pool.start()
    task = Task(gate=gate)
    pool.submit(task)
    assert task.started.wait(20)
    threading.Timer(0.1, gate.set).start()
    assert drain(pool)
    assert task.done.is_set()


def test_a_doorbell_loses_no_call() -> None:
    async def main() -> int:
        bell = Doorbell(asyncio.get_running_loop())
        heard = 0
        all_heard = asyncio.Event()

        def hear() -> None:
            nonlocal heard
            heard += 1
            if heard == 4000:
                all_heard.set()

        def ring() -> None:
            for _ in range(1000):
                bell.ring(hear)

        threads = [threading.Thread(target=ring) for _ in range(4)]
        for thread in threads:
            thread.start()
        await asyncio.wait_for(all_heard.wait(), 20)
        for thread in threads:
            thread.join()
        return heard

    assert asyncio.run(main()) == 4000
