"""`gateway routes` and `gateway match` tell what is in force, not only what the file says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.overrides import Override
from gateway.store import Change, SqliteStore
from tests.functional.live import APPS, CONFIG, RULES, search_path, server

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config import Cutover
    from gateway.held import Held


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "live_apps.py").write_text(APPS)
    rest = "  - {name: rest, prefix: /c, cutover: legacy, auth: none}\n"
    (tmp_path / "gateway.yaml").write_text(CONFIG + RULES + rest)
    return tmp_path


def gateway(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": search_path(folder), "COLUMNS": "200"}
    env |= {"GATEWAY_CONFIG": "gateway.yaml", "GATEWAY_ADMIN_TOKEN": "0123456789abcdef-a-token"}
    env.pop("GATEWAY_STATE", None)  # the file says where
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def routes(folder: Path, *words: str) -> dict[str, Any]:
    found = json.loads(gateway(folder, "routes", "--json", *words).stdout)
    return {row["route"]: row for row in found["routes"]} | {"overrides": found["overrides"]}


def override(route: str, cutover: Cutover, replaced: str, **more: Any) -> Override:
    values: dict[str, Any] = {"weight": None, "kind": "set", "reason": "a try", "expires": None}
    values |= {"author": "ann", "since": time.time(), **more}
    return Override(route=route, cutover=cutover, replaced=replaced, **values)


def hold(folder: Path, *overrides: Override) -> Held:
    store = SqliteStore(folder / ".gateway" / "state.db")
    held = store.write(Change(put=overrides))
    store.close()
    return held


def everything(folder: Path) -> dict[str, bytes]:
    files = (
        each for each in folder.rglob("*") if each.is_file() and "__pycache__" not in str(each)
    )
    return {str(each): each.read_bytes() for each in files}


def test_routes_shows_the_overrides_in_force_and_writes_nothing(folder: Path) -> None:
    hold(
        folder,
        override("a", "canary", "legacy", weight=50.0),
        override("GET /c", "native", "legacy"),
        override("b", "legacy", "native", expires=time.time() - 1),
    )
    before = everything(folder)
    rows = routes(folder)
    told = {
        route: (rows[route]["serves"], rows[route]["reason"]) for route in rows if "GET" in route
    }
    assert told["GET /a"] == ("native 50%", "override")
    assert told["GET /b"] == ("native", "rule"), "its time is over"
    assert told["GET /c"] == ("native", "override")
    assert rows["overrides"] == 2
    text = gateway(folder, "routes").stdout
    assert "override: a" in text
    assert "override: GET /c" in text
    assert text.endswith(f"2 overrides in force, from sqlite:///{folder}/.gateway/state.db\n")
    assert "2 overrides in force" in gateway(folder, "routes", "--auth").stdout
    assert everything(folder) == before


def test_match_shows_the_override_that_decides(folder: Path) -> None:
    hold(folder, override("a", "native", "legacy", expires=time.time() + 3600))
    done = gateway(folder, "match", "GET", "/a")
    assert "\n  override  a: native, by ann, until " in done.stdout
    assert "serves    native, because override" in done.stdout
    assert done.stdout.endswith("state.db\n")
    explained = json.loads(gateway(folder, "match", "GET", "/a", "--json").stdout)
    assert (explained["reason"], explained["override"]["author"]) == ("override", "ann")
    said = gateway(folder, "match", "GET", "/a", "--no-overrides").stdout
    assert "serves    legacy, because rule" in said
    assert "override" not in said


def test_the_kill_switch_is_seen(folder: Path) -> None:
    hold(folder, override("*", "legacy", "kill_switch false"))
    row = routes(folder)["GET /b"]
    assert (row["serves"], row["reason"], row["override"]) == ("legacy", "kill_switch", "*")
    assert "override  the kill switch: legacy" in gateway(folder, "match", "GET", "/b").stdout


def test_a_line_that_was_changed_since_has_the_last_word(folder: Path) -> None:
    hold(folder, override("a", "native", "canary 5%"))
    assert routes(folder)["GET /a"]["serves"] == "legacy"
    assert routes(folder)["overrides"] == 0


def test_an_override_that_nothing_is_left_of_is_said(folder: Path) -> None:
    hold(folder, override("gone", "legacy", "native", kind="rollback"))
    done = gateway(folder, "routes")
    assert done.stderr.startswith("gateway: the override of gone is ignored: no rule or route")
    assert "in force" not in done.stdout


def test_without_a_store_none_is_made(folder: Path) -> None:
    before = everything(folder)
    assert routes(folder)["overrides"] == 0
    assert everything(folder) == before
    assert not (folder / ".gateway").exists()


@pytest.mark.parametrize("content", [b"", b"no database at all, but a text of some length" * 40])
def test_a_store_that_can_t_be_read_is_said_in_one_line(folder: Path, content: bytes) -> None:
    file = folder / ".gateway" / "state.db"
    file.parent.mkdir()
    file.write_bytes(content)
    done = gateway(folder, "routes")
    assert "GET     /a" in done.stdout
    assert file.read_bytes() == content
    said = "gateway: overrides can't be read, so without them: sqlite:///"
    assert done.stderr.startswith(said) if content else done.stderr == ""
    assert done.stderr.count("\n") == bool(content)


def test_a_redis_that_is_down_is_said_without_its_password(folder: Path) -> None:
    config = CONFIG + "state: redis://:s3cret@127.0.0.1:1/0\n" + RULES
    (folder / "gateway.yaml").write_text(config)
    done = gateway(folder, "match", "GET", "/a")
    assert "because rule" in done.stdout
    assert done.stderr.startswith("gateway: overrides can't be read")
    assert done.stderr.count("\n") == 1
    assert "s3cret" not in done.stderr + done.stdout
    assert gateway(folder, "match", "GET", "/a", "--no-overrides").stderr == ""


@pytest.mark.network
def test_what_a_running_gateway_was_told_is_seen_at_once(folder: Path) -> None:
    with server(folder) as running:
        running.post("/overrides", {"route": "a", "cutover": "native"})
        before = set(everything(folder))
        assert routes(folder)["GET /a"]["reason"] == "override"
        assert set(everything(folder)) == before
