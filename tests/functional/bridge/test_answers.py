"""What the client gets from the app, byte for byte (A10-A12, A14, A16-A20)."""

from __future__ import annotations

import hashlib
import threading
import time
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest
from flask import Flask, Response, jsonify, request, send_file, stream_with_context

from tests.functional.bridge.conftest import Serve, eventually, read_to_end, read_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def big_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "big.bin"
    path.write_bytes(bytes(range(256)) * 4096 * 100)  # 100 MiB
    return path


def make_app() -> Flask:
    app = Flask(__name__)

    @app.get("/hello")
    def hello() -> str:
        return "hello"

    @app.get("/where/<path:rest>")
    def where(rest: str) -> Response:
        environ = request.environ
        keys = ("SCRIPT_NAME", "PATH_INFO", "RAW_URI", "REQUEST_URI", "QUERY_STRING")
        return jsonify({key: environ[key] for key in keys})

    @app.post("/json")
    def json() -> Response:
        return jsonify(request.get_json())

    @app.get("/cookies")
    def cookies() -> Response:
        answer = Response("ok")
        for name in "abc":
            answer.set_cookie(name, name.upper())
        answer.headers["X-Name"] = "Jürgen"
        return answer

    @app.get("/boom")
    def boom() -> str:
        message = "boom"
        raise RuntimeError(message)

    @app.get("/ctx")
    def ctx() -> Response:
        def parts() -> Iterator[str]:
            yield request.path
            yield "!"

        return Response(stream_with_context(parts()))

    return app


def test_hello_over_one_kept_connection(serve: Serve) -> None:
    with serve(make_app()) as running, running.connect() as client:
        for _ in range(3):
            client.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = read_until(client, b"hello")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"content-length: 5\r\n" in answer
            assert answer.endswith(b"\r\n\r\nhello")


def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    with serve(make_app()) as running:
        first = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET /cookies HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = running.ask(first + first + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.index(b"hello") < answer.index(b"set-cookie")


def test_a_stream_to_an_http_1_0_client_is_not_chunked(serve: Serve) -> None:
    """uvicorn's httptools protocol sends chunk sizes to HTTP/1.0 clients; a2wsgi lets it."""
    with serve(make_app()) as running:
        answer = running.ask(b"GET /ctx HTTP/1.0\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"content-length" not in head
    assert body == b"/ctx!"


@pytest.mark.parametrize(
    ("path", "length"), [("/hello", b"content-length: 5"), ("/boom", b"content-length: ")]
)
def test_an_http_1_0_client_is_told_a_length_that_is_known(
    serve: Serve, path: str, length: bytes
) -> None:
    with serve(make_app()) as running:
        answer = running.ask(b"GET " + path.encode() + b" HTTP/1.0\r\n\r\n")
    assert length in answer
    assert b"transfer-encoding" not in answer


def test_an_http_1_0_client_gets_an_endless_stream_as_it_comes(serve: Serve) -> None:
    """nginx speaks HTTP/1.0 to what is behind it; such a stream once kept its worker for ever."""
    closed = threading.Semaphore(0)

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "multipart/x-mixed-replace; boundary=x")])
        try:
            while True:
                yield b"--x\r\n\r\nframe\r\n"
                time.sleep(0.005)
        finally:
            closed.release()

    with serve(app, threads=2) as running:
        for _ in range(6):
            with running.connect() as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                first = read_until(client, b"frame")
                assert b"transfer-encoding" not in first.lower()
            assert closed.acquire(timeout=15)
        assert eventually(lambda: running.pool.stats().busy == 0)


def test_a_head_of_an_http_1_0_stream_has_no_body(serve: Serve) -> None:
    with serve(make_app()) as running:
        answer = running.ask(b"HEAD /ctx HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")


def test_paths_keep_their_bytes(serve: Serve) -> None:
    """a2wsgi encodes the decoded path: `%FF` becomes U+FFFD."""
    with serve(make_app()) as running:
        target = b"/where/a%2Fb//c/%FF?x=%20"
        raw = running.ask(b"GET " + target + b" HTTP/1.0\r\n\r\n")
    body = raw.partition(b"\r\n\r\n")[2]
    assert b'"PATH_INFO":"/where/a/b//c/\\u00ff"' in body.replace(b": ", b":")
    assert body.count(b'"/where/a%2Fb//c/%FF?x=%20"') == 2


def test_root_path_is_taken_off_by_segment(serve: Serve) -> None:
    with serve(make_app(), root_path="/api") as running:
        body = running.get("/where/x")[2]
    assert b'"SCRIPT_NAME":"/api"' in body
    assert b'"PATH_INFO":"/where/x"' in body


def test_repeated_cookies_and_latin_1_headers_are_kept(serve: Serve) -> None:
    with serve(make_app()) as running:
        status, headers, _ = running.get("/cookies")
    assert status == 200
    assert [value.split(";")[0] for value in headers.get_all("set-cookie", [])] == [
        "a=A",
        "b=B",
        "c=C",
    ]
    assert headers["x-name"] == "Jürgen"


def test_head_keeps_content_length_and_sends_no_body(serve: Serve) -> None:
    with serve(make_app()) as running, running.connect() as client:
        client.sendall(b"HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = read_until(client, b"\r\n\r\n")
        assert b"content-length: 5" in answer
        assert answer.endswith(b"\r\n\r\n")
        client.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read_to_end(client).endswith(b"hello")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_statuses_without_a_body_leave_the_connection_usable(serve: Serve, status: str) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(status, [("Content-Length", "3"), ("ETag", '"x"')])
        return [b"abc"]

    with serve(app) as running:
        one = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = running.ask(one + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 " + status[:3].encode()) == 2
    assert b"abc" not in answer


def test_an_unhandled_error_is_a_500_logged_once(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b""
        message = "after start, before the body"
        raise RuntimeError(message)

    with serve(app) as running:
        status, _, body = running.get("/x")
        assert (status, body) == (500, b"500 Internal Server Error\n")
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == 1


def test_an_error_after_the_first_byte_breaks_the_connection(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"first"
        go_on.wait(20)
        message = "after the first byte"
        raise RuntimeError(message)

    with serve(app) as running, running.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = read_until(client, b"first")
        go_on.set()
        answer += read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 200")
    assert not answer.endswith(b"0\r\n\r\n")
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_a_body_shorter_than_its_length_breaks_the_connection(serve: Serve) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "10")])
        return [b"abc"]

    with serve(app) as running:
        answer = running.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    # Nothing had left, so it may also be an honest 500; a whole 200 it must not be.
    assert answer.startswith(b"HTTP/1.1 500") or not answer.endswith(b"abc" + b"x" * 7)


def test_a_body_longer_than_its_length_is_cut(serve: Serve) -> None:
    """a2wsgi passes the surplus on: uvicorn raises, or the next answer is out of step."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "3")])
        return [b"ab", b"cd", b"ef"]

    with serve(app) as running:
        one = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = running.ask(one + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.count(b"\r\n\r\nabc") == 2
    assert b"cd" not in answer


def test_send_file_is_whole_ranges_work_and_the_file_is_closed(
    serve: Serve, big_file: Path
) -> None:
    app = Flask(__name__)
    opened: list[Any] = []

    @app.get("/file")
    def file() -> Response:
        handle = big_file.open("rb")
        opened.append(handle)
        answer = send_file(handle, mimetype="application/octet-stream", conditional=True,
                           download_name="big.bin", etag=False)  # fmt: skip
        answer.content_length = big_file.stat().st_size
        return answer

    @app.get("/path")
    def path() -> Response:
        return send_file(big_file)

    with serve(app) as running:
        status, headers, body = running.get("/file")
        assert status == 200
        assert headers["content-length"] == str(len(body))
        assert hashlib.sha1(body).digest() == hashlib.sha1(big_file.read_bytes()).digest()
        assert eventually(lambda: opened[0].closed)
        status, headers, body = running.get("/path", headers={"Range": "bytes=1000-1003"})
        assert (status, body) == (206, bytes([1000 % 256 + n for n in range(4)]))


def test_half_a_million_small_chunks_are_gathered(serve: Serve) -> None:
    """a2wsgi makes one loop round trip per chunk: 9 to 17 s."""
    line = b"x" * 99 + b"\n"

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (line for _ in range(500_000))

    with serve(app) as running:
        started = time.monotonic()
        body = running.get("/")[2]
        took = time.monotonic() - started
    assert len(body) == 50_000_000
    assert took < 8


def test_a_lone_event_leaves_at_once(serve: Serve) -> None:
    go_on = threading.Event()
    app = Flask(__name__)

    @app.get("/events")
    def events() -> Response:
        def stream() -> Iterator[str]:
            yield "data: 1\n\n"
            assert go_on.wait(20)
            yield "data: 2\n\n"

        return Response(stream(), mimetype="text/event-stream")

    with serve(app) as running, running.connect() as client:
        client.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = read_until(client, b"data: 1")
        go_on.set()
        answer += read_to_end(client)
    assert b"data: 2" in answer


def test_the_answer_does_not_wait_for_close(serve: Serve) -> None:
    released = threading.Event()
    closed = threading.Event()
    app = Flask(__name__)

    @app.get("/")
    def index() -> Response:
        def after() -> None:
            released.wait(20)
            closed.set()

        answer = Response("done")
        answer.call_on_close(after)
        return answer

    with serve(app) as running:
        assert running.get("/")[2] == b"done"
        assert not closed.is_set()
        released.set()
        assert closed.wait(20)


def test_flask_behind_the_wsgi_validator(serve: Serve) -> None:
    flask_app = make_app()
    checked: Any = validator(flask_app.wsgi_app)
    flask_app.wsgi_app = checked  # type: ignore[method-assign]
    with serve(flask_app) as running:
        assert running.get("/hello")[0] == 200
        assert running.get("/hello", "HEAD")[0] == 200
        assert running.get("/ctx")[2] == b"/ctx!"
        assert running.get("/missing")[0] == 404


def test_a_websocket_to_legacy_is_refused_before_it_opens(serve: Serve) -> None:
    """a2wsgi closes without reading the handshake, with code 1000."""
    with serve(make_app()) as running:
        answer = running.ask(
            b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 403")
        assert running.get("/hello")[0] == 200


def test_logging_through_wsgi_errors_reaches_stderr(
    serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    """a2wsgi writes wsgi.errors to stdout."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.errors"].write("told on wsgi.errors\n")
        environ["wsgi.errors"].flush()
        start_response("200 OK", [])
        return [b"ok"]

    with serve(app) as running:
        running.get("/")
    captured = capfd.readouterr()
    assert "told on wsgi.errors" in captured.err
    assert "told on wsgi.errors" not in captured.out


def test_fifty_views_that_run_an_event_loop_at_once(serve: Serve) -> None:
    """What asynchronous Flask views do (A24)."""
    import asyncio

    app = Flask(__name__)
    gate = threading.Barrier(50)

    @app.get("/<int:number>")
    def view(number: int) -> str:
        async def work() -> str:
            await asyncio.sleep(0)
            return str(number)

        gate.wait(30)
        return asyncio.run(work())

    answers: list[bytes] = []
    with serve(app, threads=50) as running:
        threads = [
            threading.Thread(target=lambda n=n: answers.append(running.get(f"/{n}")[2]))
            for n in range(50)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(map(int, answers)) == list(range(50))


def test_an_async_flask_view(serve: Serve) -> None:
    pytest.importorskip("asgiref")
    app = Flask(__name__)

    @app.get("/")
    async def index() -> str:
        return "async"

    with serve(app) as running:
        assert running.get("/")[2] == b"async"
