"""Commands against whatever answers at a URL: a clear error, and no secret in it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sqlite3
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.changes import Wanted
from gateway.cli.live import audit
from gateway.cli.output import duration
from gateway.cli.remote import Remote, place
from gateway.store import Entry, SqliteStore
from tests.functional.live import APPS, CONFIG, RULES, TOKEN, search_path

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.network

NOWHERE = Path("nowhere.yaml")


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", TOKEN)


@contextlib.contextmanager
def answering(code: int, body: Any, seen: list[str] | None = None) -> Iterator[str]:
    """Serve one answer, whatever is asked."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            if seen is not None:
                seen.append(f"{self.path} {self.headers['Authorization']}")
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def log_message(self, *_: object) -> None:
            """Be silent."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def said(capsys: pytest.CaptureFixture[str], stop: pytest.ExceptionInfo[SystemExit]) -> str:
    text = capsys.readouterr().err
    assert TOKEN not in text
    assert "secret" not in text
    return f"{stop.value.code} {text}"


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://[::1", "is no URL of a gateway: write http://host:port"),
        ("localhost:8000", "is no URL of a gateway"),
        ("//localhost", "is no URL of a gateway"),
        ("http://localhost:port", "is no URL of a gateway"),
        ("http://localhost:99999", "is no URL of a gateway"),
        ("http://", "is no URL of a gateway"),
        ("", "is no URL of a gateway"),
        ("ftp://localhost", "is no URL of a gateway"),
        ("http://me:secret@localhost", "neither user nor password"),
        ("http://me:secret@[::1", "neither user nor password"),
        ("http://localhost/?token=secret", "neither query nor fragment"),
    ],
)
def test_a_url_that_is_none(capsys: pytest.CaptureFixture[str], url: str, wanted: str) -> None:
    with pytest.raises(SystemExit) as stop:
        place(url, None, NOWHERE)
    text = said(capsys, stop)
    assert text.startswith("2 gateway: ")
    assert wanted in text


@pytest.mark.parametrize(
    ("code", "body", "wanted"),
    [
        (200, b"<html>", "2 * answers something else than JSON: is a gateway there?"),
        (200, b"[" * 100_000, "2 * answers something else than JSON"),
        (200, [], "2 * answers as no gateway of this version does"),
        (200, {"revision": "x"}, "no gateway of this version does (workers: Field required)"),
        (500, [1, 2], "1 * answers HTTP 500"),
        (502, b"<html>", "1 * answers HTTP 502"),
        (404, {}, "2 *: there is no admin API (is a token configured there?)"),
        (422, {"detail": ["odd"]}, "1 gateway: odd"),
        (409, {"detail": "the config forbids it", "problems": "odd"}, "the config forbids it"),
        (409, {"detail": "no\x1b[2J"}, r"1 gateway: no\x1b[2J"),
    ],
)
def test_an_answer_that_is_none(
    capsys: pytest.CaptureFixture[str], code: int, body: Any, wanted: str
) -> None:
    with answering(code, body) as url, pytest.raises(SystemExit) as stop:
        Remote(url, NOWHERE).status()
    assert wanted.replace("*", f"gateway: {url}/-") in said(capsys, stop)


def test_what_the_api_refuses_is_said_in_the_words_of_the_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    detail = [
        {"loc": ["body", "seconds"], "msg": "Value error, 'x' is no duration"},
        {"loc": ["body", "weight"], "msg": "Input should be less than or equal to 100"},
        {"loc": ["body"], "msg": "Value error, name a route, or say all"},
    ]
    with answering(422, {"detail": detail}) as url, pytest.raises(SystemExit) as stop:
        Remote(url, NOWHERE).change(Wanted("set", "a"), None)
    assert said(capsys, stop) == (
        "1 gateway: --for: 'x' is no duration; --weight: input should be less than or equal to "
        "100; name a route, or say all\n"
    )
    problems = [
        "override: gateway.yaml:3: routes[0]: may guard itself (say auth:) [auth] [refused]"
    ]
    answer = {"detail": "the config forbids it", "problems": problems}
    with answering(409, answer) as url, pytest.raises(SystemExit) as stop:
        Remote(url, NOWHERE).change(Wanted("set", "a"), None)
    assert said(capsys, stop) == (
        "1 gateway.yaml:3: routes[0]: may guard itself (say auth:) [auth]\n"
        "gateway: the config forbids it\n"
    )


@pytest.mark.parametrize("token", ["se\ncret-0123456789", "secrét-0123456789", "a\x7fb"])
def test_a_token_that_no_header_can_carry_is_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", token)
    with pytest.raises(SystemExit) as stop:
        Remote("http://127.0.0.1:1", NOWHERE)
    text = said(capsys, stop)
    assert text.startswith("2 gateway: GATEWAY_ADMIN_TOKEN holds characters that no header")
    assert "cr" not in text.replace("characters", "")


def test_what_surrounds_a_token_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", f" {TOKEN}\r\n")
    seen: list[str] = []
    with answering(200, {"entries": []}, seen) as url:
        assert Remote(url + "/", NOWHERE).audit(5, None) == {"entries": []}
    assert seen == [f"/-/audit?limit=5 Bearer {TOKEN}"]


def test_a_broken_file_keeps_nobody_from_a_running_gateway(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("version: 1\nroutes: [{")
    done = {"routes": ["a"], "skipped": [], "revision": "x-1", "new": 1}
    with answering(200, done) as url:
        assert Remote(url, file).change(Wanted("rollback", "a"), None) == done
        monkeypatch.delenv("GATEWAY_ADMIN_TOKEN")
        with pytest.raises(SystemExit) as stop:
            Remote(url, file)
    assert "is broken just now, so that the defaults were taken" in said(capsys, stop)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90.0), ("1h30m", 5400.0), (" 2H ", 7200.0), ("365d", 31_536_000.0), (None, None)],
)
def test_a_duration_has_a_unit(text: str | None, seconds: float | None) -> None:
    assert duration("--for", text) == seconds


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("30", "has no unit: write 30s, 30m or 2h"),
        ("1.5", "has no unit"),
        ("", "has no unit"),
        ("1e400", "is no duration"),
        ("inf", "is no duration"),
        ("0s", "is no time at all"),
        ("0.0m", "is no time at all"),
        ("366d", "is above a year"),
        ("9" * 400 + "d", "is above a year"),
    ],
)
def test_a_duration_that_is_none(
    capsys: pytest.CaptureFixture[str], text: str, wanted: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        duration("--for", text)
    assert wanted in said(capsys, stop)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "live_apps.py").write_text(APPS)
    (tmp_path / "gateway.yaml").write_text(CONFIG + RULES)
    return tmp_path


def gateway(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "PYTHONPATH": search_path(folder),
        "GATEWAY_CONFIG": "gateway.yaml",
        **more,
    }
    for name in ("GATEWAY_URL", "GATEWAY_STATE"):
        env.pop(name, None)
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        capture_output=True, text=True, env=env, cwd=folder, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "url", ["redis://:se/cret@localhost", "redis://localhost:secret", "redis://[::secret/0"]
)
def test_a_store_that_has_no_url_is_named_without_its_password(folder: Path, url: str) -> None:
    pytest.importorskip("redis")
    (folder / "gateway.yaml").write_text(CONFIG + f"state: {url}\n" + RULES)
    for words in (("status",), ("set", "a", "native"), ("set", "a", "native", "--write")):
        done = gateway(folder, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("gateway.yaml:6: state: must be sqlite:///path")
        assert "cret" not in done.stderr
        assert "Traceback" not in done.stderr


def test_an_audit_by_a_rules_name_is_one_by_its_routes(folder: Path) -> None:
    for words in (
        ("set", "b", "legacy"),
        ("set", "GET /b", "canary", "--weight", "5", "--reason", "try"),
        ("set", "a", "native"),
    ):
        assert gateway(folder, *words).returncode == 0
    for name in ("b", "GET /b", "/b"):
        done = gateway(folder, "audit", name, "--json")
        routes = [each["route"] for each in json.loads(done.stdout)["entries"]]
        assert sorted(routes) == ["GET /b", "HEAD /b", "b"]
        assert routes[-1] == "b", "the newest first"
    done = gateway(folder, "audit", "b", "--limit", "1")
    assert len(done.stdout.splitlines()) == 2
    refused = gateway(folder, "set", "b", "native", "--reason", "\x1b[2Jtry")
    assert (refused.returncode, "printable" in refused.stderr) == (1, True)
    for command in ("audit", "status"):
        done = gateway(folder, command, "bb")
        assert (done.returncode, done.stdout) == (1, "")
        assert "'bb' (did you mean 'b'?)\n" in done.stderr
    assert gateway(folder, "audit", "*").returncode == 0
    found = json.loads(gateway(folder, "status", "b", "--json").stdout)
    assert [row["route"] for row in found["routes"]] == ["GET /b"]
    done = gateway(folder, "status", "--json", "--watch")
    assert (done.returncode, "--watch draws" in done.stderr) == (2, True)


def test_what_is_piped_is_neither_wrapped_nor_cut(folder: Path) -> None:
    reason = "because " * 40 + "end"
    gateway(folder, "set", "a", "native", "--reason", reason)
    for command in ("status", "audit"):
        done = gateway(folder, command, COLUMNS="40")
        assert f"{reason}" in done.stdout


def _strange_entries(folder: Path) -> None:
    """Write what no gateway writes."""
    SqliteStore(folder / ".gateway" / "state.db").note(Entry(1.0, "set", "a", "", "", "", ""))
    good = {"action": "set", "route": "a", "before": "", "after": "", "author": "", "reason": ""}
    strange: list[dict[str, Any]] = [{"at": at} for at in (math.nan, 1e300, -1e15, "abc", None)]
    strange += [{"at": 1.0, "author": "\ud800", "reason": None, "after": [], "action": 5}]
    with contextlib.closing(sqlite3.connect(folder / ".gateway" / "state.db")) as store:
        for each in strange:
            row = ("a", json.dumps({**good, **each}))
            store.execute("INSERT INTO audit (route, entry) VALUES (?, ?)", row)
        store.commit()


def test_an_audit_shows_whatever_the_store_holds(folder: Path) -> None:
    _strange_entries(folder)
    done = gateway(folder, "audit")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines[1:6]] == ["?"] * 5
    assert "\\ud800" in lines[0]
    told = json.loads(gateway(folder, "audit", "--json").stdout, parse_constant=pytest.fail)
    assert [each["at"] for each in told["entries"]] == [1.0, None, "abc", -1e15, 1e300, None, 1.0]


@pytest.mark.parametrize("at", ["1e300", "NaN", "-1e15", "null", '"abc"'])
def test_an_audit_shows_whatever_a_gateway_answers(
    capsys: pytest.CaptureFixture[str], at: str
) -> None:
    entry = (
        f'{{"at":{at},"action":"set","route":"\\ud800","before":"","after":"","author":"",'
        '"reason":""}'
    )
    with answering(200, f'{{"entries":[{entry}]}}'.encode()) as url:
        audit(url=url, limit=5)
    [_, line] = capsys.readouterr().out.splitlines()
    assert line.split()[:3] == ["?", "set", "\\ud800"]


def test_an_override_that_ends_in_no_year_is_explained(folder: Path) -> None:
    assert gateway(folder, "set", "a", "native").returncode == 0
    with contextlib.closing(sqlite3.connect(folder / ".gateway" / "state.db")) as store:
        store.execute("""UPDATE state SET held = json_set(held, '$.overrides[0].expires', 1e18)""")
        store.commit()
    for words in (("match", "GET", "/a"), ("status",), ("routes",)):
        done = gateway(folder, *words)
        assert "Traceback" not in done.stderr, words
        assert done.returncode == 0, done.stderr
