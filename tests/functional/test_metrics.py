"""Metrics for people's Prometheus: right over several workers, bounded, and none of the user's."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from gateway import Gateway, UseLegacy
from gateway.observe.metrics import METRICS
from gateway.observe.tally import BOUNDS, Line, Tally, Totals, percentile, totals
from gateway.observe.workers import MOST_ENDED, Workers
from tests.functional.live import APPS, CONFIG, RULES, TOKEN, server, wait_until
from tests.functional.servers import serve

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.network

RIGHT = {"Authorization": f"Bearer {TOKEN}"}


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def counted(text: str, name: str, *by: str) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for (sample, labels), value in samples(text).items():
        if sample == name:
            known = dict(labels)
            found[tuple(known[label] for label in by)] += int(value)
    return found


def test_every_request_is_counted_once_by_route_side_and_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", TOKEN)
    flask, native = Flask("legacy"), FastAPI()
    flask.add_url_rule("/users/<int:id>", "user", lambda id: f"legacy {id}")  # noqa: A006
    flask.add_url_rule("/crash", "crash", lambda: str(1 / 0))

    @native.get("/users/{user_id}")
    async def user(user_id: int) -> str:
        if user_id == 404:
            raise HTTPException(404)
        return "native"

    config = {
        "version": 1,
        "admin": {"token_env": "GATEWAY_ADMIN_TOKEN"},
        "routes": [{"path": "/users/<int:id>", "cutover": "native", "auth": "none"}],
    }
    with serve(Gateway(flask, native, config, verify_lock=False)) as url:
        for path in ("/users/1", "/users/2", "/users/404", "/users/abc", "/crash", "/odd", "/x/y"):
            httpx.get(url + path)
        httpx.post(url + "/users/1")
        httpx.request("SEARCH", url + "/odd")
        httpx.head(url + "/users/1")
        httpx.get(f"{url}/-/ready")
        text = httpx.get(f"{url}/-/metrics", headers=RIGHT).text
    assert counted(text, "gateway_requests_total", "route", "method", "backend", "status") == {
        ("/users/{id}", "GET", "native", "2xx"): 2,
        ("/users/{id}", "GET", "native", "4xx"): 1,
        ("/users/{id}", "GET", "legacy", "4xx"): 1,
        ("/users/{id}", "HEAD", "native", "2xx"): 1,
        ("/crash", "GET", "legacy", "5xx"): 1,
        ("", "GET", "legacy", "4xx"): 2,
        ("", "POST", "legacy", "4xx"): 1,
        ("", "other", "legacy", "4xx"): 1,
    }
    assert counted(text, "gateway_decisions_total", "backend", "reason") == {
        ("native", "rule"): 4,
        ("legacy", "only_legacy"): 1,
        ("legacy", "converter"): 1,
        ("legacy", "neither"): 3,
        ("legacy", "method"): 1,
    }
    assert counted(text, "gateway_request_duration_seconds_count", "backend") == {
        ("native",): 4,
        ("legacy",): 6,
    }
    values = {value for _, labels in samples(text) for _, value in labels}
    for odd in ("abc", "odd", "x/y", "SEARCH", "404"):
        assert not [v for v in values if odd in v], "labels hold templates, never what came"


def test_use_legacy_without_a_legacy_route_is_counted_as_the_500_that_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", TOKEN)
    flask, native = Flask("legacy"), FastAPI()

    @native.get("/only")
    async def only() -> None:
        raise UseLegacy

    config = {"version": 1, "admin": {"token_env": "GATEWAY_ADMIN_TOKEN"}}
    with serve(Gateway(flask, native, config, verify_lock=False)) as url:
        assert httpx.get(f"{url}/only").status_code == 500
        text = httpx.get(f"{url}/-/metrics", headers=RIGHT).text
    found = counted(text, "gateway_requests_total", "route", "backend", "status")
    assert found == {("/only", "native", "5xx"): 1}


def test_every_metric_is_described_and_none_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", TOKEN)
    flask, native = Flask("legacy"), FastAPI()
    flask.add_url_rule("/a", "a", lambda: "")
    config = {"version": 1, "admin": {"token_env": "GATEWAY_ADMIN_TOKEN"}}
    with serve(Gateway(flask, native, config, verify_lock=False)) as url:
        httpx.get(f"{url}/a")
        answer = httpx.get(f"{url}/-/metrics", headers=RIGHT)
    assert answer.headers["content-type"].startswith("text/plain")
    families = {f.name: f for f in text_string_to_metric_families(answer.text)}
    assert {name.removesuffix("_total") for name in METRICS} == families.keys()
    for name, (kind, text) in METRICS.items():
        family = families[name.removesuffix("_total")]
        assert (family.type, family.documentation) == (kind, text)


def test_two_workers_answer_as_one_and_no_counter_falls_when_one_ends(tmp_path: Path) -> None:
    with server(tmp_path, "--workers", "2") as running:
        for _ in range(60):  # each with a connection of its own: both workers get some
            httpx.get(f"{running.url}/a")

        def total() -> int:
            text = running.ask("GET", "/metrics").text
            return sum(counted(text, "gateway_requests_total", "route").values())

        seen = [total() for _ in range(8)]
        assert seen == sorted(seen), "no counter falls, whichever worker is asked"
        time.sleep(1.5)
        assert [total() for _ in range(8)] == [60] * 8
        children = subprocess.run(
            ["pgrep", "-P", str(running.process.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        workers = [pid for pid in children if "spawn_main" in cmdline(pid)]
        time.sleep(1.2)
        os.kill(int(workers[0]), signal.SIGKILL)
        time.sleep(0.5)

        def settled() -> bool:
            """Whoever listens to nobody any more is replaced by uvicorn."""
            try:
                return total() == 60
            except httpx.TransportError:
                return False

        wait_until(settled, 15)


def cmdline(pid: str) -> str:
    with open(f"/proc/{pid}/cmdline") as file:  # noqa: PTH123 - it is no file
        return file.read()


def test_the_users_own_metrics_are_left_alone(tmp_path: Path) -> None:
    """No variable is set, no metric of ours is in the process's own registry."""
    (tmp_path / "live_apps.py").write_text(
        APPS
        + "\nimport os, json\nfrom prometheus_client import REGISTRY, Counter\n"
        + 'own = Counter("own", "the user\'s")\n\n'
        + '@flask.get("/own")\n'
        + "def show():\n"
        + "    own.inc()\n"
        + "    names = [m.name for m in REGISTRY.collect()]\n"
        + '    variable = os.environ.get("PROMETHEUS_MULTIPROC_DIR")\n'
        + "    return json.dumps([names, variable])\n"
    )
    with server(tmp_path) as running:
        running.ask("GET", "/metrics")
        names, variable = json.loads(httpx.get(f"{running.url}/own").text)
        assert "own" in names
        assert not [name for name in names if name.startswith("gateway")]
        assert variable is None


def test_percentiles_are_prometheus_own() -> None:
    """histogram_quantile: the straight line within a bucket, the open one counts as its start."""
    empty = [0] * (len(BOUNDS) + 1)
    assert percentile(empty, 0.5) is None
    one = list(empty)
    one[0] = 4
    assert percentile(one, 0.5) == pytest.approx(BOUNDS[0] / 2)
    both = list(empty)
    both[1], both[3] = 50, 50
    assert percentile(both, 0.5) == pytest.approx(BOUNDS[1])
    assert percentile(both, 0.75) == pytest.approx((BOUNDS[2] + BOUNDS[3]) / 2)
    late = list(empty)
    late[-1] = 1
    assert percentile(late, 0.99) == BOUNDS[-1]


def test_what_workers_tell_adds_up() -> None:
    tally = Tally()
    tally.lines["GET", "/a", "native"] = Line(
        [1] * (len(BOUNDS) + 1), 2.5, {"rule": 14}, {"2xx": 14}
    )
    tally.tick(100)
    tally.lines["GET", "/a", "native"].durations[0] += 3
    tally.tick(101)
    told = json.loads(json.dumps(tally.as_json()))
    whole = totals([told, told, Totals().as_json()])
    line = whole.lines["GET", "/a", "native"]
    assert (line.count, line.seconds, line.reasons) == (34, 5.0, {"rule": 28})
    moments = whole.history["GET", "/a"]
    assert {second: m.native for second, m in moments.items()} == {100: 28, 101: 6}
    assert not math.isnan(line.seconds)


def test_files_of_ended_workers_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    ended = []
    for number in range(MOST_ENDED + 2):
        code = (
            "import sys, os; from gateway.observe import Workers\n"
            f"workers = Workers({os.getpid()}); workers.start()\n"
            "line = ['GET', '/a', 'legacy', [1] + [0] * 13, 0.5, {'rule': 1}, {'2xx': 1}]\n"
            "workers.tell({'tally': {'lines': [line], 'history': []},"
            " 'counters': {'reloads_ok': 2}, 'gauges': {}, 'revision': 'x'})\n"
        )
        env = {**os.environ, "TMPDIR": str(tmp_path)}
        ended.append(subprocess.Popen([sys.executable, "-c", code], env=env))
        if number % 3 == 0:
            ended[-1].wait()
    for process in ended:
        assert process.wait() == 0
    workers = Workers(os.getpid())
    workers.start()
    parts = workers.others()
    assert len(parts) < MOST_ENDED
    assert sum(part["counters"]["reloads_ok"] for part in parts) == 2 * len(ended)
    assert totals(p["tally"] for p in parts).lines["GET", "/a", "legacy"].count == len(ended)
    assert not any(part["alive"] for part in parts)


def test_a_folder_of_somebody_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    base = tmp_path / f"gateway-{os.getuid()}"
    base.mkdir(mode=0o777)
    base.chmod(0o777)
    workers = Workers(os.getpid())
    workers.start()
    workers.tell({"tally": {"lines": [], "history": []}})
    assert workers.others() == []
    assert "can't share their metrics" in caplog.text
    assert list(base.iterdir()) == []


def test_status_tells_rates_and_durations(tmp_path: Path) -> None:
    with server(tmp_path, config=CONFIG + RULES) as running:
        for _ in range(20):
            httpx.get(f"{running.url}/b")
        time.sleep(1.1)
        data = running.ask("GET", "/status").json()
        row = next(each for each in data["routes"] if each["route"] == "GET /b")
        assert row["requests"] == 20
        assert row["native_share"] == 100
        assert 0 < row["rate"] <= 2
        assert sum(row["history"]) == 20
        assert row["sides"]["legacy"]["p50"] is None
        assert re.fullmatch(r"[0-9a-f]{12}-0", data["revision"])
