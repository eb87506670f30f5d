"""Clients that leave, stall or crowd in, and a server that shuts down (A1, A2, A5, A6, A21)."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, Response

from tests.functional.bridge.conftest import eventually, read_to_end, read_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.legacy import Bridge
    from tests.functional.bridge.conftest import Serve

pytestmark = pytest.mark.network

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="unset")


class Streams:
    """A WSGI app with an endless answer that counts what is opened and closed, and where."""

    def __init__(self, chunk: bytes = b"x" * 1000, pause: float = 0.0) -> None:
        self.chunk = chunk
        self.pause = pause
        self.opened = 0
        self.closed = 0
        self.closed_elsewhere = 0
        self._lock = threading.Lock()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        if environ["PATH_INFO"] == "/hello":
            return [b"hello"]
        with self._lock:
            self.opened += 1
        return self._endless(threading.get_ident(), mark.set("in the app"))

    def _endless(self, thread: int, _: object) -> Iterator[bytes]:
        try:
            while True:
                yield self.chunk
                time.sleep(self.pause)
        finally:
            with self._lock:
                self.closed += 1
                if threading.get_ident() != thread or mark.get() != "in the app":
                    self.closed_elsewhere += 1


def leave_abruptly(client: socket.socket) -> None:
    """Close with a reset, as a killed client does."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_two_hundred_aborted_streams_lose_no_thread(serve: Serve) -> None:
    """a2wsgi never closes them; after as many aborts as workers Flask is dead."""
    app = Streams(pause=0.001)
    with serve(app, threads=8) as running:
        for number in range(200):
            client = running.connect()
            client.sendall(GET)
            read_until(client, b"xxx")
            if number % 2:
                leave_abruptly(client)
            else:
                client.close()
        assert running.get("/hello")[2] == b"hello"
        assert eventually(lambda: app.closed == app.opened == 200)
        assert app.closed_elsewhere == 0
        assert eventually(lambda: running.pool.stats().busy == 0)
        assert running.pool.stats().threads == 8


def test_an_idle_stream_is_closed_at_its_next_chunk(serve: Serve) -> None:
    go_on = threading.Event()
    closed = threading.Event()
    app = Flask(__name__)

    @app.get("/")
    def index() -> Response:
        def stream() -> Iterator[str]:
            try:
                yield "one"
                go_on.wait(20)
                while True:
                    yield "two"
            finally:
                closed.set()

        return Response(stream())

    with serve(app) as running:
        client = running.connect()
        client.sendall(GET)
        read_until(client, b"one")
        client.close()
        assert not closed.wait(0.05)
        go_on.set()
        assert closed.wait(20)


class _Timeout:
    """An ASGI middleware that cancels every request after a while, as timeout middlewares do."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self.app = app
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self.seconds):
                await self.app(scope, receive, send)
        except TimeoutError:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def test_a_cancelled_stream_gives_its_thread_back(serve: Serve) -> None:
    """a2wsgi loses the worker for good: it waits for a queue that nobody reads any more."""
    app = Streams(pause=0.001)
    with serve(app, threads=2, wrap=lambda bridge: _Timeout(bridge, 0.3)) as running:
        for _ in range(6):
            assert running.get("/stream")[0] == 200
        assert eventually(lambda: app.closed == app.opened == 6)
        assert app.closed_elsewhere == 0
        assert running.get("/hello")[2] == b"hello"


def test_stalled_downloads_time_out_and_free_their_threads(serve: Serve) -> None:
    app = Streams(chunk=b"x" * 100_000)
    with serve(app, threads=4, send_timeout=0.5) as running:
        clients = [running.connect() for _ in range(6)]
        for client in clients:
            client.sendall(GET)
        assert eventually(lambda: app.closed >= 4)
        assert running.get("/hello")[2] == b"hello"
        for client in clients:
            client.close()
        assert eventually(lambda: app.closed == app.opened)


def test_a_stalled_download_holds_little(serve: Serve) -> None:
    """Backpressure reaches the app: what it may produce ahead is bounded, kernel buffers aside."""
    produced = 0

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])

        def chunks() -> Iterator[bytes]:
            nonlocal produced
            while True:
                produced += 65_536
                yield b"x" * 65_536

        return chunks()

    with serve(app) as running, running.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.sendall(GET)
        assert eventually(lambda: produced > 0)
        before = -1
        while before != produced:
            before = produced
            time.sleep(0.3)
        assert produced < 16_000_000


def test_a_timeout_of_the_app_is_not_taken_for_the_clients(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"first"
        go_on.wait(20)
        message = "the database did not answer"
        raise TimeoutError(message)

    with serve(app) as running, running.connect() as client:
        client.sendall(GET)
        answer = read_until(client, b"first")
        go_on.set()
        answer += read_to_end(client)
    assert not answer.endswith(b"0\r\n\r\n")
    assert "the database did not answer" in caplog.text


def test_slow_uploads_take_no_thread(serve: Serve) -> None:
    """a2wsgi reads the body from inside the worker: as many slow clients as workers stop it."""
    app = Streams()
    with serve(app, threads=2) as running:
        clients = [running.connect() for _ in range(12)]
        for client in clients:
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        assert running.get("/hello")[2] == b"hello"
        assert eventually(lambda: running.pool.stats().busy == 0)
        for client in clients:
            client.close()
    assert app.opened == 0, "a truncated body must not run the app"


def test_a_silent_upload_gets_408(serve: Serve) -> None:
    with serve(Streams(), body_timeout=0.3) as running:
        answer = running.ask(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()


class Gate:
    """A WSGI app whose requests wait until they are let through; counts those that ran."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = 0

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        self.entered += 1
        self.open.wait(30)
        start_response("200 OK", [])
        return [b"through"]


def test_a_full_queue_answers_503_and_the_queued_are_served(serve: Serve) -> None:
    gate = Gate()
    with serve(gate, threads=1, queue=2) as running:
        clients = [running.connect() for _ in range(3)]
        for number, client in enumerate(clients):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert eventually(
                lambda n=number: sum(_busy_and_queued(running.pool.stats())) == n + 1  # type: ignore[misc]
            )
        status, headers, body = running.get("/")
        assert status == 503
        assert headers["retry-after"] == "5"
        assert b"Service Unavailable" in body
        assert running.pool.stats().refused == 1
        gate.open.set()
        for client in clients:
            assert b"through" in read_until(client, b"through")
            client.close()
        assert gate.entered == 3


def _busy_and_queued(stats: Any) -> tuple[int, int]:
    return stats.busy, stats.queued


def test_a_request_that_waits_too_long_gets_503(serve: Serve) -> None:
    gate = Gate()
    with serve(gate, threads=1, queue_timeout=0.3) as running, running.connect() as client:
        client.sendall(GET)
        assert eventually(lambda: gate.entered == 1)
        status, headers, _ = running.get("/")
        assert status == 503
        assert headers["retry-after"] == "1"
        gate.open.set()
        read_until(client, b"through")
        assert gate.entered == 1


def test_a_queued_request_whose_client_left_is_not_run(serve: Serve) -> None:
    gate = Gate()
    with serve(gate, threads=1) as running, running.connect() as client:
        client.sendall(GET)
        assert eventually(lambda: gate.entered == 1)
        waiting = running.connect()
        waiting.sendall(GET)
        assert eventually(lambda: running.pool.stats().queued == 1)
        waiting.close()
        assert eventually(lambda: running.pool.stats().dropped == 1)
        assert running.pool.stats().queued == 0
        gate.open.set()
        read_until(client, b"through")
        assert gate.entered == 1


def test_shutdown_lets_running_requests_end(serve: Serve) -> None:
    gate = Gate()
    with serve(gate, threads=1) as running:
        client = running.connect()
        client.sendall(GET)
        assert eventually(lambda: gate.entered == 1)
        running.server.should_exit = True
        assert eventually(lambda: not running.server.servers[0].is_serving())
        gate.open.set()
        assert b"through" in read_until(client, b"through")
        client.close()


def test_draining_refuses_what_is_queued(serve: Serve) -> None:
    gate = Gate()
    drained: list[bool] = []

    def wrap(bridge: Bridge) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] != "/drain":
                await bridge(scope, receive, send)
                return
            drained.append(await bridge.pool.drain(0.2))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"drained"})

        return app

    with serve(gate, threads=1, wrap=wrap) as running:
        first, second = running.connect(), running.connect()
        first.sendall(GET)
        assert eventually(lambda: gate.entered == 1)
        second.sendall(GET)
        assert eventually(lambda: running.pool.stats().queued == 1)
        assert running.get("/drain")[2] == b"drained"
        assert read_until(second, b"shutting down").startswith(b"HTTP/1.1 503 ")
        assert running.get("/")[0] == 503
        assert drained == [False]
        gate.open.set()
        assert b"through" in read_until(first, b"through")
        first.close()
        second.close()


def test_context_variables_reach_the_app_and_never_leak(serve: Serve) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen = mark.get()
        mark.set("left behind by " + environ["PATH_INFO"])
        start_response("200 OK", [])
        return [seen.encode()]

    def wrap(bridge: Bridge) -> ASGIApp:
        async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] != "/unset":
                mark.set("set for " + scope["path"])
            await bridge(scope, receive, send)

        return middleware

    with serve(app, threads=1, wrap=wrap) as running:
        assert running.get("/a")[2] == b"set for /a"
        assert running.get("/b")[2] == b"set for /b"
        assert running.get("/unset")[2] == b"unset"
