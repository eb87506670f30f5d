"""The overrides that a process starts with while the store is down."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway.blocks import Block
from gateway.held import Held
from gateway.lastknown import EVERY_SECONDS, FRESH_SECONDS, LastKnown
from gateway.overrides import Override

if TYPE_CHECKING:
    from pathlib import Path

STORE, CONFIG = "redis://shop/0", "/srv/gateway.yaml"
ROLLED_BACK = Override("GET /a", "legacy", None, "rollback", "ann", "wrong", 1.0, None, "native")
HELD = Held().changed([ROLLED_BACK], (), "w1")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"gateway-{os.getuid()}"


def kept(folder: Path) -> Path:
    (file,) = (folder / "last-known").iterdir()
    return file


def test_what_was_noted_is_read_by_the_next_process() -> None:
    LastKnown(STORE, CONFIG).note(HELD)
    assert LastKnown(STORE, CONFIG).read() == HELD
    assert LastKnown("redis://other/0", CONFIG).read() == Held()
    assert LastKnown(STORE, "/srv/other.yaml").read() == Held()


def test_an_old_state_counts_no_longer_and_goes(folder: Path) -> None:
    LastKnown(STORE, CONFIG).note(HELD)
    old = time.time() - FRESH_SECONDS - 1
    os.utime(kept(folder), (old, old))
    assert LastKnown(STORE, CONFIG).read() == Held()
    LastKnown(STORE, "/srv/other.yaml").note(HELD)
    assert len(list((folder / "last-known").iterdir())) == 1


def test_a_state_that_stays_is_seen_anew_and_written_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = LastKnown(STORE, CONFIG)
    assert known.is_due(HELD)
    known.note(HELD)
    assert not known.is_due(HELD)
    assert known.is_due(HELD.changed((), ["GET /a"], "w2"))
    os.utime(kept(folder), (1, 1))
    now = time.monotonic() + EVERY_SECONDS
    monkeypatch.setattr("time.monotonic", lambda: now)
    assert known.is_due(HELD)
    known.note(HELD)
    assert kept(folder).stat().st_mtime > time.time() - 60


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"sequence": "1"}', b"[]"])
def test_what_is_no_state_is_nothing(folder: Path, content: bytes) -> None:
    LastKnown(STORE, CONFIG).note(HELD)
    kept(folder).write_bytes(content)
    assert LastKnown(STORE, CONFIG).read() == Held()


def test_a_folder_that_others_may_write_to_is_not_used(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    known = LastKnown(STORE, CONFIG)
    known.note(HELD)
    assert not known.is_due(HELD)
    assert known.read() == Held()
    assert list(folder.iterdir()) == []
    assert "can't be kept" in caplog.text


def test_workers_that_start_at_once_clear_up_together(folder: Path) -> None:
    """What one has just removed is no reason for another to keep nothing."""
    LastKnown(STORE, CONFIG).note(HELD)
    for number in range(300):
        old = folder / "last-known" / f"{number}.json"
        old.touch()
        os.utime(old, (1, 1))
    workers = [LastKnown(STORE, CONFIG) for _ in range(8)]
    with ThreadPoolExecutor(len(workers)) as threads:
        list(threads.map(lambda worker: worker.note(HELD), workers))
    other = HELD.changed((), ["GET /a"], "w2")
    assert all(worker.is_due(other) for worker in workers)
    assert LastKnown(STORE, CONFIG).read() == HELD


def test_memory_is_nobody_elses() -> None:
    known = LastKnown("memory://", CONFIG)
    assert not known.is_due(HELD)
    assert known.read() == Held()


BLOCK = Block("GET /a", ("r1",), 1.0, "legacy answered 401, native 200")
OTHER = replace(BLOCK, route="GET /b")


def test_blocks_that_no_store_has_taken_are_there_for_the_next_process() -> None:
    known = LastKnown(STORE, CONFIG)
    known.note(HELD)
    known.keep({"GET /a": BLOCK})
    LastKnown(STORE, CONFIG).keep({"GET /b": OTHER})  # a neighbour, who knows nothing of it
    found = LastKnown(STORE, CONFIG)
    assert found.blocks() == {"GET /a": BLOCK, "GET /b": OTHER}
    assert found.read() == HELD
    assert LastKnown("redis://other/0", CONFIG).blocks() == {}
    found.keep({})
    assert LastKnown(STORE, CONFIG).blocks() == {}


def test_a_block_counts_however_old_it_is(folder: Path) -> None:
    held = HELD.changed((), (), "w2", [BLOCK])
    known = LastKnown(STORE, CONFIG)
    known.note(held)
    known.keep({"GET /b": OTHER})
    old = time.time() - FRESH_SECONDS - 1
    for file in (folder / "last-known").iterdir():
        os.utime(file, (old, old))
    assert LastKnown(STORE, CONFIG).read() == Held(blocks=(BLOCK,))
    LastKnown(STORE, "/srv/other.yaml").note(HELD)
    assert LastKnown(STORE, CONFIG).blocks() == {"GET /b": OTHER}


@pytest.mark.parametrize("content", [b"", b"{", b'{"route": 1}', b"[]"])
def test_what_is_no_block_is_none(folder: Path, content: bytes) -> None:
    LastKnown(STORE, CONFIG).keep({"GET /a": BLOCK})
    kept(folder).write_bytes(content)
    assert LastKnown(STORE, CONFIG).blocks() == {}


def test_a_memory_store_s_blocks_end_with_its_process(folder: Path) -> None:
    known = LastKnown("memory://", CONFIG)
    known.keep({"GET /a": BLOCK})
    assert known.blocks() == {}
    assert not folder.exists()
