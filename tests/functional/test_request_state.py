"""One mapping per request, on both sides and afterwards (A22, S1c)."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from flask import Flask, request
from starlette.middleware import Middleware

from gateway import Exchange, Gateway, request_state
from tests.functional.servers import serve

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.network


class Tenant:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request_state()["query"] = scope["query_string"].decode()
        await self.app(scope, receive, send)


def utility(name: str) -> None:
    """Knows neither Flask nor FastAPI."""
    request_state().setdefault("seen", []).append(name)


def apps() -> tuple[Flask, FastAPI]:
    flask, native = Flask("legacy"), FastAPI()

    @flask.before_request
    def before() -> None:
        utility("hook")

    @flask.get("/legacy")
    def view() -> Any:
        utility("view")
        time.sleep(0.01)
        return {"query": request_state()["query"], "args": request.query_string.decode()}

    async def dependency() -> None:
        utility("async dependency")

    def threaded() -> None:
        utility("def dependency")

    @native.get("/native", dependencies=[Depends(dependency), Depends(threaded)])
    def handler() -> Any:
        utility("def handler")
        return {"query": request_state()["query"]}

    flask.add_url_rule("/native", "native", lambda: "")
    return flask, native


def test_both_sides_write_it_and_observers_read_it() -> None:
    seen: list[Exchange] = []
    rules = [{"path": "/native", "cutover": "native", "auth": "none"}]
    app = Gateway(
        *apps(),
        {"version": 1, "routes": rules},
        middleware=[Middleware(Tenant)],
        observers=[seen.append],
        verify_lock=False,
    )
    with serve(app) as url:

        def ask(n: int) -> None:
            path = "/legacy" if n % 2 else "/native"
            assert httpx.get(f"{url}{path}?n={n}").json()["query"] == f"n={n}"

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(ask, range(100)))
    assert len({each.state["query"] for each in seen}) == 100
    native = ["hook", "async dependency", "def dependency", "def handler"]
    for each in seen:
        assert each.state["seen"] == (["hook", "view"] if each.path == "/legacy" else native)


def test_outside_of_a_request_there_is_none() -> None:
    with pytest.raises(LookupError, match="there is no request"):
        request_state()
