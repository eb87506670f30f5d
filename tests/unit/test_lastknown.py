"""The overrides that a process starts with while the store is down."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

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
