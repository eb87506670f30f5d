"""Changes while traffic flows: overrides on every worker and replica, reloads (B8, B9)."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.functional.live import (
    CONFIG,
    RULES,
    TOKEN,
    Load,
    Server,
    search_path,
    server,
    wait_until,
)
from tests.functional.services import redis_server

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.network


def gateway(running: Server, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command line against a running gateway."""
    env = {**os.environ, "GATEWAY_URL": running.url, "GATEWAY_ADMIN_TOKEN": TOKEN, **environ}
    env.pop("GATEWAY_STATE", None)  # the store is the server's
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        capture_output=True, text=True, env=env, cwd=running.folder, timeout=60, check=False,
    )  # fmt: skip


def test_two_workers_follow_within_a_second(tmp_path: Path) -> None:
    """`set` and `rollback --all` hold for every request one second after they return."""
    with (
        server(tmp_path, "--workers", "2") as running,
        Load([running.url], paths=["/a", "/b", "/c", "/new"]) as load,
    ):
        time.sleep(0.5)
        assert load.sides("/a", 0) == {"legacy"}
        for cutover in ("native", "legacy") * 3:
            running.post("/overrides", {"route": "a", "cutover": cutover})
            done = time.monotonic()
            time.sleep(1.3)
            assert load.sides("/a", done + 1) == {cutover}
        running.post("/overrides", {"route": "a", "cutover": "canary", "weight": 100})
        running.post("/rollback", {"all": True, "reason": "fire"})
        done = time.monotonic()
        time.sleep(1.3)
        assert load.sides("/a", done + 1) == load.sides("/b", done + 1) == {"legacy"}
        assert load.sides("/new", done + 1) == {"native"}
        running.post("/clear", {"all": True})
        done = time.monotonic()
        time.sleep(1.3)
        assert load.sides("/b", done + 1) == {"native"}
        assert running.ask("GET", "/status").json()["workers"] == 2
    assert load.failures == []
    assert len(load.answers) > 500


def test_two_processes_share_a_redis_that_dies_and_comes_back(tmp_path: Path) -> None:
    """Killed in the middle and started empty: the last known state holds, and is put back."""
    pytest.importorskip("redis")
    redis = redis_server(tmp_path)
    url = redis.__enter__()
    port = url.rpartition(":")[2]
    config = CONFIG + f"state: {url}/0?prefix=live\n" + RULES
    try:
        with server(tmp_path, config=config) as one, server(tmp_path) as other:
            with Load([one.url, other.url], paths=["/a", "/b"]) as load:
                one.post("/overrides", {"route": "a", "cutover": "native"})
                done = time.monotonic()
                time.sleep(1.3)
                assert load.sides("/a", done + 1) == {"native"}
                redis.__exit__(None, None, None)
                wait_until(lambda: "down" in httpx.get(f"{other.url}/-/ready").json()["store"])
                assert httpx.get(f"{one.url}/-/ready").status_code == 200
                refused = one.ask("POST", "/overrides", json={"route": "a", "cutover": "legacy"})
                assert refused.status_code == 503
                assert "gateway_store_up 0.0" in other.ask("GET", "/metrics").text
                lost = time.monotonic()
                time.sleep(1)
                redis = redis_server(tmp_path, port=int(port))
                redis.__enter__()
                for each in (one, other):
                    wait_until(lambda e=each: httpx.get(f"{e.url}/-/ready").json()["store"] == "ok")
                time.sleep(1)
                assert load.sides("/a", lost) == {"native"}, "never another than the last known"
                other.post("/overrides", {"route": "a", "cutover": "legacy"})
                done = time.monotonic()
                time.sleep(1.3)
                assert load.sides("/a", done + 1) == {"legacy"}
            assert load.failures == []
            actions = [each["action"] for each in one.ask("GET", "/audit").json()["entries"]]
            assert actions == ["set", "restore"]
            assert one.ask("GET", "/overrides").json() == other.ask("GET", "/overrides").json()
    finally:
        redis.__exit__(None, None, None)


def test_a_start_while_the_store_is_down_has_what_was_last_known(tmp_path: Path) -> None:
    """A worker that is replaced in an outage must not serve what its neighbours rolled back."""
    pytest.importorskip("redis")
    redis = redis_server(tmp_path)
    url = redis.__enter__()
    port = url.rpartition(":")[2]
    config = CONFIG + f"state: {url}/0?prefix=known\n" + RULES
    home = {"TMPDIR": str(tmp_path)}

    def side(running: Server) -> str:
        return httpx.get(f"{running.url}/b").headers["x-served-by"]

    try:
        with server(tmp_path, config=config, **home) as running:
            running.post("/rollback", {"route": "b", "reason": "wrong totals"})
            time.sleep(1.5)
            redis.__exit__(None, None, None)
        (known,) = tmp_path.glob("gateway-*/last-known/*.json")
        with server(tmp_path, **home) as again:
            assert side(again) == "legacy"
            assert "down" in httpx.get(f"{again.url}/-/ready").json()["store"]
            redis = redis_server(tmp_path, port=int(port))
            redis.__enter__()
            wait_until(lambda: httpx.get(f"{again.url}/-/ready").json()["store"] == "ok")
            assert side(again) == "legacy", "the empty store is given it back"
            assert [e["action"] for e in again.ask("GET", "/audit").json()["entries"]] == [
                "restore"
            ]
            again.post("/clear", {"route": "b"})
            time.sleep(1.5)
            redis.__exit__(None, None, None)
        os.utime(known, (0, time.time() - 7200))
        with server(tmp_path, **home) as late:
            assert side(late) == "native"
    finally:
        redis.__exit__(None, None, None)


@pytest.mark.timeout(300)
def test_five_hundred_reloads_under_load(tmp_path: Path) -> None:
    """B9: every request is answered, and nothing grows."""
    with server(tmp_path) as running:
        file = tmp_path / "gateway.yaml"
        texts = {
            side: CONFIG + RULES.replace("/a, cutover: legacy", f"/a, cutover: {side}")
            for side in ("native", "legacy")
        }

        def reload(number: int) -> None:
            side = ("native", "legacy")[number % 2]
            file.write_text(texts[side])
            answer = running.post("/reload", {})
            assert answer["ok"]

        with Load([running.url], paths=["/a", "/b", "/new"]) as load:
            for number in range(60):
                reload(number)
            before = usage(running)
            for number in range(500):
                reload(number)
            after = usage(running)
        assert load.failures == []
        assert load.sides("/a", 0) == {"legacy", "native"}
        assert load.sides("/b", 0) == {"native"}
        time.sleep(1)
        assert httpx.get(f"{running.url}/a").headers["x-served-by"] == "legacy"
        assert after["threads"] <= before["threads"] + 1
        assert after["files"] <= before["files"] + 4, "connections of the load come and go"
        assert after["kilobytes"] <= before["kilobytes"] * 1.1 + 2048
        text = running.ask("GET", "/metrics").text
        assert float(metric(text, "gateway_config_reloads_total", result="ok")) >= 560


def usage(running: Server) -> dict[str, int]:
    folder = Path(f"/proc/{running.process.pid}")
    values = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return {
        "threads": int(values["Threads"]),
        "kilobytes": int(values["VmRSS"].split()[0]),
        "files": len(list((folder / "fd").iterdir())),
    }


def metric(text: str, name: str, **labels: str) -> str:
    """Return a sample's value."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    for line in text.splitlines():
        if line.startswith(name) and all(each in line for each in wanted):
            return line.rpartition(" ")[2]
    raise AssertionError(f"no {name} {labels} in {text}")


# -- B8: how a file may change ------------------------------------------------------------------


def rewritten(file: Path, text: str) -> None:
    file.write_text(text)


def renamed(file: Path, text: str) -> None:
    """As editors do."""
    fresh = file.with_name(".gateway.yaml.swp")
    fresh.write_text(text)
    fresh.replace(file)


def removed_and_made_anew(file: Path, text: str) -> None:
    file.unlink()
    time.sleep(0.5)
    file.write_text(text)


def in_many_pieces(file: Path, text: str) -> None:
    with file.open("w") as handle:
        for line in text.splitlines(keepends=True):
            handle.write(line)
            handle.flush()
            time.sleep(0.03)


MOVED = CONFIG + RULES.replace("/a, cutover: legacy", "/a, cutover: native")


@pytest.mark.parametrize("change", [rewritten, renamed, removed_and_made_anew, in_many_pieces])
def test_a_changed_file_is_taken(tmp_path: Path, change: Callable[[Path, str], None]) -> None:
    with server(tmp_path) as running, Load([running.url], paths=["/a"], clients=2) as load:
        change(tmp_path / "gateway.yaml", MOVED)
        wait_until(lambda: load.answers and load.answers[-1][2] == "native", 5)
        time.sleep(0.3)
        ready = httpx.get(f"{running.url}/-/ready")
        assert (ready.status_code, ready.json()["config"]) == (200, "ok")
    assert load.failures == []


def test_a_config_map_is_swapped(tmp_path: Path) -> None:
    """Kubernetes: the file is a link through `..data`, which is renamed."""

    def write(version: str, text: str) -> None:
        (tmp_path / version).mkdir()
        (tmp_path / version / "gateway.yaml").write_text(text)
        (tmp_path / "..data_tmp").symlink_to(version)
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")

    write("..2026_01", CONFIG + RULES)
    (tmp_path / "gateway.yaml").symlink_to("..data/gateway.yaml")
    with server(tmp_path) as running:
        assert httpx.get(f"{running.url}/a").text == "legacy"
        write("..2026_02", MOVED)
        shutil.rmtree(tmp_path / "..2026_01")
        wait_until(lambda: httpx.get(f"{running.url}/a").headers["x-served-by"] == "native", 5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "[missing-file]"),
        ("", "[empty-file]"),
        (CONFIG + "routes:\n  - {path: /a, cut", "[yaml-syntax]"),
        (CONFIG + "routes: [{path: /a, cutover: canary, weight: 120}]\n", ":6 [out-of-range]"),
        (CONFIG + "routes: [{path: /nowhere, cutover: native}]\n", ":6 [no-match]"),
    ],
    ids=["gone", "empty", "half-written", "invalid", "matches-nothing"],
)
def test_a_wrong_file_leaves_the_last_good_one(tmp_path: Path, text: str | None, said: str) -> None:
    with server(tmp_path) as running, Load([running.url], paths=["/a", "/b"], clients=2) as load:
        file = tmp_path / "gateway.yaml"
        before = httpx.get(f"{running.url}/-/ready").json()["revision"]
        if text is None:
            file.unlink()
        else:
            file.write_text(text)
        wait_until(lambda: httpx.get(f"{running.url}/-/ready").json()["config"] != "ok", 5)
        ready = httpx.get(f"{running.url}/-/ready")
        assert ready.status_code == 200, "readiness never depends on a reload"
        assert ready.json()["config"].startswith("kept: ")
        assert said in ready.json()["config"]
        assert ready.json()["revision"] == before
        metrics = running.ask("GET", "/metrics").text
        assert metric(metrics, "gateway_config_last_reload_successful") == "0.0"
        assert "the config was not taken" in running.log()
        assert running.ask("POST", "/reload", json={}).status_code == 409
        file.write_text(MOVED)
        wait_until(lambda: httpx.get(f"{running.url}/-/ready").json()["config"] == "ok", 5)
        wait_until(lambda: load.answers[-1][1:] == ("/a", "native"), 5)
    assert load.failures == []


def test_what_is_written_without_a_change_is_no_reload(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        for _ in range(5):
            (tmp_path / "gateway.yaml").write_text(CONFIG + RULES)
            (tmp_path / "other.txt").write_text("x")
            time.sleep(0.1)
        time.sleep(1)
        text = running.ask("GET", "/metrics").text
        assert metric(text, "gateway_config_reloads_total", result="ok") == "0.0"


def test_other_keys_wait_for_a_restart(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        (tmp_path / "gateway.yaml").write_text(
            MOVED.replace("threads: 8", "threads: 9").replace("served_by: true\n", "")
        )
        wait_until(lambda: httpx.get(f"{running.url}/-/ready").json()["restart_required"], 5)
        ready = httpx.get(f"{running.url}/-/ready").json()
        assert ready["restart_required"] == ["legacy.threads", "served_by"]
        assert httpx.get(f"{running.url}/a").headers["x-served-by"] == "native", "routes are hot"
        text = running.ask("GET", "/metrics").text
        assert metric(text, "gateway_config_restart_required") == "2.0"


def test_hangup_reloads_a_single_process(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        before = float(
            metric(running.ask("GET", "/metrics").text, "gateway_config_reloads_total", result="ok")
        )
        os.kill(running.process.pid, signal.SIGHUP)

        def reloaded() -> bool:
            text = running.ask("GET", "/metrics").text
            return float(metric(text, "gateway_config_reloads_total", result="ok")) > before

        wait_until(reloaded)


# -- the life of an override --------------------------------------------------------------------


REST = "  - {name: rest, prefix: /c, cutover: legacy, auth: none}\n"


def test_an_override_ends_with_its_time_its_line_or_a_clear(tmp_path: Path) -> None:
    with server(tmp_path, config=CONFIG + RULES + REST) as running:

        def side(path: str) -> str:
            return httpx.get(running.url + path).headers["x-served-by"]

        running.post("/overrides", {"route": "a", "cutover": "native", "seconds": 1.5})
        assert side("/a") == "native"
        wait_until(lambda: side("/a") == "legacy", 4)
        wait_until(lambda: running.ask("GET", "/overrides").json()["overrides"] == [], 4)

        running.post("/overrides", {"route": "/c", "cutover": "native"})
        running.post("/overrides", {"route": "a", "cutover": "native"})
        running.post("/rollback", {"route": "b", "reason": "wrong totals"})
        changed = RULES.replace("/a, cutover: legacy", "/a, cutover: canary, weight: 0")
        changed = changed.replace("/b, cutover: native", "/b, cutover: canary, weight: 100")
        (tmp_path / "gateway.yaml").write_text(CONFIG + changed + REST)
        wait_until(lambda: side("/a") == "legacy", 5)
        assert side("/b") == "legacy", "a rollback stays"
        assert side("/c") == "native", "another line is none of its business"
        running.post("/clear", {"route": "b"})
        assert side("/b") == "native"
        entries = running.ask("GET", "/audit").json()["entries"]
        assert [(e["action"], e["route"]) for e in reversed(entries)] == [
            ("set", "a"), ("expire", "a"), ("set", "GET /c"), ("set", "HEAD /c"), ("set", "a"),
            ("rollback", "b"), ("drop", "a"), ("clear", "b"),
        ]  # fmt: skip
        assert entries[2]["reason"] == "wrong totals"


def test_overrides_outlive_a_restart_and_a_changed_line_ends_them_then_too(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        running.post("/overrides", {"route": "a", "cutover": "native"})
        running.post("/rollback", {"route": "b"})
    with server(tmp_path) as running:
        assert httpx.get(f"{running.url}/a").headers["x-served-by"] == "native"
        assert httpx.get(f"{running.url}/b").headers["x-served-by"] == "legacy"
    (tmp_path / "gateway.yaml").write_text(
        CONFIG + RULES.replace("/a, cutover: legacy", "/a, cutover: canary, weight: 0")
    )
    with server(tmp_path) as running:
        assert httpx.get(f"{running.url}/a").headers["x-served-by"] == "legacy"
        assert httpx.get(f"{running.url}/b").headers["x-served-by"] == "legacy"


def test_if_match(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        tag = running.ask("GET", "/overrides").headers["etag"]
        body = {"route": "a", "cutover": "native"}
        first = running.ask("POST", "/overrides", json=body, headers={"If-Match": tag})
        assert first.status_code == 200
        assert first.headers["etag"] == f'"{first.json()["revision"]}"' != tag
        again = running.ask("POST", "/rollback", json={"all": True}, headers={"If-Match": tag})
        assert again.status_code == 412
        assert running.ask("GET", "/overrides").headers["etag"] == first.headers["etag"]


def test_an_end_that_falls_into_an_outage_is_kept(tmp_path: Path) -> None:
    """Store up or not, and however short: an override is over when its time is."""
    with server(tmp_path) as running:

        def side() -> str:
            return httpx.get(f"{running.url}/a").headers["x-served-by"]

        running.post("/overrides", {"route": "a", "cutover": "native", "seconds": 0.001})
        wait_until(lambda: side() == "legacy", 2)
        running.post("/overrides", {"route": "a", "cutover": "native", "seconds": 2})
        assert side() == "native"
        state = tmp_path / ".gateway" / "state.db"
        kept = {file: file.read_bytes() for file in state.parent.iterdir()}
        for file in kept:
            file.unlink()
        state.write_bytes(b"no database at all, for as long as it takes" * 100)
        wait_until(lambda: "down" in httpx.get(f"{running.url}/-/ready").json()["store"], 5)
        wait_until(lambda: side() == "legacy", 5)
        assert "down" in httpx.get(f"{running.url}/-/ready").json()["store"]


def test_a_store_that_is_lost_and_written_to_first_agrees_again(tmp_path: Path) -> None:
    """The same number with other contents; and the rollback made meanwhile isn't lost."""
    with server(tmp_path) as running:
        running.post("/overrides", {"route": "a", "cutover": "native"})
        before = running.ask("GET", "/overrides").json()["revision"]
        os.killpg(running.process.pid, signal.SIGSTOP)
        for file in (tmp_path / ".gateway").iterdir():
            file.unlink()
        done = gateway(running, "rollback", "b", "--config", "gateway.yaml", GATEWAY_URL="")
        assert done.returncode == 0, done.stderr
        os.killpg(running.process.pid, signal.SIGCONT)
        wait_until(lambda: httpx.get(f"{running.url}/b").headers["x-served-by"] == "legacy")
        assert httpx.get(f"{running.url}/a").headers["x-served-by"] == "native"
        assert running.ask("GET", "/overrides").json()["revision"] != before
        actions = [each["action"] for each in running.ask("GET", "/audit").json()["entries"]]
        assert actions == ["restore", "rollback"]
        # The command line reads the same store, and writes nothing by looking.
        state = (tmp_path / ".gateway" / "state.db").read_bytes()
        for words in (("status",), ("audit",)):
            done = gateway(running, *words, "--config", "gateway.yaml", GATEWAY_URL="")
            assert done.returncode == 0, done.stderr
        assert (tmp_path / ".gateway" / "state.db").read_bytes() == state


def test_a_change_right_after_an_edit_is_meant_for_the_edited_file(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        for weight in (1, 2, 3):
            changed = RULES.replace("/a, cutover: legacy", f"/a, cutover: canary, weight: {weight}")
            (tmp_path / "gateway.yaml").write_text(CONFIG + changed)
            running.post("/overrides", {"route": "a", "cutover": "native"})
            time.sleep(0.8)
            assert httpx.get(f"{running.url}/a").headers["x-served-by"] == "native"


def test_the_audit_trail_of_a_route_has_what_was_asked_for_its_rule(tmp_path: Path) -> None:
    with server(tmp_path, config=CONFIG + RULES + REST) as running:
        running.post("/overrides", {"route": "a", "cutover": "native"})
        running.post("/overrides", {"route": "GET /c", "cutover": "native"})
        running.post("/rollback", {"all": True})

        def told(route: str) -> set[tuple[str, str]]:
            entries = running.ask("GET", "/audit", params={"route": route}).json()["entries"]
            return {(each["action"], each["route"]) for each in entries}

        assert told("GET /a") == told("a") == {("set", "a"), ("rollback", "*")}
        assert ("set", "GET /c") in told("/c")
        nobody = running.ask("GET", "/audit", params={"route": "nobody"})
        assert (nobody.status_code, "no rule or route" in nobody.text) == (422, True)


def test_a_reload_says_that_it_worked(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        changed = RULES.replace("/a, cutover: legacy", "/a, cutover: native")
        (tmp_path / "gateway.yaml").write_text(CONFIG + changed)
        wait_until(lambda: "is in force" in running.log(), 5)


# -- the command line ---------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_commands_steer_a_running_gateway(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        done = gateway(running, "set", "a", "canary", "--weight", "100", "--for", "30m")
        assert (done.returncode, done.stderr) == (0, "")
        assert "a: set to canary 100%" in done.stdout
        assert httpx.get(f"{running.url}/a").headers["x-served-by"] == "native"
        shown = gateway(running, "status", COLUMNS="200").stdout
        assert re.search(r"GET /a +canary 100% .* legacy \(set by .*, 30 min left\)", shown)
        data = json.loads(gateway(running, "status", "--json").stdout)
        row = next(each for each in data["routes"] if each["route"] == "GET /a")
        assert row["sides"]["native"]["requests"] == 1
        assert 0 < row["sides"]["native"]["p50"] < 1
        used = json.loads(gateway(running, "routes", "gateway.yaml", "--usage", "--json").stdout)
        assert {"route": "GET /a", "requests": 1, "legacy": 0, "native": 1} in used["routes"]
        assert used["routes"][0]["requests"] == 0, "the idle ones first"
        listed = gateway(running, "routes", "gateway.yaml", "--usage").stdout
        assert re.search(r"POST|GET /c +never", listed)
        done = gateway(running, "rollback", "--all", "--reason", "fire")
        assert "GET /new: only one side has it" in done.stdout
        assert "KILL SWITCH" in gateway(running, "status").stdout
        assert httpx.get(f"{running.url}/b").headers["x-served-by"] == "legacy"
        assert gateway(running, "clear", "--all").returncode == 0
        listed = gateway(running, "audit", COLUMNS="200").stdout
        assert re.search(r"rollback +\* +kill_switch false → legacy +\S+ +fire", listed)
        for words, code, said in (
            (("set", "nope", "native"), 1, "there is no rule or route 'nope'"),
            (("set", "a", "fast"), 2, "'fast' is no cutover"),
            (("set", "a"), 2, "write `gateway set ROUTE CUTOVER`"),
            (("set", "a", "canary"), 1, "needs a weight"),
            (("set", "a", "native", "--for", "soon"), 2, "'soon' is no duration"),
            (("set", "a", "native", "--if-match", "x-1"), 1, "no longer current"),
            (("rollback",), 2, "name a route, or say --all"),
        ):
            done = gateway(running, *words)
            assert (done.returncode, said in done.stderr) == (code, True), done.stderr
            assert "Traceback" not in done.stderr
        refused = gateway(running, "status", GATEWAY_ADMIN_TOKEN="w" * 20)
        assert (refused.returncode, "refused the token" in refused.stderr) == (2, True)
        assert "is missing: set" in gateway(running, "status", GATEWAY_ADMIN_TOKEN="").stderr
    done = gateway(running, "status")
    assert (done.returncode, "can't reach a gateway" in done.stderr) == (2, True)


def test_the_token_follows_no_redirect(tmp_path: Path) -> None:
    """It is for the host that was named."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    seen: list[str | None] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/stolen"):
                seen.append(self.headers["Authorization"])
            self.send_response(301)
            self.send_header("Location", f"http://localhost:{other.server_port}/stolen")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be silent."""

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{other.server_port}"
            env = {**os.environ, "GATEWAY_ADMIN_TOKEN": TOKEN}
            command = [sys.executable, "-m", "gateway", "audit", "--url", url]
            done = subprocess.run(
                command, capture_output=True, text=True, env=env, cwd=tmp_path, check=False
            )
        finally:
            other.shutdown()
            thread.join()
    assert (done.returncode, seen) == (1, [])
    assert "Traceback" not in done.stderr


def test_commands_without_a_url_go_to_the_store(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        env = {"PYTHONPATH": search_path(tmp_path), "GATEWAY_URL": ""}
        kept = os.environ.pop("GATEWAY_STATE", None)
        try:
            done = gateway(running, "set", "a", "native", "--config", "gateway.yaml", **env)
        finally:
            if kept is not None:
                os.environ["GATEWAY_STATE"] = kept
        assert done.returncode == 0, done.stderr
        written = time.monotonic()
        wait_until(lambda: httpx.get(f"{running.url}/a").headers["x-served-by"] == "native")
        assert time.monotonic() - written < 1.5


def test_write_changes_the_file_and_keeps_its_comments(tmp_path: Path) -> None:
    text = CONFIG + (
        "routes:               # the rules\n"
        "  # first\n"
        "  - name: a\n"
        "    path: /a          # a path\n"
        "    cutover: legacy   # for now\n"
        "    auth: none\n"
        "\n"
        "  - {name: b, path: /b, cutover: native, auth: none}   # flow\n"
        "# the end\n"
    )
    with server(tmp_path, config=text) as running:
        env = {"PYTHONPATH": search_path(tmp_path)}

        def write(*words: str) -> subprocess.CompletedProcess[str]:
            return gateway(running, *words, "--write", "--config", "gateway.yaml", **env)

        assert write("set", "a", "canary", "--weight", "50").returncode == 0
        assert write("set", "b", "canary", "--weight", "5").returncode == 0
        refused = write("set", "GET /c", "native")
        assert (refused.returncode, "[auth-missing]" in refused.stderr) == (1, True)
        assert write("set", "GET /c", "legacy").returncode == 0
        refused = write("set", "nope", "native")
        assert (refused.returncode, "no rule or route" in refused.stderr) == (1, True)
        assert (tmp_path / "gateway.yaml").read_text() == CONFIG + (
            "routes:               # the rules\n"
            "  # first\n"
            "  - name: a\n"
            "    path: /a          # a path\n"
            "    cutover: canary   # for now\n"
            "    weight: 50\n"
            "    auth: none\n"
            "\n"
            "  - {name: b, path: /b, cutover: canary, weight: 5, auth: none}   # flow\n"
            "\n"
            '  - {path: "/c", methods: [GET], cutover: legacy}\n'
            "# the end\n"
        )
        wait_until(lambda: httpx.get(f"{running.url}/b").headers["x-served-by"] == "legacy", 5)
        assert list(tmp_path.glob(".gateway.yaml*")) == []
