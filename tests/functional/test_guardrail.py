"""The guardrail on real servers: it walks a canary up, rolls it back, and survives its leader."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.functional.live import Crowd, Server, server, wait_until
from tests.functional.servers import serve
from tests.functional.services import redis_server

if TYPE_CHECKING:
    import http.client
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.network

APPS = '''
import itertools
from pathlib import Path

from fastapi import FastAPI, HTTPException
from flask import Flask

flask, native = Flask("legacy"), FastAPI(openapi_url=None)
number = itertools.count()
flask.add_url_rule("/a", "a", lambda: "legacy")


@native.get("/a")
async def a() -> str:
    """Fail every so many times as a file says."""
    try:
        every = int(Path("fails-every").read_text())
    except (FileNotFoundError, ValueError):
        every = 0
    if every and next(number) % every == 0:
        raise HTTPException(500)
    return "native"
'''
CONFIG = """\
version: 1
legacy: {app: "live_apps:flask", threads: 8}
native: {app: "live_apps:native"}
admin: {token_env: GATEWAY_ADMIN_TOKEN}
served_by: true
"""
RULE = """\
routes:
  - name: a
    path: /a
    cutover: canary
    weight: 1
    auth: none
    sticky: ["header:X-Id"]
    guardrail: {min_requests: 20, success_rate: 95, interval: 500ms}
"""
STEPS = ["canary 5%", "canary 25%", "canary 50%", "canary 100%", "native"]


@dataclass
class Clients(Crowd):
    """Many callers, each known by a header; who served each, and how."""

    pause: float = 0.0
    served: list[tuple[str, int]] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=itertools.count)

    def ask(self, connection: http.client.HTTPConnection, turn: int) -> None:
        connection.request("GET", "/a", headers={"X-Id": str(next(self.ids))})
        answer = connection.getresponse()
        answer.read()
        self.served.append((answer.headers["x-served-by"], answer.status))

    def native(self) -> int:
        return sum(side == "native" for side, _ in self.served)


@contextlib.contextmanager
def guarded(folder: Path, *flags: str, rule: str = RULE, more: str = "") -> Iterator[Server]:
    (folder / "live_apps.py").write_text(APPS)
    with server(folder, *flags, config=CONFIG + more + rule) as running:
        yield running


def moves(running: Server) -> list[str]:
    """Return what the guardrail has set, the oldest first."""
    entries = running.ask("GET", "/audit", params={"limit": 1000}).json()["entries"]
    mine = [e for e in reversed(entries) if e["author"] == "guardrail"]
    return [e["after"] if e["action"] in ("set", "rollback") else e["action"] for e in mine]


def reasons(running: Server) -> list[str]:
    entries = running.ask("GET", "/audit", params={"limit": 1000}).json()["entries"]
    return [e["reason"] for e in reversed(entries) if e["author"] == "guardrail"]


def test_a_clean_route_walks_to_native_with_two_workers(tmp_path: Path) -> None:
    with guarded(tmp_path, "--workers", "2") as running, Clients([running.url]) as clients:
        wait_until(lambda: moves(running)[-1:] == ["complete"], 90)
        assert moves(running) == [*STEPS, "complete"]
        assert all("success 100% of" in each for each in reasons(running))
        walk = running.ask("GET", "/status").json()["walks"]["a"]
        assert (walk["state"], walk["weight"]) == ("done", 100)
        assert "gateway_guardrail_moves_total" in running.ask("GET", "/metrics").text
        held = running.ask("GET", "/overrides").json()["overrides"]
        assert [(e["route"], e["cutover"], e["author"]) for e in held] == [
            ("a", "native", "guardrail")
        ]
    assert clients.failures == []
    assert {status for _, status in clients.served} == {200}


def test_two_processes_on_redis_go_on_without_their_leader(tmp_path: Path) -> None:
    pytest.importorskip("redis")
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    with redis_server(tmp_path) as url:
        state = f"state: {url}/0?prefix=walk\n"
        with guarded(folders[0], more=state) as one, guarded(folders[1], more=state) as two:
            with Clients([one.url, two.url]) as clients:
                wait_until(lambda: len(moves(one)) >= 2, 60)
                page = one.ask("GET", "/metrics").text
                leads = 'move="promote",rule="a"' in page or 'rule="a",move="promote"' in page
                leader, other = (one, two) if leads else (two, one)
                os.killpg(leader.process.pid, signal.SIGKILL)
                wait_until(lambda: moves(other)[-1:] == ["complete"], 90)
            done = moves(other)
    assert [each for each in dict.fromkeys(done) if each != "complete"] == STEPS
    assert len(done) <= len(STEPS) + 2, "nothing is done twice but what the dead one left undone"
    assert {status for _, status in clients.served} == {200}


@pytest.mark.parametrize(("every", "limit"), [(2, 50), (1, 12)])
def test_a_burst_is_rolled_back_at_once(tmp_path: Path, every: int, limit: int) -> None:
    rule = RULE.replace("weight: 1", "weight: 50").replace("500ms", "1h")
    with guarded(tmp_path, rule=rule) as running, Clients([running.url], 2, 0.005) as clients:
        wait_until(lambda: clients.native() > 100, 30)
        before = clients.native()
        (tmp_path / "fails-every").write_text(str(every))
        wait_until(lambda: moves(running) == ["legacy"], 20)
        time.sleep(0.3)
        assert clients.native() - before <= limit + 12  # those between the write and the reading
        assert "burst" in reasons(running)[0]
        held = running.ask("GET", "/overrides").json()["overrides"]
        assert [(e["route"], e["kind"]) for e in held] == [("a", "rollback")]
        (tmp_path / "fails-every").unlink()
        time.sleep(1.5)
        assert moves(running) == ["legacy"], "it stays until a person clears it"
        refused = running.ask("POST", "/overrides", json={"route": "a", "cutover": "native"})
        assert refused.status_code == 422
        running.post("/clear", {"route": "a"})
        seen = clients.native()
        wait_until(lambda: clients.native() > seen, 10)


def test_three_percent_of_errors_are_rolled_back(tmp_path: Path) -> None:
    (tmp_path / "fails-every").write_text("33")
    rule = RULE.replace("weight: 1", "weight: 50").replace("success_rate: 95, ", "")
    rule = rule.replace("500ms", "1h")
    with guarded(tmp_path, rule=rule) as running, Clients([running.url]) as clients:
        wait_until(lambda: moves(running) == ["legacy"], 60)
        failed = sum(status == 500 for _, status in clients.served)
        assert "of" in reasons(running)[0]
    assert clients.native() < 1500  # 1,000, and what came while it looked
    assert failed < 50


def test_nothing_moves_without_traffic_or_before_its_time(tmp_path: Path) -> None:
    with guarded(tmp_path) as running:
        time.sleep(2)
        assert moves(running) == []
    rule = RULE.replace("500ms", "1h").replace("weight: 1", "weight: 50")
    folder = tmp_path / "second"
    folder.mkdir()
    with guarded(folder, rule=rule) as running, Clients([running.url]) as clients:
        wait_until(lambda: clients.native() > 200, 20)
        time.sleep(1.2)
        assert moves(running) == []


@pytest.mark.parametrize(("route", "weight"), [("a", 3), ("a", 5), ("GET /a", 3)])
def test_who_sets_the_weight_in_the_middle_ends_the_walk(
    tmp_path: Path, route: str, weight: int
) -> None:
    """Also who pins it where it is, or sets the route instead of its rule."""
    with guarded(tmp_path) as running, Clients([running.url]):
        wait_until(lambda: "canary 5%" in moves(running), 40)
        body = {"route": route, "cutover": "canary", "weight": weight, "author": "ann"}
        running.post("/overrides", body)
        done = moves(running)
        time.sleep(4)
        assert moves(running) == done
        held = running.ask("GET", "/overrides").json()["overrides"]
        assert (route, weight) in {(each["route"], each["weight"]) for each in held}
        running.post("/clear", {"route": route})
        if route == "a":
            assert running.ask("GET", "/overrides").json()["overrides"] == []
        wait_until(lambda: len(moves(running)) > len(done), 40)


def test_nothing_moves_while_the_kill_switch_is_on(tmp_path: Path) -> None:
    rule = RULE.replace("weight: 1", "weight: 50").replace("500ms", "2s")
    with guarded(tmp_path, rule=rule) as running, Clients([running.url]) as clients:
        wait_until(lambda: clients.native() > 50, 20)
        running.post("/overrides", {"all": True, "cutover": "legacy"})
        time.sleep(3.5)
        assert moves(running) == []


def test_a_walk_goes_on_after_a_restart(tmp_path: Path) -> None:
    with guarded(tmp_path) as running, Clients([running.url]):
        wait_until(lambda: "canary 25%" in moves(running), 60)
        before = moves(running)
    with guarded(tmp_path) as running, Clients([running.url]):
        wait_until(lambda: moves(running)[-1:] == ["complete"], 60)
        after = moves(running)
    assert after[: len(before)] == before
    assert after == [*STEPS, "complete"]


def test_a_person_may_be_waited_for(tmp_path: Path) -> None:
    rule = RULE.replace("interval", "steps: [50, 100], confirm: true, interval")
    rule = rule.replace("weight: 1", "weight: 50")
    with guarded(tmp_path, rule=rule) as running, Clients([running.url]):
        wait_until(lambda: moves(running) == ["canary 100%", "wait"], 40)
        time.sleep(2)
        assert moves(running) == ["canary 100%", "wait"]
        running.post("/overrides", {"route": "a", "cutover": "native", "author": "ann"})
        wait_until(lambda: moves(running) == ["canary 100%", "wait", "complete"], 20)


def test_a_store_that_is_down_stops_the_walk_and_not_the_burst(tmp_path: Path) -> None:
    rule = RULE.replace("weight: 1", "weight: 50").replace("500ms", "1h")
    with guarded(tmp_path, rule=rule) as running, Clients([running.url], 2, 0.005) as clients:
        wait_until(lambda: clients.native() > 50, 20)
        state = tmp_path / ".gateway"
        wait_until(state.exists, 5)
        state.rename(tmp_path / "gone")
        state.write_text("no folder")
        wait_until(lambda: "down" in httpx.get(f"{running.url}/-/ready").json()["store"], 10)
        (tmp_path / "fails-every").write_text("1")
        time.sleep(1)
        seen = clients.native()
        time.sleep(1)
        assert clients.native() == seen, "this worker sends nothing to native any more"
        state.unlink()
        wait_until(lambda: "down" not in httpx.get(f"{running.url}/-/ready").json()["store"], 10)
        wait_until(lambda: moves(running) != [], 20)
        assert moves(running) == ["legacy"]


def test_what_compares_nothing_cannot_be_held_to_consistency(tmp_path: Path) -> None:
    from gateway import Gateway
    from gateway.exceptions import ConfigError

    (tmp_path / "live_apps.py").write_text(APPS)
    rule = {
        "path": "/a", "cutover": "canary", "auth": "none", "weight": 5, "sample": 0,
        "guardrail": {"consistency": 99},
    }  # fmt: skip
    from fastapi import FastAPI
    from flask import Flask

    flask, native = Flask("x"), FastAPI()
    flask.add_url_rule("/a", "a", lambda: "")
    native.add_api_route("/a", lambda: "")
    with pytest.raises(ConfigError, match="no-source"):
        Gateway(flask, native, {"version": 1, "routes": [rule]}, verify_lock=False)
    made: Any = Gateway(
        flask, native, {"version": 1, "routes": [rule | {"sample": 10}]}, verify_lock=False
    )
    assert json.dumps(made.snapshots.current.revision)


@pytest.mark.parametrize(("path", "reason"), [("/early", "hooks"), ("/cut", "rule")])
def test_what_native_has_not_answered_is_no_success_of_its(path: str, reason: str) -> None:
    """A hook of Flask's answers before it is asked; a stream breaks off after its head."""
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse
    from flask import Flask

    from gateway import Gateway

    flask, native = Flask("x"), FastAPI()
    if path == "/early":
        flask.before_request(lambda: ("no", 401))
    flask.add_url_rule(path, "view", lambda: "")

    @native.get(path)
    async def broken() -> Any:
        async def parts() -> Any:
            yield b"x"
            raise RuntimeError

        return StreamingResponse(parts())

    rule = {"path": path, "cutover": "native", "auth": "none", "guardrail": {}}
    app = Gateway(flask, native, {"version": 1, "routes": [rule]}, verify_lock=False)
    with serve(app) as url, contextlib.suppress(httpx.RemoteProtocolError):
        httpx.get(f"{url}{path}")
    lines = {key[2]: line for key, line in app._dispatch.tally.lines.items()}
    assert lines.keys() == {"legacy" if reason == "hooks" else "native"}
    (line,) = lines.values()
    assert line.reasons == {reason: 1}
    assert line.errors == (0 if reason == "hooks" else 1)
