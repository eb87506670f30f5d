"""What blocks the event loop is found and named (S10)."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from flask import Flask

from gateway import Gateway
from tests.functional.servers import serve

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.network

TOKEN = "a-token-of-thirty-two-characters"


def blocking_dependency() -> float:
    return deep()


def deep() -> float:
    time.sleep(0.4)
    return 1.0


async def asynchronous_dependency() -> float:
    return blocking_dependency()


class BlockingMiddleware:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/through":
            time.sleep(0.4)
        await self.app(scope, receive, send)


def apps() -> tuple[Flask, FastAPI]:
    flask, native = Flask("legacy"), FastAPI()
    flask.add_url_rule("/legacy", "legacy", lambda: str(deep()))
    native.add_middleware(BlockingMiddleware)

    @native.get("/sleeps")
    async def blocking_handler() -> str:
        time.sleep(0.4)
        return "slept"

    @native.get("/depends")
    async def depends(value: Annotated[float, Depends(asynchronous_dependency)]) -> float:
        return value

    @native.get("/through")
    async def through() -> str:
        return "through"

    @native.get("/plain")
    def plain() -> str:
        time.sleep(0.4)
        return "in a thread"

    return flask, native


def test_the_culprit_is_named_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_TEST_TOKEN", TOKEN)
    config: dict[str, Any] = {"version": 1, "admin": {"token_env": "GATEWAY_TEST_TOKEN"}}
    config["observe"] = {"loop_lag": "150ms"}
    with serve(Gateway(*apps(), config, verify_lock=False)) as url:
        for path in ("/legacy", "/plain"):
            httpx.get(url + path)
        assert not [r for r in caplog.records if r.name == "gateway.loop"], "threads may wait"
        for _ in range(2):
            for path in ("/sleeps", "/depends", "/through"):
                httpx.get(url + path)
                time.sleep(0.2)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        text = httpx.get(f"{url}/-/metrics", headers=headers).text
    said = [r.getMessage() for r in caplog.records if r.name == "gateway.loop"]
    assert len(said) == 3, said
    for words in ("blocking_handler", "deep", "BlockingMiddleware.__call__"):
        found = [each for each in said if words in each.partition(" has blocked")[0]]
        assert len(found) == 1, words
        assert __file__ in found[0], "with its file and line"
        assert "time.sleep(0.4)" in found[0], "with the stack"
    assert "blocking_dependency" in next(each for each in said if "deep" in each)
    counted = [line for line in text.splitlines() if line.startswith("gateway_loop_blocks_total{")]
    assert sorted(float(line.rpartition(" ")[2]) for line in counted) == [2.0, 2.0, 2.0]
    longest = next(x for x in text.splitlines() if x.startswith("gateway_loop_longest"))
    assert 0.2 < float(longest.rpartition(" ")[2]) < 2


def test_a_busy_loop_is_no_blocked_one(caplog: pytest.LogCaptureFixture) -> None:
    flask, native = apps()

    @native.get("/quick")
    async def quick() -> str:
        time.sleep(0.005)
        return "quick"

    with (
        serve(Gateway(flask, native, {"version": 1}, verify_lock=False)) as url,
        httpx.Client(base_url=url) as client,
    ):
        for _ in range(100):
            client.get("/quick")
    assert not [r for r in caplog.records if r.name == "gateway.loop"]


LOOKS = """
import gc, threading, time
from gateway.observe.loop_lag import frame_of

class Trash:
    def __del__(self):
        time.sleep(0.002)

end = time.monotonic() + 2

def look():
    while time.monotonic() < end:
        one, two = Trash(), Trash()
        one.other, two.other = two, one
        del one, two
        gc.disable()
        kept = []
        while gc.get_count()[0] < gc.get_threshold()[0]:
            kept.append([])
        gc.enable()
        assert frame_of(threading.get_ident()) is not None

def down(depth):
    return down(depth - 1) if depth else time.sleep(0.0001)

def start():
    while time.monotonic() < end:
        thread = threading.Thread(target=down, args=(3,))
        thread.start()
        thread.join()

threads = [threading.Thread(target=look), *(threading.Thread(target=start) for _ in range(4))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_looking_at_a_thread_never_stops_the_process() -> None:
    """CPython gh-106883: a collection within sys._current_frames, while threads are started."""
    subprocess.run([sys.executable, "-c", LOOKS], check=True, timeout=60)
