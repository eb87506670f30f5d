"""What was found goes into the store: samples to look at, and noise for the other workers."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.shadow.answer import Answer
from gateway.shadow.compare import Policy, compare_twins
from gateway.shadow.noise import DAY, Noise
from gateway.shadow.sharing import Sharing, news, surplus
from gateway.shadow.verdicts import MOST_SAMPLES, MOST_TRACEBACK, Verdicts, _essence
from gateway.store import StoreDown
from gateway.store.memory import MemoryStore
from gateway.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from gateway.store import Store

pytestmark = pytest.mark.anyio
ROUTE = "GET /x"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Frail(MemoryStore):
    """A store that can be taken down, or made to hang."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.go_on = threading.Event()
        self.go_on.set()

    def twin(self) -> Frail:
        return self

    def put(
        self, kind: str, documents: Mapping[str, Any], seconds: float, most: int = 1000
    ) -> None:
        self.go_on.wait(30)
        if self.down:
            raise StoreDown("it is down")
        super().put(kind, documents, seconds, most)


def sample(route: str = ROUTE, at: float = 1.0) -> dict[str, Any]:
    return {"route": route, "at": at}


def found(verdicts: Verdicts, *kinds: str, route: str = ROUTE) -> None:
    """Leave samples in a worker as its comparisons do."""
    verdicts._samples.update({f"{route} {kind}": sample(route, time.time()) for kind in kinds})


def learned(*paths: str, now: float | None = None) -> Noise:
    noise = Noise()
    teach(noise, *paths, now=now)
    return noise


def teach(noise: Noise, *paths: str, now: float | None = None) -> None:
    policy = Policy((), ())
    kind = ((b"content-type", b"application/json"),)
    for path in paths:
        one, other = (Answer(200, kind, f'{{"{path}": {n}}}'.encode()) for n in (1, 2))
        noise.learn(compare_twins(one, other, policy), now or time.time())


def paths(noise: Noise) -> list[str]:
    return [entry.path for entry in noise.listing(time.time())]


def worker(
    store: Store, mirrored: Iterable[str] = (ROUTE,), *, every: float = 0.02
) -> tuple[Verdicts, Sharing]:
    verdicts = Verdicts()
    return verdicts, Sharing(verdicts, store, lambda: frozenset(mirrored), every=every)


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_samples_reach_the_store(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    verdicts, sharing = worker(store)
    sharing.start()
    found(verdicts, "a", "b")
    await until(lambda: len(store.documents("diffs")) == 2)
    found(verdicts, "c")
    await sharing.stop()
    assert len(store.documents("diffs")) == 3, "the end takes along what is left"
    store.close()


@pytest.mark.parametrize("mirrored", [(), (ROUTE,)])
async def test_nothing_is_written_while_there_is_nothing_to_write(
    tmp_path: Path, mirrored: tuple[str, ...]
) -> None:
    file = tmp_path / "state" / "state.db"
    _, sharing = worker(SqliteStore(file), mirrored)
    sharing.start()
    await asyncio.sleep(0.1)
    await sharing.stop()
    assert not file.parent.exists()
    if not mirrored:
        assert sharing._threads is None, "not even a thread is needed"


async def test_a_route_keeps_its_newest_kinds_whoever_found_them() -> None:
    store = MemoryStore()
    workers = [worker(store) for _ in range(3)]
    for number, (verdicts, sharing) in enumerate(workers):
        sharing.start()
        found(verdicts, *(f"{number}-{n}" for n in range(15)))
        found(verdicts, "only", route="GET /y")
        await sharing.stop()
    held = store.documents("diffs")
    assert sum(each["route"] == ROUTE for each in held.values()) == MOST_SAMPLES
    assert sum(each["route"] == "GET /y" for each in held.values()) == 1
    assert all(f"{ROUTE} 2-{n}" in held for n in range(15))


def test_the_oldest_are_too_many() -> None:
    held = {f"{ROUTE} {n}": sample(at=float(n)) for n in range(5)} | {"GET /y 1": sample("GET /y")}
    assert sorted(surplus(held, 3)) == [f"{ROUTE} 0", f"{ROUTE} 1"]


async def test_a_store_that_is_down_is_one_line_and_nothing_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Frail()
    store.down = True
    verdicts, sharing = worker(store)
    sharing.start()
    with caplog.at_level(logging.INFO, "gateway.shadow"):
        for number in range(40):
            found(verdicts, *(str(n) for n in range(number * 20, number * 20 + 20)))
            await asyncio.sleep(0.02)
        assert len(sharing._pending) <= 200
        assert [r.levelname for r in caplog.records] == ["ERROR"]
        store.down = False
        await until(lambda: f"{ROUTE} 799" in store.documents("diffs"))
    assert [r.levelname for r in caplog.records] == ["ERROR", "WARNING"]
    await sharing.stop()


async def test_a_store_that_hangs_keeps_nobody() -> None:
    store = Frail()
    verdicts, sharing = worker(store)
    sharing.start()
    store.go_on.clear()
    found(verdicts, "a")
    began = time.monotonic()
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert time.monotonic() - began < 1
    await sharing.stop()
    assert time.monotonic() - began < 4
    store.go_on.set()


# -- noise --------------------------------------------------------------------------------------


async def test_what_one_worker_learns_all_know() -> None:
    store = MemoryStore()
    (one, first), (other, second) = worker(store), worker(store)
    one.noise[ROUTE], other.noise[ROUTE] = learned("at"), learned("id")
    for each in (first, second):
        each.start()
    await until(lambda: len(paths(one.noise[ROUTE])) == len(paths(other.noise[ROUTE])) == 2)
    teach(one.noise[ROUTE], "more")
    await until(lambda: paths(other.noise[ROUTE]) == ["$.at", "$.id", "$.more"])
    third, sharing = worker(store)
    sharing.start()
    await until(lambda: ROUTE in third.noise)
    for each in (first, second, sharing):
        await each.stop()
    assert paths(third.noise[ROUTE]) == ["$.at", "$.id", "$.more"]


async def test_noise_of_routes_that_are_not_mirrored_here_is_left_alone() -> None:
    store = MemoryStore()
    store.put("noise", {"GET /gone": learned("at").as_json(), ROUTE: {"odd": 1}}, 60)
    verdicts, sharing = worker(store)
    sharing.start()
    await asyncio.sleep(0.1)
    await sharing.stop()
    assert "GET /gone" not in verdicts.noise
    assert paths(verdicts.noise.get(ROUTE, Noise())) == []


async def test_what_is_known_is_not_written_again() -> None:
    store = Frail()
    verdicts, sharing = worker(store)
    verdicts.noise[ROUTE] = learned("at")
    sharing.start()
    await until(lambda: store.documents("noise"))
    before = store.documents("noise")[ROUTE]
    teach(verdicts.noise[ROUTE], "at")
    await asyncio.sleep(0.1)
    assert store.documents("noise")[ROUTE] is before
    await sharing.stop()


def test_what_is_new() -> None:
    known = learned("at", now=1000.0)
    held = known.as_json()
    assert news(held, None)
    assert not news(Noise().as_json(), None)
    assert not news(held, held)
    teach(known, "at", now=1010.0)
    assert not news(known.as_json(), held), "seen once more a moment later"
    teach(known, "at", now=1000.0 + DAY / 4)
    assert news(known.as_json(), held), "else the others would forget it"
    assert news(learned("at", "id", now=1000.0).as_json(), held)


async def test_what_others_have_learned_is_known_before_the_first_request() -> None:
    """Else each restart finds differences that are none."""
    store = Frail()
    store.put("noise", {ROUTE: learned("at").as_json()}, DAY)
    verdicts, sharing = worker(store)
    await sharing.prepare()
    assert paths(verdicts.noise[ROUTE]) == ["$.at"]


async def test_a_start_waits_for_no_store_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.shadow.sharing.END_SECONDS", 0.05)
    store = Frail()
    verdicts, sharing = worker(store)
    verdicts.noise[ROUTE] = learned("at")
    store.go_on.clear()
    await asyncio.wait_for(sharing.prepare(), 2)
    store.go_on.set()


# -- what is kept -------------------------------------------------------------------------------


def test_a_traceback_is_cut_after_its_secrets_are_hidden() -> None:
    """Cut first, `password=` could be gone and its value still there."""
    for length in range(1, 40):
        text = "password=hunter2-hunter2\n" + "x" * (MOST_TRACEBACK - length)
        assert "hunter2-" not in str(_essence(Answer(0, (), b"", ValueError(text))))
