"""What mirrors find is there to be seen: by the admin API, the command and the report."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway.store import open_store
from gateway.store.sqlite import SqliteStore
from tests.functional.live import CONFIG as CONFIG_OF_LIVE
from tests.functional.live import TOKEN, Server, search_path, server, wait_until
from tests.functional.services import redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.network

APPS = """
import itertools, json, os, time
from fastapi import FastAPI, Response
from flask import Flask

flask, native = Flask("legacy"), FastAPI(openapi_url=None)
ticks = itertools.count(os.getpid() * 1000)
SECRET = "hunter2-hunter2"


@flask.get("/users/<int:id>")
def user(id):
    return {"id": id, "name": "Ann", "at": next(ticks), "password": SECRET, "tags": ["a"],
            "note": f"token={SECRET}", "odd": "\\u202e<script>alert(1)</script>\\x1b[31m"}


@native.get("/users/{id}")
def user_(id: int):
    said = {"id": str(id), "name": "Ann", "at": next(ticks), "password": SECRET + "!",
            "tags": ["a", "b"], "note": f"token={SECRET}!", "odd": float("inf")}
    return Response(json.dumps(said), media_type="application/json")


@flask.get("/raises")
def raises():
    return {"fine": True}


@native.get("/raises")
def raises_():
    raise RuntimeError(f"no: password={SECRET} \\ud800 <script>alert(2)</script> \\x1b[2J")


for path in ("same", "blocks", "alone"):
    flask.add_url_rule(f"/{path}", path, lambda: {"same": True})
native.add_api_route("/same", lambda: {"same": True})


@native.get("/blocks")
async def blocks():
    time.sleep(0.6)
    return {"same": True}
"""
CONFIG = """\
version: 1
legacy: {app: "live_apps:flask"}
native: {app: "live_apps:native"}
admin: {token_env: GATEWAY_ADMIN_TOKEN}
routes:
  - {name: users, path: /users/<int:id>, cutover: shadow, noise: 100%}
  - {path: /raises, cutover: shadow}
  - {path: /same, cutover: shadow}
  - {path: /blocks, cutover: shadow}
"""
CONFIG_OF_A = CONFIG_OF_LIVE + "routes: [{path: /a, cutover: shadow}]\n"
SECRET = "hunter2"


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A gateway with two workers whose mirrors have found something."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "live_apps.py").write_text(APPS)
    with contextlib.ExitStack() as stack:
        state = f"sqlite:///{folder}/state.db"
        if request.param == "redis":
            state = stack.enter_context(redis_server(folder))
        found = stack.enter_context(
            server(folder, "--workers", "2", config=CONFIG, GATEWAY_STATE=state)
        )
        (folder / "state").write_text(state)
        for number in range(40):
            # A connection each, so that both workers get their share.
            httpx.get(f"{found.url}/users/{number % 3}?verbose=1&password={SECRET}")
            httpx.get(f"{found.url}/same", headers={"Authorization": f"Bearer {SECRET}"})
        assert httpx.get(f"{found.url}/raises?api_key={SECRET}").json() == {"fine": True}
        httpx.head(f"{found.url}/same")
        httpx.get(f"{found.url}/blocks")
        wait_until(lambda: settled(found))
        yield found


def settled(found: Server) -> bool:
    said = found.ask("GET", "/diffs").json()
    rows = {row["route"]: row for row in said["routes"]}
    return (
        rows["GET /users/{id}"]["outcomes"].get("compared") == 40
        and rows["GET /same"]["outcomes"].get("compared") == 41
        and rows["GET /blocks"]["suspended"] is not None
        and {"GET /users/{id}", "GET /raises"} <= {each["route"] for each in said["samples"]}
        and any(each["path"] == "$.at" for each in rows["GET /users/{id}"]["noise"])
    )


def gateway(running: Server, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": search_path(running.folder), "GATEWAY_ADMIN_TOKEN": TOKEN,
           "GATEWAY_STATE": (running.folder / "state").read_text()}  # fmt: skip
    env.pop("GATEWAY_URL", None)
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words], capture_output=True, text=True, timeout=60,
        cwd=running.folder, env=env | environ, check=False, encoding="utf-8",
    )  # fmt: skip


def diffs(running: Server, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return gateway(running, "diffs", *words, "--url", running.url, **environ)


# -- the API ------------------------------------------------------------------------------------


def test_all_workers_counts_are_told_together(running: Server) -> None:
    for _ in range(6):
        said = running.ask("GET", "/diffs").json()
        rows = {row["route"]: row for row in said["routes"]}
        assert sorted(rows) == ["GET /blocks", "GET /raises", "GET /same", "GET /users/{id}"]
        assert rows["GET /same"]["verdicts"] == {"equal": 41}, "HEAD is GET without its body"
        users = rows["GET /users/{id}"]
        assert users["verdicts"] == {"different": 40}
        assert dict(users["fields"])["$.id"] == 40
        assert [each["path"] for each in users["noise"]] == ["$.at"]
        assert rows["GET /blocks"]["suspended"].endswith("blocks")
        assert said["workers"] == 2
        assert said["store"] == "ok"


def test_a_sample_tells_both_answers(running: Server) -> None:
    said = running.ask("GET", "/diffs?route=users").json()
    assert [row["route"] for row in said["routes"]] == ["GET /users/{id}"]
    sample = said["samples"][0]
    assert sample["path"].startswith("/users/")
    assert (sample["method"], sample["query"]) == ("GET", "verbose=1&password=***")
    found = {each["path"]: each for each in sample["differences"]}
    assert found["$.id"]["kind"] == "type"
    assert found["$.id"]["legacy"] == int(found["$.id"]["native"])
    assert found["$.tags[1]"]["kind"] == "added"
    assert found["$.odd"]["native"] == "Infinity", "JSON has no such number"
    assert "$.at" not in found
    assert time.time() - sample["at"] < 300


@pytest.mark.parametrize("route", ["users", "GET /users/{id}", "/users/<int:id>", "/users/{x}"])
def test_a_route_has_several_names(running: Server, route: str) -> None:
    said = running.ask("GET", "/diffs", params={"route": route, "limit": 1}).json()
    assert [row["route"] for row in said["routes"]] == ["GET /users/{id}"]
    assert len(said["samples"]) == 1


def test_an_unknown_route_is_refused(running: Server) -> None:
    answer = running.ask("GET", "/diffs?route=user")
    assert answer.status_code == 422
    assert "did you mean 'users'?" in answer.json()["detail"]
    assert running.ask("GET", "/diffs?route=/alone").json()["routes"] == []
    assert httpx.get(f"{running.url}/-/diffs").status_code == 401


def test_the_status_says_how_much_differs(running: Server) -> None:
    rows = {row["route"]: row for row in running.ask("GET", "/status").json()["routes"]}
    users, same = rows["GET /users/{id}"], rows["GET /same"]
    assert (users["compared"], users["different"]) == (40, 40)
    assert (same["compared"], same["different"], same["mirror_suspended"]) == (41, 0, None)
    assert rows["GET /blocks"]["mirror_suspended"].endswith("blocks")
    drawn = gateway(running, "status", "--url", running.url).stdout
    assert re.search(r"GET /users/\{id\} .* 40 of 40 compared answers differ", drawn)
    assert re.search(r"GET /blocks .* mirrored no more: \S*blocks blocks or hangs", drawn)
    assert not re.search(r"GET /alone .*compared", drawn)


# -- the command --------------------------------------------------------------------------------


def test_the_command_shows_both_answers_side_by_side(running: Server) -> None:
    done = diffs(running, "users")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("GET /users/{id}  40 compared: 40 different\n")
    assert "\n  fields     $.id (40)" in done.stdout
    assert "\n  noise      $.at (value)" in done.stdout
    assert re.search(r"GET /users/\d\?verbose=1&password=\*\*\*", done.stdout)
    assert re.search(r'\$\.id +\d +"\d" +type', done.stdout)
    assert re.search(r'\$\.password +"\*{3}" +"\*{3}" +changed: in what is hidden', done.stdout)
    assert re.search(r'\$\.tags\[1\] +\(nothing\) +"b" +added', done.stdout)


def test_the_readme_shows_what_the_command_prints(running: Server) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    sample = readme.split("$ gateway diffs users\n")[1].split("```")[0]
    printed = {likened(line) for line in diffs(running, "users").stdout.splitlines()}
    lines = [likened(line) for line in sample.splitlines() if line.strip() not in ("", "…")]
    assert len(lines) >= 6
    assert [line for line in lines if line not in printed] == []


def likened(line: str) -> str:
    """Leave out times, ids and the widths of columns."""
    line = re.sub(r"\d{4}-\d\d-\d\d [\d:]+", "TIME", line)
    line = re.sub(r'(/users/|\$\.id +|")\d\b', r"\1N", line)
    return re.sub(r"\s+", " ", line).strip()


def test_a_traceback_stands_below(running: Server) -> None:
    text = diffs(running, "/raises").stdout
    assert "native raised" in text
    assert "RuntimeError: no: password=***" in text
    assert "frames of libraries" in text
    assert "mirror.py" not in text, "the gateway is a library, too"
    assert re.search(r"answered +200, 14 bytes +(500|no answer), \d+ bytes", text)


def test_the_exit_code_says_whether_something_differs(running: Server) -> None:
    assert diffs(running, "/same").returncode == 0
    assert diffs(running).returncode == 1
    unknown = diffs(running, "/nowhere")
    assert unknown.returncode == 2
    assert "there is no rule or route" in unknown.stderr
    assert diffs(running, GATEWAY_ADMIN_TOKEN="wrong-wrong-wrong-wrong").returncode == 2
    both = diffs(running, "--json", "--html", "x.html")
    assert (both.returncode, both.stdout) == (2, "")
    assert diffs(running, "--html", "no/such/folder.html").returncode == 2


def test_the_store_alone_tells_the_samples(running: Server) -> None:
    done = gateway(running, "diffs", "--config", "gateway.yaml")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(
        "from the store, which has samples and no counts: --url asks a running gateway\n"
    )
    assert "RuntimeError: no: password=***" in done.stdout
    assert gateway(running, "diffs", "nowhere", "--config", "gateway.yaml").returncode == 2


def test_nothing_steers_the_terminal(running: Server) -> None:
    for words in ((), ("--json",)):
        text = diffs(running, *words).stdout
        assert all(each.isprintable() or each == "\n" for each in text)
    assert "\\x1b[2J" in diffs(running, "/raises").stdout


@pytest.mark.parametrize("columns", ["80", "60"])
def test_it_fits_the_terminal(running: Server, columns: str) -> None:
    pty = pytest.importorskip("pty")
    said = b""
    leader, follower = pty.openpty()
    env = {**os.environ, "GATEWAY_ADMIN_TOKEN": TOKEN, "COLUMNS": columns, "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "gateway", "diffs", "--url", running.url]
    with subprocess.Popen(command, stdout=follower, stderr=follower, env=env) as process:
        os.close(follower)
        with contextlib.suppress(OSError):  # the end of a terminal
            while part := os.read(leader, 65_536):
                said += part
        assert process.wait() == 1
    os.close(leader)
    assert b"\x1b[" in said, "in colour"
    plain = re.sub(r"\x1b\[[\d;]*m", "", said.decode())
    assert max(len(line) for line in plain.splitlines()) <= int(columns)


@pytest.mark.parametrize("where", ["--url", "--config"])
def test_only_what_differed_lately_counts_where_it_is_asked_for(
    running: Server, where: str
) -> None:
    """After a mend the samples of before are still there, and say nothing about it."""
    place = [where, running.url if where == "--url" else "gateway.yaml"]
    done = gateway(running, "diffs", "users", "--since", "1h", *place)
    assert done.returncode == 1
    assert "$.tags[1]" in done.stdout
    time.sleep(1)
    done = gateway(running, "diffs", "users", "--since", "500ms", *place)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "GET /users/{id}  nothing has differed in the last 500ms"
    assert "$.tags" not in done.stdout, "what was counted before the mend says nothing of it"
    wrong = gateway(running, "diffs", "--since", "10", *place)
    assert wrong.returncode == 2
    assert "--since '10' has no unit" in wrong.stderr


@pytest.mark.parametrize("where", ["--url", "--config"])
def test_the_shortest_time_is_a_time(running: Server, where: str) -> None:
    place = [where, running.url if where == "--url" else "gateway.yaml"]
    done = gateway(running, "diffs", "--since", "0.01ms", *place)
    assert (done.returncode, done.stderr) == (0, "")
    done = gateway(running, "diffs", "--since", "0s", *place)
    assert done.returncode == 2, "else a typo finds that nothing differs"


@pytest.mark.parametrize("words", [(), ("--since", "1h"), ("--json",), ("--html", "odd.html")])
def test_what_another_version_has_written_is_left_out(
    running: Server, words: tuple[str, ...]
) -> None:
    """While a server is updated, both versions share the store; samples stay for a week."""
    store = open_store((running.folder / "state").read_text(), running.folder)
    whole = next(iter(store.documents("diffs").values()))
    odd: dict[str, Any] = {f"odd {key}": {**whole, key: None} for key in ("at", "route", "legacy")}
    needed = whole.keys() - {"verdict"}  # older gateways leave it out
    odd |= {f"less {key}": {k: v for k, v in whole.items() if k != key} for key in needed}
    odd["verdict"] = {**whole, "verdict": 1}
    odd |= {"text": {**whole, "at": "today"}, "list": [1], "old": {**whole, "differences": [{}]}}
    before = running.ask("GET", "/diffs").json()["samples"]
    store.put("diffs", odd, 60)
    try:
        assert running.ask("GET", "/diffs").json()["samples"] == before
        for place in (("--url", running.url), ("--config", "gateway.yaml")):
            done = gateway(running, "diffs", *words, *place)
            assert (done.returncode, done.stderr) == (1, "")
    finally:
        store.remove("diffs", odd.keys())
        store.close()


# -- secrets ------------------------------------------------------------------------------------


def test_no_secret_is_kept_or_shown(running: Server) -> None:
    folder = running.folder
    html = folder / "secrets.html"
    assert diffs(running, "--html", str(html)).returncode == 1
    shown = [
        running.ask("GET", "/diffs").text,
        running.ask("GET", "/status").text,
        diffs(running).stdout,
        diffs(running, "--json").stdout,
        html.read_text(encoding="utf-8"),
        kept(folder),
    ]
    for text in shown:
        assert "***" in text or '"compared"' in text
        assert SECRET not in text


def kept(folder: Path) -> str:
    """Return everything that is in the store."""
    state = (folder / "state").read_text()
    if state.startswith("redis:"):
        from redis import Redis

        with Redis.from_url(state) as client:
            found: list[Any] = []
            for key in client.scan_iter("*"):
                kind = client.type(key)
                if kind == b"hash":
                    found.append(client.hgetall(key))
                elif kind == b"string":
                    found.append(client.get(key))
        return str(found)
    files = [folder / name for name in ("state.db", "state.db-wal")]
    return "".join(file.read_bytes().decode("latin-1") for file in files if file.exists())


def test_differences_of_one_kind_are_few_lines_and_old_ones_are_named(tmp_path: Path) -> None:
    differences = [
        {"path": f"$.items[{n}].price", "field": "$.items[*].price", "legacy": n, "native": n + 1,
         "kind": "changed", "note": ""}
        for n in range(40)
    ]  # fmt: skip
    side = {"status": 200, "bytes": 7, "error": None}
    sample: dict[str, Any]
    sample = {"route": "GET /a", "at": time.time() - 60, "method": "GET", "path": "/a", "query": "",
              "legacy": side, "native": side, "more": False}  # fmt: skip
    sample["differences"] = differences
    with server(tmp_path, config=CONFIG_OF_A) as running:
        SqliteStore(tmp_path / ".gateway" / "state.db").put("diffs", {"x": sample}, 60.0)
        (running.folder / "state").write_text(f"sqlite:///{tmp_path}/.gateway/state.db")
        shown = diffs(running).stdout
    assert [line.split() for line in shown.splitlines() if "$.items" in line] == [
        ["$.items[0].price", "0", "1", "changed"],
        ["$.items[1].price", "1", "2", "changed"],
        ["$.items[2].price", "2", "3", "changed"],
        ["$.items[*].price", "37", "more", "like", "these", "changed"],
    ]
    assert "(before the last start: not in the counts)" in shown


# -- without mirrors ----------------------------------------------------------------------------


def test_without_mirrors_there_is_nothing(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        httpx.get(f"{running.url}/a")
        time.sleep(2.5)
        said = running.ask("GET", "/diffs").json()
        assert (said["routes"], said["samples"]) == ([], [])
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "diffs", "--url", running.url],
            capture_output=True, text=True, check=False,
            env={**os.environ, "GATEWAY_ADMIN_TOKEN": TOKEN},
        )  # fmt: skip
        assert (done.returncode, json.dumps(done.stderr)) == (0, '""')
        assert "nothing is mirrored" in done.stdout
    assert not list(tmp_path.rglob("*.db"))
