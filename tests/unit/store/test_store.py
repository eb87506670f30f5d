"""What every store promises, held by each of them: memory, SQLite, a real Redis."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from gateway.held import Held
from gateway.overrides import Override
from gateway.store import Change, Entry, MemoryStore, SqliteStore, Store, StoreConflict, StoreDown
from gateway.store.redis import RedisStore
from tests.functional.services import redis_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.network


def override(route: str, **more: Any) -> Override:
    values: dict[str, Any] = {"cutover": "canary", "weight": 2.5, "kind": "set", "author": "ann"}
    values |= {"reason": "é\u2028", "since": 1.5, "expires": None, "replaced": "native"} | more
    return Override(route=route, **values)


def entry(route: str, **more: Any) -> Entry:
    return Entry(1.5, "set", route, "native", "canary 2.5%", "ann", "why", **more)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Return what gives one more object of the same store."""
    first: Store
    if request.param == "redis":
        url = request.getfixturevalue("redis")
        first = RedisStore(f"{url}/0?prefix={tmp_path.name}")
    elif request.param == "sqlite":
        first = SqliteStore(tmp_path / "deep" / "state.db")
    else:
        first = MemoryStore()
    made = [first]

    def another() -> Store:
        made.append(first.twin())
        return made[-1]

    yield another
    for each in made:
        each.close()


def test_what_was_never_written_is_empty(make: Callable[[], Store], tmp_path: Path) -> None:
    store = make()
    assert store.read() == Held()
    assert store.audit(10) == []
    assert store.wait(Held().mark, 0.01) is False
    assert list(tmp_path.iterdir()) == [], "reading makes no file"


def test_what_one_writes_the_other_reads(make: Callable[[], Store]) -> None:
    one, other = make(), make()
    held = one.write(Change([override("users")], (), [entry("users")]))
    assert held == other.read()
    assert (held.sequence, held.overrides) == (1, (override("users"),))
    assert held.generation
    held = other.write(Change([override("users", weight=None), override("x")], ["users"]))
    assert held.sequence == 2
    assert one.read().overrides == (override("users", weight=None), override("x"))
    assert other.write(Change((), ["users", "x", "unheard"])).overrides == ()
    assert one.read().sequence == 3
    assert one.audit(10) == [entry("users", sequence=1)]


def test_a_conflict_writes_nothing(make: Callable[[], Store]) -> None:
    one, other = make(), make()
    one.write(Change([override("a")]), expected=Held())
    with pytest.raises(StoreConflict):
        other.write(Change([override("b")], (), [entry("b")]), expected=Held())
    with pytest.raises(StoreConflict):
        other.write(Change([override("b")]), expected=Held(1, (), "another", ("x",)))
    assert one.read().overrides == (override("a"),)
    assert one.audit(10) == []


def test_many_writers_lose_nothing(make: Callable[[], Store]) -> None:
    stores = [make() for _ in range(4)]

    def write(store: Store, who: int) -> None:
        for number in range(10):
            store.write(Change([override(f"{who}-{number}")], (), [entry(f"{who}")]))

    threads = [threading.Thread(target=write, args=(s, n)) for n, s in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = stores[0].read()
    assert held.sequence == 40
    assert len({each.route for each in held.overrides}) == 40
    assert len(stores[1].audit(1000)) == 40
    assert len(stores[1].audit(3)) == 3
    assert {each.route for each in stores[1].audit(1000, {"2", "3"})} == {"2", "3"}
    assert len(stores[1].audit(4, {"2"})) == 4
    assert stores[1].audit(4, ()) == []


def test_whoever_waits_is_told(make: Callable[[], Store]) -> None:
    one, other = make(), make()
    told: list[float] = []

    def wait() -> None:
        assert other.wait(Held().mark, 10)
        told.append(time.monotonic())

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    written = time.monotonic()
    one.write(Change([override("a")]))
    thread.join(10)
    assert told[0] - written < 1
    assert other.wait(Held().mark, 10), "what has changed already is told at once"
    assert not other.wait(other.read().mark, 0.05)
    assert other.wait("1.another", 10), "the same number of another life is another state"


def test_a_wait_can_be_interrupted(make: Callable[[], Store]) -> None:
    store = make()
    threading.Timer(0.1, store.interrupt).start()
    started = time.monotonic()
    assert not store.wait(Held().mark, 20)
    assert time.monotonic() - started < 2


def test_what_was_lost_is_put_back_once(make: Callable[[], Store]) -> None:
    one, other = make(), make()
    known = Held(17, (override("a"),), "lost", ("x",))
    held = one.restore(known, entry("*"))
    assert (held.sequence, held.overrides) == (18, (override("a"),))
    assert held.generation not in ("", "lost")
    for less in (known, Held(16, (), "lost", ("y",)), Held(), held):
        assert other.restore(less, entry("*")) == held
    assert len(other.audit(10)) == 1


def test_what_was_written_after_a_loss_counts(make: Callable[[], Store]) -> None:
    """A store that is lost and written to again may come to the same number with other contents."""
    one = make()
    known = Held(1, (override("a", since=3.0), override("b", since=3.0)), "lost", ("x",))
    fresh = one.write(Change([override("a", kind="rollback", cutover="legacy", since=5.0)]))
    assert fresh.sequence == known.sequence
    held = make().restore(known, entry("*"))
    assert {each.route: each.kind for each in held.overrides} == {"a": "rollback", "b": "set"}
    assert held.includes(known)
    assert held.includes(fresh)
    assert not fresh.includes(held)


def test_documents_are_kept_for_a_while(make: Callable[[], Store]) -> None:
    one, other = make(), make()
    assert one.documents("walks") == {}
    one.put("walks", {"a": {"step": 1}, "b": [1.5, "é", None]}, 60)
    one.put("short", {"a": 1}, 0.05)
    assert other.documents("walks") == {"a": {"step": 1}, "b": [1.5, "é", None]}
    other.put("walks", {"a": 2}, 60)
    other.remove("walks", ["b", "unheard"])
    assert one.documents("walks") == {"a": 2}
    time.sleep(0.1)
    assert one.documents("short") == {}
    for number in range(10):
        one.put("many", {str(number): number}, 60, most=3)
        time.sleep(0.002)
    assert other.documents("many") == {"7": 7, "8": 8, "9": 9}


def test_a_lease_is_one_owners_until_it_ends(make: Callable[[], Store]) -> None:
    one, other = make(), make()
    assert one.lease("leader", "one", 60)
    assert one.lease("leader", "one", 0.2), "it is prolonged, or shortened, by its owner"
    assert not other.lease("leader", "other", 60)
    assert other.lease("another", "other", 60)
    time.sleep(0.25)
    assert other.lease("leader", "other", 60)
    assert not one.lease("leader", "one", 60)


def test_a_note_changes_nothing(make: Callable[[], Store]) -> None:
    store = make()
    store.write(Change([override("a")]))
    store.note(entry("a"))
    assert store.read().sequence == 1
    assert store.audit(1) == [entry("a", sequence=1)]


def test_the_audit_trail_of_a_file_is_never_changed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    store.write(Change([override("a")], (), [entry("a")]))
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        for statement in ("DELETE FROM audit", "UPDATE audit SET entry = ''"):
            with pytest.raises(sqlite3.IntegrityError, match="never changed"):
                connection.execute(statement)
    store.close()


@pytest.mark.parametrize("content", [b"no database", b""])
def test_a_file_that_is_none_is_a_store_that_is_down(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)
    store = SqliteStore(path)
    if content:
        with pytest.raises(StoreDown, match=r"state\.db"):
            store.read()
    else:
        assert store.read() == Held()
    path.unlink()
    assert store.write(Change([override("a")])).sequence == 1
    store.close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    store = SqliteStore(tmp_path / "taken" / "state.db")
    with pytest.raises(StoreDown):
        store.write(Change([override("a")]))


def test_a_file_that_is_replaced_while_it_is_open(tmp_path: Path) -> None:
    one, other = SqliteStore(tmp_path / "state.db"), SqliteStore(tmp_path / "state.db")
    one.write(Change([override("a")]))
    assert other.read().sequence == 1
    for file in tmp_path.iterdir():
        file.unlink()
    assert other.read() == Held()
    assert other.restore(Held(1, (override("a"),), "lost", ("x",)), entry("*")).sequence == 2
    assert one.read().sequence == 2
    one.close()
    other.close()


def test_a_redis_that_is_not_there_says_so_without_its_password() -> None:
    store = RedisStore("redis://ann:secret@127.0.0.1:1/0?prefix=shop")
    with pytest.raises(StoreDown) as raised:
        store.read()
    assert "secret" not in str(raised.value)
    assert store.url == "redis://127.0.0.1:1/0?prefix=shop"
    store.close()


def test_memory_is_no_store_for_several_workers() -> None:
    with pytest.raises(StoreDown, match="name one by `state:`"):
        MemoryStore(alone=False).write(Change([override("a")]))


MALFORMED = [
    "[]",
    "null",
    "{",
    "1",
    "[{}]",
    '{"sequence": "1", "overrides": [], "generation": "", "at": 0}',
    '{"sequence": 1, "overrides": {}, "generation": "", "at": 0}',
    '{"sequence": 1, "overrides": [{}], "generation": "", "at": 0}',
    '{"sequence": 1, "overrides": [[]], "generation": "", "at": 0}',
    '{"sequence": 1, "overrides": [null], "generation": "", "at": NaN}',
    '{"sequence": 1, "overrides": [], "generation": "", "at": 0, "ancestors": [1]}',
]


@pytest.mark.parametrize("content", MALFORMED)
def test_what_is_malformed_is_a_store_that_is_down(
    tmp_path: Path, redis: str, content: str
) -> None:
    """Whatever somebody has put there: no other error, and nothing is written over it."""
    sqlite = SqliteStore(tmp_path / "state.db")
    sqlite.write(Change([override("a")]))
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute("UPDATE state SET mark = 'x', held = ?", (content,))
        connection.commit()
    client = Redis.from_url(redis, decode_responses=True)
    client.set("{malformed}:held", content)
    for store in (sqlite, RedisStore(f"{redis}/0?prefix=malformed")):
        with pytest.raises(StoreDown):
            store.read()
        with pytest.raises(StoreDown):
            store.write(Change([override("b")], (), [entry("b")]))
        assert store.audit(10) == []
        store.close()
    assert client.get("{malformed}:held") == content
    client.close()


def test_a_file_of_an_older_version_has_no_documents(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE state (one INTEGER, mark TEXT, held TEXT)")
    store = SqliteStore(file)
    assert store.documents("diffs") == {}
    store.put("diffs", {"a": 1}, 60)
    assert store.documents("diffs") == {"a": 1}
    store.close()
