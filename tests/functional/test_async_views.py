"""Asynchronous Flask views through the gateway (A24), on loops of their own or the main one."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask, request

from gateway import ConfigError, Gateway
from tests.functional.servers import serve

pytest.importorskip("asgiref")
pytestmark = pytest.mark.network

seen: ContextVar[str] = ContextVar("seen", default="nothing")


def gateway(mode: str, loops: set[int]) -> Gateway:
    app = Flask("async")
    native = FastAPI()

    @app.before_request
    async def note() -> None:
        seen.set(request.args.get("n", ""))

    @app.get("/wait")
    async def wait() -> str:
        loops.add(id(asyncio.get_running_loop()))
        await asyncio.sleep(0.2)
        return f"{request.args['n']} {seen.get()}"

    @app.get("/fail")
    async def fail() -> str:
        raise LookupError("not here")

    @app.errorhandler(LookupError)
    def lookup(error: LookupError) -> Any:
        return str(error), 404

    @native.get("/loop")
    async def loop() -> int:
        return id(asyncio.get_running_loop())

    settings = {"version": 1, "legacy": {"threads": 50, "async_views": mode}}
    return Gateway(app, native, settings, verify_lock=False)


@pytest.mark.parametrize("mode", ["own", "main"])
@pytest.mark.parametrize("server", [("httptools", "uvloop"), ("h11", "asyncio")])
def test_fifty_at_once(mode: str, server: tuple[str, str]) -> None:
    loops: set[int] = set()
    http, loop = server
    with serve(gateway(mode, loops), http=http, loop=loop) as url:

        def ask(n: int) -> str:
            return httpx.get(f"{url}/wait?n={n}", timeout=30).text

        started = time.monotonic()
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(ask, range(50)))
        assert answers == [f"{n} {n}" for n in range(50)], "variables of a hook reach the view"
        assert time.monotonic() - started < 5, "they wait side by side"
        main = httpx.get(f"{url}/loop?n=0").json()
        assert (main in loops) == (mode == "main")
        if mode == "main":
            assert loops == {main}


@pytest.mark.parametrize("mode", ["own", "main"])
def test_an_exception_reaches_flask_s_handler(mode: str) -> None:
    with serve(gateway(mode, set())) as url:
        answer = httpx.get(f"{url}/fail")
        assert (answer.status_code, answer.text) == (404, "not here")


def test_only_flask_has_asynchronous_views() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b""]

    with pytest.raises(ConfigError, match=r"async_views.*not a Flask app"):
        Gateway(app, None, {"version": 1, "legacy": {"async_views": "main"}})
