"""Request bodies, spooled and streamed, and how a request leaves for native (A3, A4, A15)."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, Response, abort, jsonify, request

from gateway.exceptions import Handover
from tests.functional.bridge.conftest import eventually, read_to_end, read_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.legacy import Bridge
    from tests.functional.bridge.conftest import Serve

pytestmark = pytest.mark.network

MODES = pytest.mark.parametrize("body", ["spool", "stream"])


def make_app() -> Flask:
    app = Flask(__name__)

    @app.post("/digest")
    def digest() -> Response:
        data = request.get_data()
        return jsonify(size=len(data), sha1=hashlib.sha1(data).hexdigest())

    @app.post("/pieces")
    def pieces() -> Response:
        sha1, size = hashlib.sha1(), 0
        while piece := request.stream.read(100_000):
            sha1.update(piece)
            size += len(piece)
        return jsonify(size=size, sha1=sha1.hexdigest())

    @app.post("/reject")
    def reject() -> Response:
        abort(401)

    @app.post("/native")
    def native() -> Response:
        raise Handover

    @app.post("/native-read")
    def native_read() -> Response:
        request.get_data()
        raise Handover

    @app.get("/hello")
    def hello() -> str:
        return "hello"

    return app


@MODES
@pytest.mark.parametrize("path", ["/digest", "/pieces"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 4000, 3_000_000])
def test_uploads_arrive_whole(serve: Serve, body: str, path: str, chunked: bool, size: int) -> None:
    """a2wsgi hands Flask 0 bytes of a chunked body: it doesn't set wsgi.input_terminated."""
    data = bytes(n % 251 for n in range(size))

    def parts() -> Iterator[bytes]:
        for start in range(0, size, 70_000):
            yield data[start : start + 70_000]

    with serve(make_app(), body=body) as running:
        answer = running.get(path, "POST", body=parts() if chunked else data)[2]
        assert f'"size":{size}' in answer.decode().replace(" ", "")
        assert hashlib.sha1(data).hexdigest() in answer.decode()
        assert eventually(lambda: running.bridge.spooled.used == 0)


def test_a_spooled_chunked_body_has_a_length(serve: Serve) -> None:
    """Frameworks that trust only Content-Length (Django) can read it."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        told = environ.get("CONTENT_LENGTH"), environ.get("HTTP_TRANSFER_ENCODING")
        return [repr(told).encode()]

    with serve(app) as running:
        answer = running.get("/", "POST", body=iter([b"ab", b"cde"]))[2]
    assert answer == b"('5', None)"


@MODES
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_above_the_limit_gets_413(serve: Serve, body: str, chunked: bool) -> None:
    head = b"POST /digest HTTP/1.1\r\nHost: x\r\n"
    data = b"x" * 300_000
    if chunked:
        message = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (
            len(data),
            data,
        )
    else:
        message = head + b"Content-Length: %d\r\n\r\n%s" % (len(data), data)
    with serve(make_app(), body=body, max_body=100_000) as running:
        answer = running.ask(message)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in answer.lower()
        assert running.get("/hello")[0] == 200


def test_the_spool_limit_gets_503_and_is_given_back(serve: Serve) -> None:
    with serve(make_app(), spool_memory=1000, spool_limit=500_000) as running:
        status, headers, _ = running.get("/digest", "POST", body=b"x" * 600_000)
        assert status == 503
        assert headers["retry-after"] == "5"
        assert running.bridge.spooled.used == 0
        assert running.get("/digest", "POST", body=b"x" * 400_000)[0] == 200
        assert eventually(lambda: running.bridge.spooled.used == 0)


def test_a_truncated_spooled_upload_never_runs_the_app(serve: Serve) -> None:
    entered = threading.Event()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        entered.set()
        start_response("200 OK", [])
        return [b"ok"]

    with serve(app, spool_memory=1000) as running:
        with running.connect() as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n")
            client.sendall(b"x" * 50_000)
            assert eventually(lambda: running.pool.stats().served == 0)
        assert eventually(lambda: running.bridge.spooled.used == 0)
        assert not entered.is_set()


@pytest.mark.parametrize("read", ["read", "readline", "pieces"])
def test_a_truncated_streamed_upload_never_looks_complete(serve: Serve, read: str) -> None:
    """a2wsgi takes http.disconnect for the end of the body."""
    outcome: list[Any] = []
    done = threading.Event()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        stream = environ["wsgi.input"]
        try:
            if read == "pieces":
                while piece := stream.read(1000):
                    outcome.append(len(piece))
                outcome.append("complete")
            else:
                outcome.append(getattr(stream, read)())
        except OSError as error:
            outcome.append(error)
        done.set()
        start_response("200 OK", [])
        return [b"ok"]

    with serve(app, body="stream") as running:
        client = running.connect()
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n")
        client.sendall(b"x" * 5_000)
        assert eventually(lambda: running.pool.stats().busy == 1)
        client.close()
        assert done.wait(20)
        assert isinstance(outcome[-1], ConnectionError)
        assert eventually(lambda: running.pool.stats().busy == 0)


def test_a_silent_streamed_upload_gets_408_and_frees_the_thread(serve: Serve) -> None:
    with serve(make_app(), body="stream", body_timeout=0.3) as running:
        answer = running.ask(b"POST /digest HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nabc")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert eventually(lambda: running.pool.stats().busy == 0)


def test_a_rejected_upload_is_never_asked_for(serve: Serve) -> None:
    """a2wsgi's peers send `100 Continue` before the app has seen the request."""
    with serve(make_app(), body="stream") as running:
        answer = running.ask(
            b"POST /reject HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower()


@MODES
def test_an_expected_upload_is_asked_for(serve: Serve, body: str) -> None:
    with serve(make_app(), body=body) as running, running.connect() as client:
        client.sendall(
            b"POST /digest HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
            b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        client.sendall(b"abc")
        answer = read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_an_unread_streamed_upload_still_gets_its_answer(serve: Serve) -> None:
    """Closing at once would reset the connection before the client has read the 401."""
    with serve(make_app(), body="stream") as running:
        answer = running.get("/reject", "POST", body=b"x" * 2_000_000)
    assert answer[0] == 401


def test_an_app_may_answer_while_it_reads(serve: Serve) -> None:
    def echo(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        stream = environ["wsgi.input"]
        yield b"ready;"
        while line := stream.readline():
            yield line.upper()

    with serve(echo, body="stream") as running, running.connect() as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        )
        read_until(client, b"ready;")
        client.sendall(b"4\r\none\n\r\n")
        read_until(client, b"ONE\n")
        client.sendall(b"4\r\ntwo\n\r\n0\r\n\r\n")
        assert b"TWO\n" in read_to_end(client)


def test_an_upload_that_nobody_reads_is_held_back(serve: Serve) -> None:
    """Backpressure reaches the client: the server takes only so much of what the app ignores."""
    gate = threading.Event()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        gate.wait(30)
        start_response("200 OK", [])
        return [b"ok"]

    with serve(app, body="stream", max_body=10**9) as running, running.connect(1.0) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 99_000_000:
                sent += client.send(b"x" * 65_536)
        gate.set()
    assert sent < 16_000_000


def test_an_unread_upload_does_not_hide_that_the_client_left(serve: Serve) -> None:
    closed = threading.Event()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])

        def endless() -> Iterator[bytes]:
            try:
                while True:
                    yield b"x" * 1000
                    closed.wait(0.001)
            finally:
                closed.set()

        return endless()

    with serve(app, body="stream", send_timeout=0.5, max_body=10**9) as running:
        client = running.connect()
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        client.sendall(b"y" * 2_000)
        read_until(client, b"xxx")
        client.close()
        assert closed.wait(20)


def _native(bridge: Bridge) -> ASGIApp:
    """Serve natively what the bridge hands over: the size and digest of the replayed body."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await bridge(scope, receive, send)
        except Handover as handover:
            sha1, more = hashlib.sha1(), True
            while more:
                message = await handover.receive()
                sha1.update(message["body"])
                more = message["more_body"]
            head = [(b"x-path", handover.environ["PATH_INFO"].encode())]
            await send({"type": "http.response.start", "status": 200, "headers": head})
            body = b"native " + sha1.hexdigest().encode()
            await send({"type": "http.response.body", "body": body})

    return app


@MODES
@pytest.mark.parametrize("size", [0, 10, 2_000_000])
def test_a_handover_replays_the_body(serve: Serve, body: str, size: int) -> None:
    data = b"z" * size
    with serve(make_app(), body=body, wrap=_native) as running:
        _, headers, answer = running.get("/native", "POST", body=data)
        assert headers["x-path"] == "/native"
        assert answer == b"native " + hashlib.sha1(data).hexdigest().encode()
        assert eventually(lambda: running.bridge.spooled.used == 0)


@pytest.mark.parametrize("size", [10, 2_000_000])
def test_a_handover_replays_a_spooled_body_that_was_read(serve: Serve, size: int) -> None:
    data = b"z" * size
    with serve(make_app(), wrap=_native) as running:
        answer = running.get("/native-read", "POST", body=data)[2]
        assert answer == b"native " + hashlib.sha1(data).hexdigest().encode()


def test_a_handover_after_a_streamed_body_was_read_is_a_500(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(make_app(), body="stream", wrap=_native) as running:
        assert running.get("/native-read", "POST", body=b"abc")[0] == 500
    assert [r.getMessage() for r in caplog.records if r.name.startswith("gateway")] == [
        "POST /native-read can't be handed over: its streamed body was already read"
    ]


def test_ambiguous_headers_get_400(serve: Serve) -> None:
    with serve(make_app()) as running:
        answer = running.ask(
            b"GET /hello HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Type: c/d\r\n\r\n"
        )
    assert answer.startswith(b"HTTP/1.1 400 ")
