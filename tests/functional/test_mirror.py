"""Mirrors (B11, B12): the other side is asked as well, and the client never notices."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import logging
import os
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
import weakref
from contextvars import ContextVar
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import httpx
import pytest
from blinker import Namespace
from cachelib import FileSystemCache
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from flask import Flask, g, request, session
from flask_session import Session
from flask_wtf import CSRFProtect
from flask_wtf.csrf import generate_csrf
from sqlalchemy import create_engine, text

from gateway import Gateway, UseLegacy, is_mirror, request_state
from gateway.exceptions import ConfigError
from tests.apps import guards
from tests.functional.live import wait_until
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.network


def shadow(path: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "cutover": "shadow", **more}


def made(flask: Flask, native: FastAPI, *routes: dict[str, Any], **config: Any) -> Gateway:
    whole = {"version": 1, "routes": list(routes), "mirror": {"timeout": 2, "in_flight": 4}}
    return Gateway(flask, native, whole | config, verify_lock=False)


def outcomes(gateway: Gateway) -> dict[str, int]:
    found: dict[str, int] = {}
    for (_, _, outcome), number in gateway.mirrors.outcomes.items():
        found[outcome] = found.get(outcome, 0) + number
    return found


def verdicts(gateway: Gateway) -> dict[str, int]:
    found: dict[str, int] = {}
    for tried in gateway.mirrors.verdicts.tried.values():
        for verdict, number in tried.verdicts.items():
            found[verdict] = found.get(verdict, 0) + number
    return found


def settled(gateway: Gateway, number: int, seconds: float = 10) -> dict[str, int]:
    """Wait until so many mirrors have come to an end, and say how."""
    wait_until(lambda: sum(outcomes(gateway).values()) >= number, seconds)
    return outcomes(gateway)


def samples(gateway: Gateway) -> list[dict[str, Any]]:
    """Return what differed, after the server's end: by then it is in the store."""
    (found,) = asyncio.run(gateway.control.documents("diffs"))
    return list(found.values())


# -- what it is for -----------------------------------------------------------------------------


def pair() -> tuple[Flask, FastAPI]:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)

    @flask.get("/same")
    def same() -> Any:
        return {"items": [1, 2], "side": "any"}

    @flask.get("/other")
    def other() -> Any:
        return {"price": 1, "password": "hunter2-hunter2"}

    @native.get("/same")
    async def same_() -> Any:
        return {"side": "any", "items": [1, 2]}

    @native.get("/other")
    def other_() -> Any:
        return {"price": "1", "password": "another-one-here"}

    return flask, native


@pytest.mark.parametrize(("cutover", "side"), [("shadow", b"legacy"), ("live", b"native")])
def test_both_answers_are_compared(cutover: str, side: bytes) -> None:
    rules = [{"prefix": "/", "cutover": cutover, "auth": "none"}]
    gateway = made(*pair(), *rules, served_by=True)
    with serve(gateway) as url:
        for _ in range(3):
            assert httpx.get(f"{url}/same").headers["x-served-by"] == side.decode()
        assert httpx.get(f"{url}/other").json()["price"] in (1, "1")
        assert settled(gateway, 4) == {"compared": 4}
        assert httpx.head(f"{url}/same").headers["x-served-by"] == side.decode()
        settled(gateway, 5)
    assert verdicts(gateway) == {"equal": 4, "different": 1}
    (sample,) = samples(gateway)
    assert {each["path"] for each in sample["differences"]} == {"$.price", "$.password"}
    assert "hunter2" not in str(sample)
    assert "another-one" not in str(sample)


@pytest.mark.parametrize(
    ("length", "outcome"), [("0", "compared"), ("00", "compared"), ("1", "unread")]
)
def test_a_body_of_no_bytes_needs_no_reading(length: str, outcome: str) -> None:
    """A handler that reads no body has missed one only where there was one."""
    gateway = made(*pair(), {"path": "/same", "cutover": "live", "auth": "none"})
    with serve(gateway) as url:
        body = b"x" * int(length)
        request = httpx.Request("GET", f"{url}/same", headers={"Content-Length": length})
        request.stream = httpx.ByteStream(body)
        with httpx.Client() as client:
            assert client.send(request).status_code == 200
        assert settled(gateway, 1) == {outcome: 1}


def test_a_rule_says_what_counts() -> None:
    gateway = made(
        *pair(),
        shadow("/other", compare={"ignore": ["$.password"]}, expect=[
            {"path": "$.price", "legacy": {"type": "number"}, "native": {"type": "string"}},
        ]),
    )  # fmt: skip
    with serve(gateway) as url:
        httpx.get(f"{url}/other")
        settled(gateway, 1)
    assert verdicts(gateway) == {"expected": 1}


OPTED = {"on_mismatch": "native", "methods": ["GET"], "auth": "none"}


@pytest.mark.parametrize(("more", "mirrors"), [({}, 1), (OPTED, 2)])
def test_what_no_cutover_would_move_is_not_compared(more: dict[str, Any], mirrors: int) -> None:
    """What Flask's converter refuses stays its 404 after the move: native's 422 is no finding."""
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    flask.add_url_rule("/user/<int:number>", "user", lambda number: {"id": number})
    native.add_api_route("/user/{number}", lambda number: {"id": int(number)})
    gateway = made(flask, native, shadow("/user/<int:number>", **more))
    with serve(gateway) as url:
        for path in ("/user/abc", "/user/1"):
            httpx.get(f"{url}{path}")
        settled(gateway, mirrors)
    assert outcomes(gateway) == {"compared": mirrors}


def test_a_mirror_begins_with_the_state_that_its_request_began_with() -> None:
    """What the first side has put there would hide that the other one forgets to."""
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)

    @flask.get("/who")
    def who() -> Any:
        request_state()["who"] = "ann"
        return {"who": request_state()["who"]}

    @native.get("/who")
    async def who_() -> Any:
        before = dict(request_state())
        request_state()["native"] = True
        return {"who": before.get("who"), "twice": "native" in before}

    gateway = made(flask, native, shadow("/who", noise=100))
    with serve(gateway) as url:
        assert httpx.get(f"{url}/who").json() == {"who": "ann"}
        settled(gateway, 1)
    (sample,) = samples(gateway)
    found = {each["path"]: each["native"] for each in sample["differences"]}
    assert found == {"$.who": None, "$.twice": False}


@pytest.mark.parametrize("cutover", ["shadow", "live"])
def test_a_mirror_is_guarded_as_its_request_was(cutover: str) -> None:
    """What the guard does and leaves behind belongs to neither side."""
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    flask.add_url_rule("/who", "who", lambda: {"who": "ann"})

    @native.get("/who")
    async def who(request: Request) -> Any:
        request.state.greeted = True
        return {"who": request.state.principal.id}

    guards.FOUND.clear()
    gateway = made(
        flask, native,
        {"path": "/who", "methods": ["GET"], "cutover": cutover, "auth": "shared", "noise": 100,
         "side_effects": True},
        auth={"dependency": "tests.apps.guards:introspected", "id": "sub"},
    )  # fmt: skip
    with serve(gateway) as url:
        assert httpx.get(f"{url}/who").json() == {"who": "ann"}
        assert settled(gateway, 1) == {"compared": 1}
    assert [*guards.FOUND] == [set(), set(), set()]
    assert verdicts(gateway) == {"equal": 1}


def test_noise_is_learned_from_a_twin() -> None:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    ticks = iter(range(10**6))

    @flask.get("/n")
    def n() -> Any:
        return {"at": next(ticks), "total": 7}

    @native.get("/n")
    async def n_() -> Any:
        return {"at": next(ticks), "total": 7 if next(ticks) < 100 else 8}

    gateway = made(flask, native, shadow("/n", noise="100%"))
    with serve(gateway) as url:
        for number in range(10):
            httpx.get(f"{url}/n")
            settled(gateway, number + 1)
        assert verdicts(gateway) == {"noise": 10}
        while next(ticks) < 100:
            pass
        httpx.get(f"{url}/n")
        settled(gateway, 11)
        assert verdicts(gateway) == {"noise": 10, "different": 1}
    (noise,) = gateway.mirrors.verdicts.noise.values()
    assert [entry.path for entry in noise.listing(time.time())] == ["$.at"]


def test_a_sample_is_mirrored() -> None:
    gateway = made(
        *pair(), shadow("/same", sample=25), shadow("/other", sample=0), mirror={"in_flight": 500}
    )
    with serve(gateway) as url, httpx.Client() as client:
        for _ in range(400):
            client.get(f"{url}/same")
            client.get(f"{url}/other")
        wait_until(lambda: gateway.mirrors.in_flight == 0)
    assert 50 < outcomes(gateway)["compared"] < 150
    assert {label for _, label, _ in gateway.mirrors.outcomes} == {"/same"}


def drawn() -> None:
    """Draw no numbers of the apps' while mirroring; in a process of its own."""
    gateway = made(*pair(), shadow("/same", sample=50, noise=50), mirror={"in_flight": 50})
    with serve(gateway) as url, httpx.Client() as client:
        client.get(f"{url}/same")
        random.seed(7)
        before = random.getstate()
        for _ in range(10):
            client.get(f"{url}/same")
        wait_until(lambda: gateway.mirrors.in_flight == 0)
        assert random.getstate() == before


def test_sampling_takes_nothing_from_the_numbers_of_the_apps() -> None:
    """An app that seeds `random` draws the numbers that it would draw without a mirror.

    Spans of other tests would draw some: OpenTelemetry makes its ids of them.
    """
    code = "from tests.functional.test_mirror import drawn; drawn()"
    root = Path(__file__).parents[2]
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    environ = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=root, env=environ, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_a_preflight_is_not_mirrored_as_the_method_that_it_asks_for() -> None:
    gateway = made(*pair(), shadow("/same"))
    asks = {"Origin": "https://shop.test", "Access-Control-Request-Method": "GET"}
    with serve(gateway) as url:
        httpx.options(f"{url}/same", headers=asks)
        httpx.get(f"{url}/same")
        settled(gateway, 1)
    assert gateway.mirrors.outcomes == {("GET", "/same", "compared"): 1}
    assert verdicts(gateway) == {"equal": 1}


def test_a_canary_is_mirrored_where_it_says_so() -> None:
    rule = {
        "path": "/same",
        "cutover": "canary",
        "auth": "none",
        "weight": 50,
        "sticky": ["header:X-Me"],
    }
    for more, number in (({}, 0), ({"sample": 100}, 20)):
        gateway = made(*pair(), rule | more)
        with serve(gateway) as url:
            for who in range(20):
                httpx.get(f"{url}/same", headers={"X-Me": str(who)})
                settled(gateway, min(number, who + 1))
            assert sum(outcomes(gateway).values()) == number


# -- B11: what the other side may do ------------------------------------------------------------


def unruly() -> tuple[Flask, FastAPI]:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    names = ("sleeps", "sleeps-def", "raises", "breaks", "long", "exits", "cancels", "gives-up",
             "silent", "stream", "limits")  # fmt: skip
    for name in names:
        flask.add_url_rule(f"/{name}", name, lambda: {"from": "legacy", "é": list(range(50))})

    @native.get("/sleeps")
    async def sleeps() -> Any:
        await asyncio.sleep(30)

    @native.get("/sleeps-def")
    def sleeps_def() -> Any:
        time.sleep(4)

    @native.get("/raises")
    async def raises() -> Any:
        raise RuntimeError("password=hunter2-hunter2")

    @native.get("/breaks")
    async def breaks() -> Any:
        async def parts() -> Any:
            yield b"{"
            raise ConnectionResetError

        return StreamingResponse(parts(), media_type="application/json")

    @native.get("/long")
    async def long() -> Any:
        async def parts() -> Any:
            for _ in range(50):
                yield b"x" * 1_000_000

        return StreamingResponse(parts())

    @native.get("/exits")
    async def exits() -> Any:
        raise SystemExit(3)

    @native.get("/cancels")
    async def cancels() -> Any:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    @native.get("/gives-up")
    async def gives_up() -> Any:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()  # ends the next wait, whoever waits
        return "x" * 10_000

    class Silent(Response):
        async def __call__(self, *_: Any) -> None:
            """Answer nothing."""

    @native.get("/silent")
    async def says_nothing() -> Response:
        return Silent()

    @native.get("/stream")
    async def stream() -> Any:
        async def parts() -> Any:
            while True:
                yield b"data: 1\n\n"
                await asyncio.sleep(0.1)

        return StreamingResponse(parts(), media_type="text/event-stream")

    @native.get("/limits")
    async def limits(request: Request) -> Any:
        while not await request.is_disconnected():
            await asyncio.sleep(0.05)

    return flask, native


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("sleeps", "timeout"),
        ("sleeps-def", "timeout"),
        ("raises", "compared"),
        ("breaks", "compared"),
        ("long", "too_long"),
        ("exits", "compared"),
        ("cancels", "compared"),
        ("gives-up", "compared"),
        ("silent", "no_answer"),
        ("stream", "stream"),
        ("limits", "timeout"),
    ],
)
def test_whatever_the_mirrored_side_does_the_client_gets_its_answer(
    name: str, outcome: str
) -> None:
    bare, _ = unruly()
    wanted = bare.test_client().get(f"/{name}")
    gateway = made(*unruly(), shadow(f"/{name}"))
    with serve(gateway) as url, httpx.Client() as client:
        for _ in range(2):
            began = time.monotonic()
            answer = client.get(f"{url}/{name}")
            assert time.monotonic() - began < 1
            assert (answer.status_code, answer.content) == (200, wanted.data)
            assert dict(answer.headers).keys() >= {"content-type", "content-length"}
        assert settled(gateway, 2, 15) == {outcome: 2}
        assert client.get(f"{url}/{name}").status_code == 200
    if outcome == "compared":
        assert verdicts(gateway)["different"] >= 2
    assert "hunter2" not in str(samples(gateway))


# Older Starlette's middleware leaves a stream open where the handler raises.
@pytest.mark.filterwarnings("ignore:.*MemoryObjectReceiveStream")
@pytest.mark.parametrize("ended", [SystemExit, KeyboardInterrupt])
def test_a_mirrored_handler_below_middleware_ends_no_server(ended: type[BaseException]) -> None:
    """BaseHTTPMiddleware runs it in another task, from where these stop the event loop."""
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    flask.add_url_rule("/exits", "exits", lambda: "fine")

    @native.middleware("http")
    async def passing(request: Request, go_on: Any) -> Any:
        return await go_on(request)

    @native.get("/exits")
    def exits() -> None:
        raise ended

    gateway = made(flask, native, shadow("/exits"))
    with serve(gateway) as url:
        for number in range(3):
            assert httpx.get(f"{url}/exits").text == "fine"
            assert settled(gateway, number + 1) == {"compared": number + 1}
    (sample,) = samples(gateway)
    assert ended.__name__ in sample["native"]["error"]
    gc.collect()  # what is left open is found here, and not in the middle of another test


def test_no_more_than_so_many_at_a_time() -> None:
    gateway = made(*unruly(), shadow("/sleeps"))
    with serve(gateway) as url, httpx.Client() as client:
        for _ in range(50):
            assert client.get(f"{url}/sleeps").status_code == 200
        assert gateway.mirrors.in_flight == 4
        assert outcomes(gateway) == {"busy": 46}
        assert settled(gateway, 50) == {"busy": 46, "timeout": 4}


def test_mirrors_begin_anew_with_every_start_of_the_server() -> None:
    flask, native = unruly()

    @native.get("/threads")
    async def threads() -> float:
        return anyio.to_thread.current_default_thread_limiter().total_tokens

    gateway = made(flask, native, shadow("/cancels"), shadow("/sleeps"))
    for number in range(3):
        with serve(gateway) as url, httpx.Client() as client:
            client.get(f"{url}/cancels")
            assert settled(gateway, number + 1) == {"compared": number + 1}
            assert client.get(f"{url}/threads").json() == 44, "as many as ever, and one a mirror"
            client.get(f"{url}/sleeps")
            assert gateway.mirrors.in_flight == 1
        assert gateway.mirrors.in_flight == 0


def test_a_mirror_that_has_not_begun_ends_with_the_server() -> None:
    gateway = made(*pair(), shadow("/same"))

    async def served() -> int:
        came: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        up = asyncio.Event()

        async def send(_: Any) -> None:
            up.set()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        scope = {
            "type": "http", "method": "GET", "path": "/same", "raw_path": b"/same",
            "query_string": b"", "root_path": "", "headers": [], "http_version": "1.1",
            "scheme": "http", "server": ("test", 80), "client": ("test", 1),
        }  # fmt: skip
        lifespan = asyncio.create_task(gateway({"type": "lifespan", "state": {}}, came.get, send))
        came.put_nowait({"type": "lifespan.startup"})
        await up.wait()
        await gateway(scope, receive, send)
        began = gateway.mirrors.in_flight
        await gateway.mirrors.stop()  # the loop has not run since
        came.put_nowait({"type": "lifespan.shutdown"})
        await lifespan
        return began

    assert asyncio.run(served()) == 1
    assert gateway.mirrors.in_flight == 0


def test_a_handler_that_never_answers_is_mirrored_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gateway = made(*unruly(), shadow("/sleeps"), mirror={"timeout": 0.2, "in_flight": 4})
    with serve(gateway) as url, httpx.Client() as client:
        for number in range(6):
            client.get(f"{url}/sleeps")
            settled(gateway, number + 1)
        assert outcomes(gateway) == {"timeout": 5, "suspended": 1}
    assert "sleeps has not answered within 0.2 s, again and again" in caplog.text


@pytest.mark.parametrize("hooks", [False, True])
def test_one_wrong_status_does_not_hide_another(hooks: bool) -> None:
    """The last one seen would be taken for all there is; what was raised is named with it."""
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    if hooks:
        flask.before_request(lambda: None)

    @flask.get("/n/<int:n>")
    def number_(n: int) -> Any:
        return ({}, 404) if n == 1 else {}

    @flask.get("/both")
    def both_() -> Any:
        raise KeyError

    @native.get("/n/{n}")
    async def number(n: int) -> Any:
        return Response(status_code=410) if n == 1 else {"n": 1 / n}

    @native.get("/both")
    async def both() -> Any:
        raise KeyError

    gateway = made(flask, native, shadow("/n/<int:n>"), shadow("/both"))
    with serve(gateway) as url:
        for path in ("n/1", "n/0", "both"):
            httpx.get(f"{url}/{path}")
        found = settled(gateway, 3)
    assert found == {"compared": 3}
    told = {(each["path"], each["native"]["status"]): each for each in samples(gateway)}
    assert set(told) - {("/both", 500)} == {("/n/1", 410), ("/n/0", 500)}
    assert "ZeroDivisionError" in told["/n/0", 500]["native"]["error"]
    of_both = told.get(("/both", 500), {"differences": []})
    assert "status" not in {each["field"] for each in of_both["differences"]}


def test_a_timeout_of_the_handlers_own_is_an_error_like_any_other() -> None:
    flask, native = pair()
    flask.add_url_rule("/late", "late", lambda: "fine")

    @native.get("/late")
    async def late() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(5)

    gateway = made(flask, native, shadow("/late"))
    with serve(gateway) as url:
        httpx.get(f"{url}/late")
        assert settled(gateway, 1) == {"compared": 1}
    (sample,) = samples(gateway)
    assert sample["native"]["error"].rstrip().endswith("TimeoutError")


def test_one_traceback_is_written_for_many_that_are_alike() -> None:
    """Writing one takes longer than most requests, and every one keeps the loop from clients."""
    flask, native = pair()
    flask.add_url_rule("/raises", "raises", lambda: "fine")
    told: list[int] = []

    class NoError(Exception):
        def __str__(self) -> str:
            told.append(1)
            return "no"

    @native.get("/raises")
    async def raises() -> None:
        raise NoError

    gateway = made(flask, native, shadow("/raises"), mirror={"in_flight": 50})
    with serve(gateway) as url, httpx.Client() as client:
        for _ in range(50):
            client.get(f"{url}/raises")
        assert settled(gateway, 50) == {"compared": 50}
    assert verdicts(gateway) == {"different": 50}
    assert 1 <= len(told) <= 6
    (sample,) = samples(gateway)
    assert "NoError: no" in sample["native"]["error"]


def test_what_raises_for_the_client_is_compared_too() -> None:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    flask.add_url_rule("/raises", "raises", lambda: "fine")

    @native.get("/raises")
    async def raises() -> None:
        raise RuntimeError

    gateway = made(flask, native, {"path": "/raises", "cutover": "live", "auth": "none"})
    with serve(gateway) as url:
        assert httpx.get(f"{url}/raises").status_code == 500
        assert settled(gateway, 1) == {"compared": 1}
    assert verdicts(gateway) == {"different": 1}
    (sample,) = samples(gateway)
    assert "RuntimeError" in sample["native"]["error"]


class Held:
    """What a handler may hold: a database session, an uploaded file."""


def holding(held: weakref.WeakSet[Held]) -> tuple[Flask, FastAPI]:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    for name in ("raises", "fails", "sleeps", "cancels"):
        flask.add_url_rule(f"/{name}", name, lambda: "fine")

    @native.get("/raises")
    async def raises() -> None:
        mine = Held()
        held.add(mine)
        raise ValueError

    @native.get("/fails")
    async def fails() -> None:
        mine = Held()
        held.add(mine)
        loop = asyncio.get_running_loop()
        reply = loop.create_future()
        loop.call_soon(reply.set_exception, ConnectionResetError())
        try:
            await reply
        finally:
            del reply

    @native.get("/sleeps")
    async def sleeps() -> None:
        mine = Held()
        held.add(mine)
        await asyncio.sleep(30)

    @native.get("/cancels")
    async def cancels() -> None:
        mine = Held()
        held.add(mine)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    return flask, native


@pytest.mark.parametrize(
    ("name", "cutover", "headers", "outcome"),
    [
        ("raises", "shadow", {}, "compared"),
        ("fails", "shadow", {}, "compared"),
        ("sleeps", "shadow", {}, "timeout"),
        ("cancels", "shadow", {}, "compared"),
        ("raises", "live", {}, "compared"),
        ("raises", "live", {"Upgrade": "h2c"}, "upgrade"),
    ],
)
def test_what_a_handler_held_is_let_go_with_the_end_of_its_mirror(
    name: str,
    cutover: str,
    headers: dict[str, str],
    outcome: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An exception leads to all frames that it went through; the collector may take minutes."""
    caplog.set_level(logging.CRITICAL + 1, "uvicorn.error")  # pytest would hold it with the record
    held: weakref.WeakSet[Held] = weakref.WeakSet()
    rule = {"path": f"/{name}", "cutover": cutover, "auth": "none"}
    gateway = made(*holding(held), rule, mirror={"timeout": 0.2, "in_flight": 4})
    with serve(gateway) as url:
        gc.collect()
        gc.disable()
        try:
            httpx.get(f"{url}/{name}", headers=headers)
            assert settled(gateway, 1) == {outcome: 1}
            wait_until(lambda: not held, 2)
        finally:
            gc.enable()


def test_what_cannot_be_decoded_is_not_compared() -> None:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    flask.add_url_rule("/br", "br", lambda: (b"one", {"Content-Encoding": "br"}))
    native.add_api_route("/br", lambda: PlainTextResponse("two"))
    gateway = made(flask, native, shadow("/br"))
    with serve(gateway) as url, httpx.stream("GET", f"{url}/br") as answer:
        assert b"".join(answer.iter_raw()) == b"one"
        assert settled(gateway, 1) == {"encoded": 1}


@pytest.mark.parametrize("cutover", ["shadow", "live"])
def test_a_mirror_that_becomes_another_request_ends_there(cutover: str) -> None:
    """Method override inside Flask: the client's GET deletes once, and no mirror deletes again."""
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    done: list[str] = []

    def overriding(environ: Any, start_response: Any, app: Any = flask.wsgi_app) -> Any:
        environ["REQUEST_METHOD"] = environ.get("HTTP_X_METHOD", environ["REQUEST_METHOD"])
        return app(environ, start_response)

    flask.wsgi_app = overriding  # type: ignore[method-assign]
    flask.add_url_rule("/i", "get", lambda: "got")

    @flask.delete("/i")
    def delete() -> str:
        done.append("x")
        return "gone"

    native.add_api_route("/i", lambda: "got")
    rule = {"path": "/i", "methods": ["GET"], "cutover": cutover, "auth": "none", "noise": 100}
    gateway = made(flask, native, rule)
    with serve(gateway) as url:
        answer = httpx.get(f"{url}/i", headers={"X-Method": "DELETE"})
        assert answer.text == "gone"
        assert settled(gateway, 1) == {"strayed": 1}
    assert done == ["x"]


@pytest.mark.parametrize("hooks", ["inherit", "skip"])
def test_a_mirror_that_asks_for_legacy_proves_nothing(hooks: str) -> None:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    asked: list[bool] = []
    flask.before_request(lambda: None)

    @flask.get("/a")
    def a() -> str:
        asked.append(is_mirror())
        return "legacy"

    @native.get("/a")
    async def a_() -> None:
        raise UseLegacy

    gateway = made(flask, native, shadow("/a", hooks=hooks))
    with serve(gateway) as url:
        assert httpx.get(f"{url}/a").text == "legacy"
        found = settled(gateway, 1)
    assert found.keys() <= {"use_legacy", "strayed"}
    assert asked == [False]


def test_the_gateways_own_cookie_is_no_difference() -> None:
    rule = {"path": "/same", "cutover": "canary", "auth": "none", "weight": 50, "sample": 100}
    gateway = made(*pair(), rule)
    with serve(gateway) as url:
        for number in range(10):
            assert "gw_id" in httpx.get(f"{url}/same").headers["set-cookie"]
            settled(gateway, number + 1)
    assert verdicts(gateway) == {"equal": 10}


@pytest.mark.parametrize("middleware", [False, True])
def test_a_handler_that_blocks_the_loop_is_caught_at_its_first_block(
    middleware: bool, caplog: pytest.LogCaptureFixture
) -> None:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    flask.add_url_rule("/blocks", "blocks", lambda: "legacy")

    @native.get("/blocks")
    async def blocks() -> str:
        time.sleep(0.6)
        return "legacy"

    if middleware:

        @native.middleware("http")
        async def nothing(request: Request, call_next: Any) -> Any:
            return await call_next(request)

    gateway = made(flask, native, shadow("/blocks"))
    with serve(gateway) as url, httpx.Client() as client, caplog.at_level(logging.ERROR):
        client.get(f"{url}/blocks")
        wait_until(lambda: gateway.mirrors.suspended)
        for _ in range(20):
            began = time.monotonic()
            assert client.get(f"{url}/blocks").text == "legacy"
        assert time.monotonic() - began < 0.3
        assert outcomes(gateway)["suspended"] >= 19
    (name,) = gateway.mirrors.suspended.values()
    assert name.endswith("blocks")
    assert "is mirrored no more" in caplog.text


def test_a_handler_that_blocks_for_its_own_client_is_mirrored_on() -> None:
    """In `live` it is legacy that is mirrored, and nothing of it runs on the loop."""
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)

    @flask.get("/blocks")
    def slow() -> str:
        time.sleep(1)
        return "answer"

    @native.get("/blocks")
    async def blocks() -> str:
        time.sleep(0.6)
        return "answer"

    gateway = made(flask, native, {"path": "/blocks", "cutover": "live", "auth": "none"})
    with serve(gateway) as url:
        for _ in range(2):
            httpx.get(f"{url}/blocks")
        assert settled(gateway, 2) == {"compared": 2}
        assert gateway.mirrors.suspended == {}


def test_a_client_that_leaves_takes_no_mirror_along() -> None:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    flask.add_url_rule("/slow", "slow", lambda: "answer")
    seen: list[bool] = []

    @native.get("/slow")
    async def slow(request: Request) -> str:
        await asyncio.sleep(0.5)
        seen.append(await request.is_disconnected())
        return "answer"

    gateway = made(flask, native, shadow("/slow"))
    with serve(gateway) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert settled(gateway, 1) == {"compared": 1}
    assert seen == [False]


def test_a_stream_of_events_is_not_mirrored() -> None:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)

    @flask.get("/events")
    def events() -> Any:
        return (b"data: 1\n\n" for _ in range(3)), {"Content-Type": "text/event-stream"}

    asked: list[int] = []
    native.add_api_route("/events", lambda: asked.append(1))
    gateway = made(flask, native, shadow("/events"))
    with serve(gateway) as url:
        assert httpx.get(f"{url}/events").text.count("data") == 3
        assert settled(gateway, 1) == {"stream": 1}
    assert asked == []


# -- what must not last -------------------------------------------------------------------------


def test_hooks_run_and_nothing_of_them_lasts(tmp_path: Path) -> None:
    """A session on the server isn't saved, a limit isn't used up, and both sides can tell."""
    limiting = pytest.importorskip("flask_limiter")
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    flask.config.update(
        SESSION_TYPE="cachelib", SESSION_CACHELIB=FileSystemCache(str(tmp_path / "s"), mode=0o600)
    )
    Session(flask)
    limiting.Limiter(
        lambda: "everybody", app=flask, default_limits=["6 per hour"], storage_uri="memory://"
    )
    seen: list[tuple[str, bool, bool]] = []

    @flask.before_request
    def before() -> None:
        g.user = "ann"
        request_state()["seen"] = True
        mirrored = request.environ.get("gateway.mirror", False)
        seen.append(("hook", is_mirror(), mirrored))

    @flask.get("/visits")
    def visits() -> Any:
        session["visits"] = session.get("visits", 0) + 1
        return {"visits": session["visits"]}

    @native.get("/visits")
    def visits_() -> Any:
        seen.append(("native", is_mirror(), g.user == "ann"))
        session["visits"] = session.get("visits", 0) + 1
        return {"visits": session["visits"] - 1}

    gateway = made(flask, native, shadow("/visits", auth="none"))
    with serve(gateway) as url, httpx.Client() as client:
        for number in range(1, 6):
            assert client.get(f"{url}/visits").json() == {"visits": number}
            settled(gateway, number)
        assert not is_mirror()
        # What the mirror reads is what the view has saved: one more than before, and minus one.
        # Only the first request brought no cookie, so that its mirror found no session.
        assert verdicts(gateway) == {"different": 1, "equal": 4}
        assert client.get(f"{url}/visits").status_code == 200, "no mirror has used up the limit"
        assert client.get(f"{url}/visits").status_code == 429
    assert seen[:3] == [("hook", False, False), ("hook", True, True), ("native", True, True)]


def test_side_effects_are_compared(tmp_path: Path) -> None:
    """The same answer, and another row, another call, another signal."""
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE seen (who TEXT, at TEXT)"))
    paid, forgotten = Namespace().signal("paid"), Namespace().signal("forgotten")
    called: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            called.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be silent."""

    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{other.server_port}"

        @flask.get("/a")
        def a() -> str:
            with engine.begin() as connection:
                connection.execute(text("INSERT INTO seen (who) VALUES ('x')"))
            paid.send(flask)
            forgotten.send(flask)
            httpx.post(f"{address}/told?secret=1")
            return "done"

        @native.get("/a")
        def a_() -> Any:
            with engine.begin() as connection:
                connection.execute(text("INSERT INTO seen (who, at) VALUES ('x', 'now')"))
            paid.send(native)
            urllib.request.urlopen(f"{address}/told?secret=2", data=b"").close()
            urllib.request.urlopen(f"{address}/once-more", data=b"").close()
            return PlainTextResponse("done", media_type="text/html")

        try:
            for more in ({}, {"side_effects": True}):
                gateway = made(flask, native, shadow("/a", **more))
                with serve(gateway) as url:
                    assert httpx.get(f"{url}/a").text == "done"
                    settled(gateway, 1)
                if not more:
                    assert verdicts(gateway) == {"equal": 1}
                    continue
                assert verdicts(gateway) == {"different": 1}
                (sample,) = samples(gateway)
                apart = {(e["path"], e["legacy"], e["native"]) for e in sample["differences"]}
                assert apart == {
                    ("effects.sql", "INSERT seen (who)", None),
                    ("effects.sql", None, "INSERT seen (at, who)"),
                    ("effects.signals", "forgotten", None),
                    ("effects.http", None, f"POST {address}/once-more"),
                }
        finally:
            other.shutdown()
            thread.join()
    engine.dispose()
    assert len(called) == 6


# -- B12: requests that write --------------------------------------------------------------------


def writing() -> tuple[Flask, FastAPI, list[str]]:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    done: list[str] = []

    @flask.post("/pay")
    def pay() -> Any:
        done.append(f"legacy {request.get_json()['sum']}")
        return {"paid": request.get_json()["sum"]}

    @native.post("/pay")
    async def pay_(request: Request) -> Any:
        body = await request.json()
        done.append(f"native {body['sum']}")
        return {"paid": body["sum"]}

    return flask, native, done


@pytest.mark.parametrize(("cutover", "side"), [("shadow", "legacy"), ("live", "native")])
def test_a_request_that_writes_is_not_mirrored(
    cutover: str, side: str, caplog: pytest.LogCaptureFixture
) -> None:
    flask, native, done = writing()
    gateway = made(flask, native, {"path": "/pay", "cutover": cutover, "auth": "none"})
    assert any(each.code == "writes-not-mirrored" for each in gateway.snapshots.current.warnings)
    with serve(gateway) as url:
        for number in range(3):
            assert httpx.post(f"{url}/pay", json={"sum": number}).json() == {"paid": number}
        time.sleep(0.3)
    assert done == [f"{side} {number}" for number in range(3)]
    assert outcomes(gateway) == {}


class Bank:
    """A real database file; `current` is the connection that the running code shall use."""

    def __init__(self, path: Path, *, honest: bool = True) -> None:
        self.path, self.honest = path, honest
        with contextlib.closing(self.connect()) as connection:
            connection.execute("CREATE TABLE payments (who TEXT, sum INTEGER)")
        self.current: ContextVar[sqlite3.Connection] = ContextVar("bank")

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)

    def pay(self, who: str, amount: int) -> int:
        """Write, and tell the sum of all payments as the writer sees it."""
        connection = self.current.get(None)
        if connection is not None:
            return self._pay(connection, who, amount)
        with contextlib.closing(self.connect()) as own:
            return self._pay(own, who, amount)

    def _pay(self, connection: sqlite3.Connection, who: str, amount: int) -> int:
        connection.execute("INSERT INTO payments VALUES (?, ?)", (who, amount))
        return int(connection.execute("SELECT count(*) FROM payments").fetchone()[0])

    @contextlib.contextmanager
    def rolled_back(self) -> Iterator[None]:
        connection = self.connect()
        # Without BEGIN each statement is a transaction of its own: the rollback then undoes none.
        if self.honest:
            connection.execute("BEGIN")
        token = self.current.set(connection)
        try:
            yield
        finally:
            self.current.reset(token)
            connection.rollback()
            connection.close()

    def probe(self) -> Iterator[bool | None]:
        self.pay("probe", 0)
        yield None
        with contextlib.closing(self.connect()) as other:
            found = other.execute("SELECT count(*) FROM payments WHERE who = 'probe'").fetchone()
        yield bool(found[0])

    def rows(self) -> list[tuple[str, int]]:
        with contextlib.closing(self.connect()) as connection:
            return connection.execute("SELECT who, sum FROM payments").fetchall()


def banking(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> tuple[Flask, FastAPI]:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)

    @flask.post("/pay")
    def pay() -> Any:
        return {"payments": bank.pay("legacy", request.get_json()["sum"])}

    @native.post("/pay")
    def pay_(body: dict[str, int]) -> Any:
        return {"payments": bank.pay("native", body["sum"]) - 1}

    monkeypatch.setattr("tests.functional.test_mirror.BANK", bank, raising=False)
    return flask, native


def rolled_back() -> Any:
    return BANK.rolled_back()  # type: ignore[name-defined]  # noqa: F821


def probe() -> Any:
    return BANK.probe()  # type: ignore[name-defined]  # noqa: F821


WRITES = {
    "rollback": "tests.functional.test_mirror:rolled_back",
    "probe": "tests.functional.test_mirror:probe",
}


@pytest.mark.parametrize("cutover", ["shadow", "live"])
def test_a_write_is_mirrored_where_it_can_be_undone(
    cutover: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = Bank(tmp_path / "bank.db")
    flask, native = banking(bank, monkeypatch)
    gateway = made(
        flask, native, {"path": "/pay", "cutover": cutover, "auth": "none", "writes": WRITES}
    )
    side = "legacy" if cutover == "shadow" else "native"
    with serve(gateway) as url:
        assert bank.rows() == [], "the probe has left nothing"
        for number in range(1, 4):
            httpx.post(f"{url}/pay", json={"sum": number})
            settled(gateway, number)
    assert bank.rows() == [(side, number) for number in (1, 2, 3)]
    assert verdicts(gateway) == ({"equal": 3} if cutover == "shadow" else {"different": 3})


def test_an_undo_waits_for_a_handler_that_takes_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread of a `def` handler can't be stopped: after the end it would write for good."""
    bank = Bank(tmp_path / "bank.db")
    flask, native = banking(bank, monkeypatch)

    @native.post("/slow")
    def slow(body: dict[str, int]) -> Any:
        time.sleep(0.8)
        return {"payments": bank.pay("native", body["sum"]) - 1}

    flask.add_url_rule("/slow", "slow", flask.view_functions["pay"], methods=["POST"])
    gateway = made(
        flask, native, shadow("/slow", writes=WRITES), mirror={"timeout": 0.3, "in_flight": 4}
    )
    with serve(gateway) as url:
        httpx.post(f"{url}/slow", json={"sum": 1})
        assert settled(gateway, 1) == {"compared": 1}
    assert bank.rows() == [("legacy", 1)]


BROKEN = threading.Event()


@contextlib.contextmanager
def undoing() -> Iterator[None]:
    if BROKEN.is_set():
        raise ConnectionError("no database")
    yield


def test_an_undo_that_cannot_begin_is_not_what_native_has_answered() -> None:
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    flask.add_url_rule("/w", "w", lambda: {"a": 1}, methods=["POST"])
    native.add_api_route("/w", lambda: {"a": 1}, methods=["POST"])
    here = "tests.functional.test_mirror"
    writes = {"rollback": f"{here}:undoing", "probe": f"{here}:nothing_written"}
    gateway = made(flask, native, shadow("/w", methods=["POST"], auth="none", writes=writes))
    BROKEN.clear()
    with serve(gateway) as url:
        httpx.post(f"{url}/w")
        assert settled(gateway, 1) == {"compared": 1}
        BROKEN.set()
        httpx.post(f"{url}/w")
        assert settled(gateway, 2) == {"compared": 1, "unready": 1}
    assert verdicts(gateway) == {"equal": 1}


def nothing_to_undo() -> Any:
    return contextlib.nullcontext()


def nothing_written() -> Iterator[bool | None]:
    yield None
    yield False


def test_a_mirror_passes_csrf_protection_and_takes_no_token() -> None:
    """Both sides check the one token; who has none is refused by both."""
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    flask.config.update(SECRET_KEY="x", WTF_CSRF_TIME_LIMIT=None)
    CSRFProtect(flask)
    flask.add_url_rule("/token", "token", generate_csrf)
    flask.add_url_rule("/pay", "pay", lambda: {"paid": 1}, methods=["POST"])
    native.add_api_route("/pay", lambda: {"paid": 1}, methods=["POST"])
    here = "tests.functional.test_mirror"
    writes = {"rollback": f"{here}:nothing_to_undo", "probe": f"{here}:nothing_written"}
    gateway = made(flask, native, shadow("/pay", writes=writes))
    with serve(gateway) as url, httpx.Client() as client:
        token = client.get(f"{url}/token").text
        for number in (1, 2):
            answer = client.post(f"{url}/pay", headers={"X-CSRFToken": token})
            assert answer.json() == {"paid": 1}
            assert settled(gateway, number) == {"compared": number}
        assert client.post(f"{url}/pay").status_code == 400
        settled(gateway, 3)
    assert verdicts(gateway) == {"equal": 3}


def test_an_undo_that_does_not_undo_refuses_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Default pysqlite commits by itself: nobody would notice until rows are there twice."""
    bank = Bank(tmp_path / "bank.db", honest=False)
    gateway = made(*banking(bank, monkeypatch), shadow("/pay", writes=WRITES))

    async def start() -> dict[str, Any]:
        said: asyncio.Queue[Any] = asyncio.Queue()
        asked = asyncio.create_task(
            gateway({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}},
                    lambda: asyncio.sleep(0, {"type": "lifespan.startup"}), said.put)
        )  # fmt: skip
        found: dict[str, Any] = await said.get()
        with pytest.raises(ConfigError, match="writes-last"):
            await asked
        return found

    found = asyncio.run(start())
    assert found["type"] == "lifespan.startup.failed"
    assert "what the probe wrote was still there" in found["message"]
    assert "mend the rollback, or leave out writes" in found["message"]


def no_rollback() -> Any:
    return contextlib.nullcontext()


def raising_probe() -> Iterator[str]:
    yield from request.args  # there is no request


def test_a_probe_that_fails_says_what_to_do() -> None:
    flask, native, _ = writing()
    here = "tests.functional.test_mirror"
    writes = {"rollback": f"{here}:no_rollback", "probe": f"{here}:raising_probe"}
    gateway = made(flask, native, shadow("/pay", writes=writes))
    with pytest.raises(ConfigError) as wrong:
        asyncio.run(gateway.control.start())
    (problem,) = wrong.value.problems
    assert problem.what.startswith("the probe failed: RuntimeError: Working outside of request")
    assert "\n" not in problem.what
    assert problem.next.startswith("mend it: rollback and probe run outside of any request")


def test_an_undo_that_is_not_there_is_a_problem_of_the_config() -> None:
    flask, native, _ = writing()
    with pytest.raises(ConfigError) as wrong:
        made(flask, native, shadow("/pay", writes={"rollback": "no.such:thing", "probe": "x:y"}))
    assert "routes[0].writes" in str(wrong.value)


def test_clients_are_served_on_while_mirrored_handlers_sleep() -> None:
    """Forty threads for `def` handlers, as many clients, and mirrors that hold four more."""
    flask, native = Flask("legacy"), FastAPI(openapi_url=None)
    flask.add_url_rule("/mirrored", "mirrored", lambda: "x")
    native.add_api_route("/mirrored", lambda: time.sleep(3))
    native.add_api_route("/own", lambda: time.sleep(0.2))
    gateway = made(flask, native, shadow("/mirrored"))
    with serve(gateway) as url:
        host = url.removeprefix("http://")
        for _ in range(4):
            httpx.get(f"{url}/mirrored")
        took: list[float] = []

        def ask() -> None:
            began = time.monotonic()
            with contextlib.closing(http.client.HTTPConnection(host)) as connection:
                connection.request("GET", "/own")
                connection.getresponse().read()
            took.append(time.monotonic() - began)

        threads = [threading.Thread(target=ask) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(took) == 40
    assert max(took) < 2
