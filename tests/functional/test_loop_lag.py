"""What blocks the event loop is found and named (S10)."""

from __future__ import annotations

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
