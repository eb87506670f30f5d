"""What stands at a name in a shared folder isn't ours until the system says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.folders import Folder, private_folder, refuse_planted
from gateway.held import Held
from gateway.lastknown import LastKnown
from gateway.observe.workers import Workers
from gateway.overrides import Override
from gateway.store import SqliteStore, StoreDown

HELD = Held().changed(
    [Override("GET /a", "legacy", None, "rollback", "ann", "wrong", 1.0, None, "native")], (), "w1"
)
#: A process that is gone: no Linux has so high a pid (proc(5), pid_max).
ENDED = 2**22 + 7
STRANGER = 12_345

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder such as /tmp."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of the user's own, as private as ours has to be."""
    folder = tmp_path / "victim"
    folder.mkdir(mode=0o700)
    for name in ("1.json", "lock", "secret"):
        (folder / name).write_text("mine")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def own(shared: Path) -> Path:
    return shared / f"gateway-{os.getuid()}"


def test_the_private_folder_is_made_and_found_again(shared: Path) -> None:
    with private_folder() as folder:
        folder.write("a.json", b"1")
        folder.write("a.json", b"2")
        assert folder.read("a.json") == b"2"
        assert folder.names() == ["a.json"]
    assert own(shared).stat().st_mode & 0o777 == 0o700
    assert (own(shared) / "a.json").stat().st_mode & 0o777 == 0o600
    with private_folder() as folder:
        assert folder.read("a.json") == b"2"


def test_a_planted_link_is_refused(shared: Path, victim: Path) -> None:
    before = contents(victim)
    (victim / str(ENDED)).mkdir()
    (victim / str(ENDED) / "work").write_text("mine")
    own(shared).symlink_to(victim)
    with pytest.raises(OSError, match=r"gateway-\d+"):
        private_folder()
    workers = Workers(os.getpid())
    workers.start()
    workers.tell({"tally": {}})
    LastKnown("redis://a", "b").note(HELD)
    assert LastKnown("redis://a", "b").read() == Held()
    assert (victim / str(ENDED) / "work").read_text() == "mine"
    (victim / str(ENDED) / "work").unlink()
    (victim / str(ENDED)).rmdir()
    assert contents(victim) == before


@pytest.mark.parametrize("which", ["ended", "own", "last-known"])
def test_a_link_below_it_is_refused(shared: Path, victim: Path, which: str) -> None:
    name = {"ended": str(ENDED), "own": str(os.getpid())}.get(which, which)
    before = contents(victim)
    own(shared).mkdir(mode=0o700)
    (own(shared) / name).symlink_to(victim)
    workers = Workers(os.getpid())
    workers.start()
    workers.tell({"tally": {}})
    LastKnown("redis://a", "b").note(HELD)
    assert contents(victim) == before


def test_a_link_at_a_files_name_is_replaced_and_not_followed(shared: Path, victim: Path) -> None:
    with private_folder() as folder:
        target = victim / "secret"
        for name in ("a.json", "lock", "b"):
            (own(shared) / name).symlink_to(target)
        folder.write("a.json", b"1")
        assert folder.read("a.json") == b"1"
        with pytest.raises(OSError, match="symbolic"):
            folder.read("b")
        with pytest.raises(OSError, match="symbolic"), folder.locked("lock"):
            pass
        folder.remove("b")
    assert target.read_text() == "mine"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o750, 0o701, 0o1777])
def test_a_folder_that_others_may_enter_is_refused(shared: Path, mode: int) -> None:
    own(shared).mkdir()
    own(shared).chmod(mode)
    with pytest.raises(PermissionError, match="gateway"):
        private_folder()


@as_root
def test_a_folder_of_somebody_else_is_refused(shared: Path) -> None:
    own(shared).mkdir(mode=0o700)
    os.chown(own(shared), STRANGER, STRANGER)
    with pytest.raises(PermissionError, match="gateway"):
        private_folder()


@pytest.mark.parametrize("kind", ["file", "fifo", "dangling"])
def test_what_is_no_folder_is_refused(shared: Path, kind: str) -> None:
    if kind == "file":
        own(shared).touch(mode=0o700)
    elif kind == "fifo":
        os.mkfifo(own(shared), mode=0o700)
    else:
        own(shared).symlink_to(shared / "nothing")
    with pytest.raises(OSError, match="gateway"):
        private_folder()
    assert not (shared / "nothing").exists()


def test_a_fifo_at_a_files_name_makes_nobody_wait(shared: Path) -> None:
    with private_folder() as folder:
        os.mkfifo(own(shared) / "a.json")
        with pytest.raises(OSError, match=r"a\.json"):
            folder.read("a.json")


def test_a_folder_that_is_swapped_for_a_link_meanwhile_is_not_followed(
    shared: Path, victim: Path
) -> None:
    """Who may write to TMPDIR may rename what is in it, if it isn't sticky."""
    before = contents(victim)
    with private_folder() as folder:
        own(shared).rename(shared / "moved")
        own(shared).symlink_to(victim)
        folder.write("1.json", b"new")
        folder.remove("secret")
        with folder.below("work") as work:
            work.write("a", b"1")
    assert contents(victim) == before
    assert (shared / "moved" / "1.json").read_bytes() == b"new"


def test_folders_of_servers_that_ended_go(shared: Path) -> None:
    ended = own(shared) / str(ENDED)
    ended.mkdir(parents=True)
    own(shared).chmod(0o700)
    ended.chmod(0o700)
    (ended / "1.json").touch()
    Workers(os.getpid()).start()
    assert not ended.exists()


# -- the state's file ----------------------------------------------------------------------------


def test_state_in_a_folder_of_ones_own_may_be_a_link(tmp_path: Path, victim: Path) -> None:
    (tmp_path / ".gateway").symlink_to(victim)
    store = SqliteStore(tmp_path / ".gateway" / "state.db")
    assert store.step(lambda _: (HELD, ())) == HELD
    assert (victim / "state.db").exists()


def planted(path: Path, target: Path) -> None:
    path.symlink_to(target)
    os.chown(path, STRANGER, STRANGER, follow_symlinks=False)


@as_root
@pytest.mark.parametrize("name", [".gateway", ".gateway/state.db", ".gateway/state.db-wal"])
def test_a_planted_link_to_the_state_is_refused(shared: Path, victim: Path, name: str) -> None:
    before = contents(victim)
    if name != ".gateway":
        (shared / ".gateway").mkdir()
        (shared / ".gateway").chmod(0o777)
    planted(shared / name, victim if name == ".gateway" else victim / "state.db")
    store = SqliteStore(shared / ".gateway" / "state.db")
    with pytest.raises(StoreDown, match=r"somebody else"):
        store.step(lambda _: (HELD, ()))
    assert contents(victim) == before


@as_root
def test_state_that_somebody_else_has_put_there_is_refused(shared: Path) -> None:
    SqliteStore(shared / "state.db").step(lambda _: (HELD, ()))
    store = SqliteStore(shared / "state.db")
    assert store.read() == HELD
    store.close()
    os.chown(shared / "state.db", STRANGER, STRANGER)
    for each in (store, SqliteStore(shared / "state.db")):
        with pytest.raises(StoreDown, match=r"somebody else"):
            each.read()


def test_a_second_name_of_a_file_is_refused_in_a_shared_folder(shared: Path, victim: Path) -> None:
    os.link(victim / "secret", shared / "state.db")
    with pytest.raises(PermissionError, match=r"state\.db"):
        refuse_planted(shared / "state.db")
    os.link(victim / "secret", victim / "again")
    refuse_planted(victim / "again")


def test_nothing_there_is_nothing_planted(shared: Path) -> None:
    refuse_planted(shared / "nothing" / "state.db")
    (shared / "own").symlink_to(shared / "nothing")
    refuse_planted(shared / "own")


def test_a_folder_is_given_back(shared: Path) -> None:
    handles = Path("/dev/fd")
    before = len(list(handles.iterdir()))
    for _ in range(20):
        Folder.private(shared / "x").close()
        with private_folder() as folder, folder.below("y"):
            pass
    assert len(list(handles.iterdir())) == before
