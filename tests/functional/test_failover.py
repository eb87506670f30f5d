"""Failover, UseLegacy and the circuit breaker over real sockets (B10)."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from flask import Flask, g, request
from pydantic import BaseModel

from gateway import Exchange, Gateway, UseLegacy
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

pytestmark = pytest.mark.network

HOOKS = ("skip", "inherit")


class Total(BaseModel):
    total: int


class Shop:
    """Both apps, and what happened to them."""

    def __init__(self, database: Path | None = None) -> None:
        self.flask, self.native = Flask("legacy"), FastAPI()
        self.log: list[str] = []
        self.database = database
        self.fail = threading.Event()

        @self.flask.before_request
        def before() -> None:
            self.log.append("before")
            g.seen = "g"

        @self.flask.teardown_request
        def teardown(_: BaseException | None) -> None:
            self.log.append("teardown")

        paths = (
            "raises",
            "answers-500",
            "hangs",
            "hangs-def",
            "breaks-late",
            "asks",
            "asks-def",
            "good",
            "flaky",
        )
        for name in paths:
            self.flask.add_url_rule(f"/{name}", name, self.view, methods=["GET", "POST", "PUT"])
        self.flask.add_url_rule("/pay", "pay", self.pay, methods=["POST"])
        self.add_native()

    def view(self) -> Any:
        self.log.append("view")
        return f"legacy {g.seen} {len(request.get_data())} {request.get_data()[:9].decode()}"

    def pay(self) -> str:
        self.commit("legacy")
        return "paid by legacy"

    def commit(self, side: str) -> None:
        assert self.database is not None
        with contextlib.closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS payments (side TEXT)")
            connection.execute("INSERT INTO payments VALUES (?)", (side,))

    def payments(self) -> list[str]:
        assert self.database is not None
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            return [row[0] for row in connection.execute("SELECT side FROM payments")]

    def add_native(self) -> None:
        native = self.native
        methods = ["GET", "POST", "PUT"]

        @native.api_route("/raises", methods=methods)
        async def raises(request: Request) -> None:
            await request.body()
            self.log.append("native")
            raise ZeroDivisionError

        @native.api_route("/answers-500", methods=methods)
        async def answers(request: Request) -> JSONResponse:
            await request.body()
            self.log.append("native")
            return JSONResponse({"wrong": "x" * 1000}, 503)

        @native.api_route("/hangs", methods=methods)
        async def hangs() -> None:
            self.log.append("native")
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                self.log.append("cancelled")
                raise

        @native.api_route("/hangs-def", methods=methods)
        def hangs_def() -> str:
            time.sleep(1.5)
            self.log.append("native done")
            return "native"

        @native.api_route("/breaks-late", methods=methods)
        async def breaks_late() -> StreamingResponse:
            async def parts() -> AsyncIterator[bytes]:
                yield b"first"
                raise ZeroDivisionError

            return StreamingResponse(parts())

        @native.api_route("/asks", methods=methods)
        async def asks(request: Request) -> None:
            body = await request.body()
            self.log.append(f"native {len(body)}")
            try:
                raise UseLegacy  # noqa: TRY301 - as handlers do
            except Exception:
                self.log.append("swallowed")

        @native.api_route("/asks-def", methods=methods)
        def asks_def() -> None:
            raise UseLegacy

        @native.api_route("/only-native", methods=["GET"])
        async def only_native() -> None:
            raise UseLegacy

        @native.api_route("/good", methods=methods)
        async def good() -> str:
            return "native"

        @native.api_route("/flaky", methods=methods)
        async def flaky() -> str:
            self.log.append("native")
            if self.fail.is_set():
                raise ZeroDivisionError
            return "native"

        @native.post("/pay", response_model=Total)
        def pay() -> Any:
            self.commit("native")
            return {"total": "not a number"}


@contextlib.contextmanager
def running(
    shop: Shop, hooks: str, *, failover: Any = None, seen: list[Exchange] | None = None, **rule: Any
) -> Iterator[httpx.Client]:
    rule = {"prefix": "/", "cutover": "native", "hooks": hooks, "auth": "none", **rule}
    if failover is not None:
        rule["failover"] = failover
    observers = [seen.append] if seen is not None else []
    app = Gateway(
        shop.flask,
        shop.native,
        {"version": 1, "served_by": True, "routes": [rule], "legacy": {"spool_memory": 1000}},
        verify_lock=False,
        observers=observers,
    )
    with serve(app) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client


@pytest.mark.parametrize("hooks", HOOKS)
@pytest.mark.parametrize("path", ["/raises", "/answers-500"])
def test_legacy_answers_for_native_before_the_first_byte(hooks: str, path: str) -> None:
    shop, seen = Shop(), list[Exchange]()
    with running(shop, hooks, failover=True, seen=seen) as client:
        answer = client.get(path)
        assert (answer.status_code, answer.text) == (200, "legacy g 0 ")
        assert answer.headers["x-served-by"] == "legacy"
        assert client.head(path).status_code == 200
    assert [each.decision.reason.value for each in seen] == ["failover"] * 2
    assert shop.log.count("before") == shop.log.count("teardown") == 2, "Flask's hooks ran once"
    assert shop.log.count("native") == shop.log.count("view") == 2


@pytest.mark.parametrize("hooks", HOOKS)
def test_without_failover_the_error_is_the_answer(hooks: str) -> None:
    shop = Shop()
    with running(shop, hooks) as client:
        assert client.get("/answers-500").status_code == 503
        assert client.get("/raises").status_code == 500
    assert "view" not in shop.log


@pytest.mark.parametrize("hooks", HOOKS)
def test_a_timeout_fails_over(hooks: str) -> None:
    shop = Shop()
    with running(shop, hooks, failover={"timeout": "300ms"}) as client:
        started = time.monotonic()
        assert client.get("/hangs").text.startswith("legacy")
        assert time.monotonic() - started < 1.2
        assert client.get("/good").text == '"native"'
        if hooks == "skip":
            started = time.monotonic()
            assert client.get("/hangs-def").text.startswith("legacy")
            assert time.monotonic() - started < 1.2, "nobody waits for the thread"
    assert "cancelled" in shop.log


@pytest.mark.parametrize("hooks", HOOKS)
def test_never_after_the_first_byte(hooks: str) -> None:
    shop = Shop()
    with (
        running(shop, hooks, failover=True) as client,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        client.get("/breaks-late")
    assert "view" not in shop.log


@pytest.mark.parametrize("hooks", HOOKS)
@pytest.mark.parametrize("failover", [True, {"timeout": "200ms"}])
def test_a_post_that_committed_and_then_failed_is_never_replayed(
    tmp_path: Path, hooks: str, failover: Any
) -> None:
    """It would charge twice. Its error is served, once."""
    shop = Shop(tmp_path / "payments.db")
    with running(shop, hooks, failover=failover) as client:
        assert client.post("/pay").status_code == 500
    assert shop.payments() == ["native"]


@pytest.mark.parametrize("hooks", HOOKS)
def test_unsafe_methods_fail_over_where_the_rule_says_that_nothing_has_happened(hooks: str) -> None:
    shop = Shop()
    failover = {"unsafe": True, "timeout": "200ms"}
    with running(shop, hooks, failover=failover) as client:
        assert client.post("/raises", content=b"the body").text == "legacy g 8 the body"
        assert client.post("/raises", content=b"b" * 300_000).text == "legacy g 300000 bbbbbbbbb"
        assert client.post("/hangs-def").text == '"native"', "a timeout is for GET and HEAD"


@pytest.mark.parametrize("hooks", HOOKS)
@pytest.mark.parametrize("failover", [None, True])
@pytest.mark.parametrize("size", [0, 8, 1_000, 1_001, 3_000_000])
def test_use_legacy_hands_over_any_method_with_the_same_body(
    hooks: str, failover: Any, size: int
) -> None:
    shop, seen = Shop(), list[Exchange]()
    with running(shop, hooks, failover=failover, seen=seen) as client:
        for method in ("POST", "PUT"):
            answer = client.request(method, "/asks", content=b"b" * size)
            assert answer.text == f"legacy g {size} {'b' * min(9, size)}"
        pieces = iter([b"b" * (size // 2), b"b" * (size - size // 2)])
        assert client.post("/asks", content=pieces).text.startswith(f"legacy g {size}")
        assert client.get("/asks").text == "legacy g 0 "
        asked = client.request("GET", "/asks", content=b"b" * size)
        assert asked.text == f"legacy g {size} {'b' * min(9, size)}", "a GET may have a body, too"
        assert client.request("HEAD", "/asks", content=b"b" * size).status_code == 200
    assert {each.decision.reason.value for each in seen} == {"use_legacy"}
    assert shop.log.count("before") == shop.log.count("teardown") == 6


@pytest.mark.parametrize("hooks", HOOKS)
def test_use_legacy_hands_over_a_body_that_nobody_has_read(hooks: str) -> None:
    with running(Shop(), hooks) as client:
        answer = client.request("GET", "/asks-def", content=b"whole body")
    assert answer.text == "legacy g 10 whole bod"


@pytest.mark.parametrize("hooks", HOOKS)
def test_use_legacy_hands_over_a_streamed_request_of_which_nothing_was_read(hooks: str) -> None:
    with running(Shop(), hooks, body="stream") as client:
        assert client.post("/asks").text == "legacy g 0 "
        assert client.post("/asks-def", content=b"whole body").text == "legacy g 10 whole bod"


@pytest.mark.parametrize("hooks", HOOKS)
def test_use_legacy_without_a_legacy_route_is_an_error(hooks: str) -> None:
    with running(Shop(), hooks) as client:
        assert client.get("/only-native").status_code == 500
        assert client.get("/good").status_code == 200


@pytest.mark.parametrize("hooks", HOOKS)
def test_the_circuit_opens_probes_and_closes(hooks: str) -> None:
    shop, seen = Shop(), list[Exchange]()
    circuit = {"requests": 4, "open": "1s", "probes": 2}
    with running(shop, hooks, failover=True, circuit=circuit, seen=seen) as client:
        shop.fail.set()
        for _ in range(10):
            assert client.get("/flaky").text.startswith("legacy"), "no client sees a failure"
        assert shop.log.count("native") == 4, "then native is left in peace"
        reasons = [each.decision.reason.value for each in seen]
        assert reasons == ["failover"] * 4 + ["circuit_open"] * 6
        assert client.head("/flaky").headers["x-served-by"] == "legacy", "HEAD is GET's"
        time.sleep(1.1)
        assert client.get("/flaky").text.startswith("legacy")
        assert shop.log.count("native") == 5, "one probe, which failed"
        shop.fail.clear()
        time.sleep(1.1)
        assert [client.get("/flaky").text for _ in range(4)] == ['"native"'] * 4
        assert client.get("/good").text == '"native"'


def test_a_probe_that_becomes_another_request_gives_its_place_back() -> None:
    """Else the circuit would wait for its outcome, and leave the route to legacy for ever."""
    shop = Shop()
    inner = shop.flask.wsgi_app

    def moving(environ: WSGIEnvironment, start: StartResponse) -> Any:
        if environ["QUERY_STRING"] == "moved":
            environ["PATH_INFO"] = "/good"
        return inner(environ, start)

    shop.flask.wsgi_app = moving  # type: ignore[method-assign, assignment]
    circuit = {"requests": 2, "open": "300ms", "probes": 1}
    with running(shop, "inherit", failover=True, circuit=circuit) as client:
        shop.fail.set()
        for _ in range(3):
            client.get("/flaky")
        shop.fail.clear()
        time.sleep(0.4)
        client.get("/flaky?moved")
        assert [client.get("/flaky").text for _ in range(2)] == ['"native"'] * 2


def test_a_circuit_without_failover_counts_what_clients_see() -> None:
    shop = Shop()
    with running(shop, "skip", circuit={"requests": 3}) as client:
        shop.fail.set()
        close = {"Connection": "close"}  # a server closes after a crash anyway
        codes = [client.post("/flaky", headers=close).status_code for _ in range(6)]
        assert codes == [500, 500, 500, 200, 200, 200]


def test_under_load_no_client_sees_a_failing_handler() -> None:
    shop = Shop()
    with running(shop, "skip", failover=True) as client, ThreadPoolExecutor(16) as pool:

        def ask(number: int) -> str:
            if number == 100:
                shop.fail.set()
            return client.get("/flaky").text

        answers = list(pool.map(ask, range(400)))
    assert {text.split()[0].strip('"') for text in answers} == {"native", "legacy"}
