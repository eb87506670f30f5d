"""A blocked route goes on being mirrored, so that the next release can prove itself."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway.blocks import ENOUGH
from tests.functional.live import Server, server, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.network

GOOD = {"X-Key": "good"}
#: Release r2 guards what r1 left open.
APPS = """
import os
from fastapi import FastAPI, Header, HTTPException
from flask import Flask, abort, request

flask, native = Flask("legacy"), FastAPI(openapi_url=None)

@flask.get("/a")
def a():
    return "a" if request.headers.get("X-Key") == "good" else abort(401)

@native.get("/a")
async def twin(x_key: str = Header("")):
    if os.environ["GATEWAY_RELEASE"] != "r1" and x_key != "good":
        raise HTTPException(401)
    return "a"
"""
CONFIG = """\
version: 1
legacy: {app: "live_apps:flask", threads: 4}
native: {app: "live_apps:native"}
admin: {token_env: GATEWAY_ADMIN_TOKEN}
mirror: {in_flight: 64}
served_by: true
routes: [{name: a, path: /a, auth: none, RULE}]
"""
MOVED = (
    "cutover: live",
    "cutover: canary, weight: 100, sticky: [ip], sample: 100",
)


@contextlib.contextmanager
def release(folder: Path, name: str, rule: str) -> Iterator[Server]:
    (folder / "live_apps.py").write_text(APPS)
    (folder / "gateway.yaml").write_text(CONFIG.replace("RULE", rule))
    state = {"GATEWAY_STATE": f"sqlite:///{folder}/state.db", "TMPDIR": str(folder)}
    with server(folder, GATEWAY_RELEASE=name, **state) as running:
        yield running


def opened(folder: Path, rule: str) -> None:
    """Let native let in a stranger in the first release."""
    with release(folder, "r1", rule) as running:
        assert httpx.get(f"{running.url}/a", headers=GOOD).headers["x-served-by"] == "native"
        wait_until(lambda: stranger_is_refused(running))
        wait_until(lambda: bool(blocked(running)))
        wait_until(lambda: bool(running.ask("GET", "/overrides").json()["overrides"]))


def stranger_is_refused(running: Server) -> bool:
    return httpx.get(f"{running.url}/a").status_code == 401


def blocked(running: Server) -> Any:
    return row(running)["blocked"]


def row(running: Server) -> dict[str, Any]:
    rows = running.ask("GET", "/status").json()["routes"]
    found: dict[str, Any] = next(each for each in rows if each["route"] == "GET /a")
    return found


@pytest.mark.parametrize("rule", MOVED)
def test_the_next_release_ends_the_block_without_anybody_s_help(rule: str, tmp_path: Path) -> None:
    opened(tmp_path, rule)
    with release(tmp_path, "r2", rule) as running, httpx.Client() as client:
        assert blocked(running)["releases"] == ["r1"]
        for _ in range(ENOUGH + 20):
            answer = client.get(f"{running.url}/a", headers=GOOD)
            assert answer.headers["x-served-by"] == "legacy"
            time.sleep(0.005)
        time.sleep(2)
        assert blocked(running), "nobody has been refused by both"
        assert client.get(f"{running.url}/a").status_code == 401
        wait_until(lambda: not blocked(running), 20)
        entry = running.ask("GET", "/audit").json()["entries"][0]
        assert (entry["action"], entry["route"]) == ("unblock", "GET /a")
        # The rollback stays until somebody clears it, as ever.
        assert client.get(f"{running.url}/a", headers=GOOD).headers["x-served-by"] == "legacy"
        running.post("/clear", {"route": "a"})
        assert client.get(f"{running.url}/a", headers=GOOD).headers["x-served-by"] == "native"


def mirrored(running: Server) -> bool:
    """Tell whether one of many requests is mirrored."""
    for _ in range(20):
        httpx.get(f"{running.url}/a", headers=GOOD)
    time.sleep(1)
    return bool(row(running)["compared"])


@pytest.mark.parametrize("rule", ["cutover: native", "cutover: shadow", "cutover: live"])
def test_a_file_that_would_move_it_has_it_mirrored(rule: str, tmp_path: Path) -> None:
    opened(tmp_path, "cutover: live")
    with release(tmp_path, "r2", rule) as running:
        assert mirrored(running)


def test_a_file_that_says_legacy_leaves_native_alone(tmp_path: Path) -> None:
    opened(tmp_path, "cutover: live")
    with release(tmp_path, "r2", "cutover: legacy") as running:
        assert blocked(running)
        assert not mirrored(running)


@pytest.mark.parametrize("page", ["/rollback", "/overrides"])
def test_whoever_puts_it_on_legacy_by_hand_means_it(page: str, tmp_path: Path) -> None:
    opened(tmp_path, "cutover: live")
    with release(tmp_path, "r2", "cutover: live") as running:
        running.post("/clear", {"route": "a"})
        body = {"route": "a", "author": "ann", "reason": "it blocks the loop"}
        running.post(page, body if page == "/rollback" else body | {"cutover": "legacy"})
        assert not mirrored(running)
