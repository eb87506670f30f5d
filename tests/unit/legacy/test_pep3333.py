"""PEP 3333 from the app's side (A12, A14, A17); for each rule at least one peer fails."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

from gateway.config import LegacyConfig
from gateway.exceptions import AnswerAbortedError, GatewayError, LifespanError
from gateway.legacy import Bridge, Pool
from tests.unit.legacy.conftest import call, make_scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.legacy.conftest import Run

PLAIN = [("Content-Type", "text/plain")]


class Closing:
    """An iterable that counts how often it was closed."""

    def __init__(self, *chunks: Any) -> None:
        self.chunks = iter(chunks)
        self.closed = 0

    def __iter__(self) -> Closing:
        return self

    def __next__(self) -> Any:
        chunk = next(self.chunks)
        if isinstance(chunk, BaseException):
            raise chunk
        return chunk

    def close(self) -> None:
        self.closed += 1


def test_start_response_may_be_called_while_iterating(run: Run) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        yield b""
        start_response("201 Created", PLAIN)
        yield b"late"

    answer = run(app)
    assert (answer.status, answer.body, answer.complete) == (201, b"late", True)


def test_a_small_complete_answer_is_two_messages(run: Run) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", PLAIN)
        return [b"one", b"two"]

    answers = [run(app) for _ in range(5)]
    for answer in answers:
        assert answer.headers == [(b"content-type", b"text/plain"), (b"content-length", b"6")]
        assert answer.body == b"onetwo"
    # On a busy machine the loop may be quicker than the worker is with the second part.
    assert min(len(answer.messages) for answer in answers) == 2


def test_a_stream_gets_no_content_length(run: Run) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        return iter([b"one"])

    assert run(app).headers == [(b"content-type", b"text/plain")]


def test_a_stream_keeps_its_content_length(run: Run) -> None:
    """Starlette's adapter and asgiref drop it."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "6")])
        return iter([b"one", b"two"])

    assert run(app).headers == [(b"content-length", b"6")]


def test_exc_info_before_the_first_byte_replaces_the_answer(run: Run) -> None:
    """a2wsgi keeps the first status, and raises the error out of the ASGI app."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-First", "1")])
        try:
            int("x")
        except ValueError:
            start_response("500 Oops", PLAIN, sys.exc_info())
        return [b"sorry"]

    answer = run(app)
    assert (answer.status, answer.body, answer.error) == (500, b"sorry", None)
    assert (b"x-first", b"1") not in answer.headers


def test_exc_info_may_be_named_as_wsgiref_gunicorn_and_werkzeug_have_it(run: Run) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-First", "1")])
        try:
            int("x")
        except ValueError:
            start_response("500 Oops", PLAIN, exc_info=sys.exc_info())
        return [b"sorry"]

    answer = run(app)
    assert (answer.status, answer.body, answer.error) == (500, b"sorry", None)
    assert (b"x-first", b"1") not in answer.headers


def test_all_of_start_response_may_be_named_as_wsgiref_has_it(run: Run) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(status="201 Created", headers=PLAIN, exc_info=None)
        return [b"x"]

    answer = run(app)
    assert (answer.status, answer.body) == (201, b"x")


def test_a_named_exc_info_after_the_first_byte_is_raised(run: Run) -> None:
    raised: list[BaseException] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", PLAIN)(b"gone")
        try:
            int("x")
        except ValueError:
            try:
                start_response("500 Oops", PLAIN, exc_info=sys.exc_info())
            except ValueError as error:
                raised.append(error)
        return []

    assert run(app).body == b"gone"
    assert len(raised) == 1


def test_exc_info_after_the_first_byte_raises_it(run: Run) -> None:
    raised: list[BaseException] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        write = start_response("200 OK", PLAIN)
        write(b"gone")
        try:
            int("x")
        except ValueError:
            try:
                start_response("500 Oops", PLAIN, sys.exc_info())
            except ValueError as error:
                raised.append(error)
                raise
        return iter(())

    answer = run(app)
    assert len(raised) == 1
    assert isinstance(answer.error, ValueError) or answer.status == 500


def test_start_response_twice_is_an_error(run: Run) -> None:
    """a2wsgi ignores the second call."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", PLAIN)
        start_response("200 OK", PLAIN)
        return [b"x"]

    assert run(app).status == 500


def test_write_comes_before_the_iterable(run: Run) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", PLAIN)
        write(b"first ")
        write(b"")
        return [b"second"]

    answer = run(app)
    assert answer.body == b"first second"
    assert answer.headers == [(b"content-type", b"text/plain")]


@pytest.mark.parametrize(
    ("chunks", "status"),
    [((b"x",), 200), ((), 200), ((RuntimeError("boom"),), 500), (("text",), 500)],
)
def test_close_is_called_exactly_once(run: Run, chunks: tuple[Any, ...], status: int) -> None:
    """asgiref never calls it; a2wsgi not after a disconnect."""
    iterable = Closing(*chunks)

    def app(environ: Any, start_response: Any) -> Closing:
        start_response("200 OK", PLAIN)
        return iterable

    assert run(app).status == status
    assert iterable.closed == 1


def test_an_error_in_close_after_the_answer_is_logged_once(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    class Bad(Closing):
        def close(self) -> None:
            message = "in close"
            raise RuntimeError(message)

    def app(environ: Any, start_response: Any) -> Closing:
        start_response("200 OK", [("Content-Length", "1")])
        return Bad(b"x")

    answer = run(app)
    assert (answer.body, answer.error) == (b"x", None)
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_an_error_before_any_byte_is_a_500_logged_once_with_its_traceback(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """a2wsgi answers 200 with a truncated body."""
    answer = run(lambda environ, start_response: 1 / 0, path="/p", raw_path=b"/p")
    assert (answer.status, answer.error) == (500, None)
    assert [(r.getMessage(), r.exc_info is not None) for r in caplog.records] == [
        ("GET /p failed", True)
    ]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_errors_that_end_programs_end_only_the_request(run: Run, error: BaseException) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        raise error

    assert run(app).status == 500


def test_an_app_that_never_starts_its_answer_is_a_500(run: Run) -> None:
    assert run(lambda environ, start_response: []).status == 500
    assert run(lambda environ, start_response: [b"x"]).status == 500
    assert run(lambda environ, start_response: None).status == 500


def test_an_answer_shorter_than_its_length_never_looks_complete(run: Run) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "10")])
        return iter([b"abc"])

    answer = run(app)
    if answer.error is None:
        assert answer.status == 500
    else:
        assert isinstance(answer.error, AnswerAbortedError)
        assert not answer.complete


def test_an_answer_longer_than_its_length_is_cut(run: Run) -> None:
    iterable = Closing(b"ab", b"cd", b"ef")

    def app(environ: Any, start_response: Any) -> Closing:
        start_response("200 OK", [("Content-Length", "3")])
        return iterable

    answer = run(app)
    assert (answer.body, answer.complete, iterable.closed) == (b"abc", True, 1)


def test_of_what_follows_a_complete_answer_only_its_end_runs(run: Run) -> None:
    """A generator that is closed runs its `finally`; the worker isn't kept by what else follows."""
    ran: list[str] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "1")])
        try:
            yield b"x"
            ran.append("after the last chunk")
        finally:
            ran.append("finally")

    assert run(app).body == b"x"
    assert ran == ["finally"]


def test_code_after_the_last_chunk_of_a_stream_runs(run: Run) -> None:
    ran: list[bool] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"x"
        ran.append(True)

    assert run(app).body == b"x"
    assert ran == [True]


@pytest.mark.parametrize(
    ("status", "code"), [("200", 200), ("200 ", 200), ("204", 204), ("599 Own", 599)]
)
def test_a_status_needs_no_reason(run: Run, status: str, code: int) -> None:
    """a2wsgi splits at the blank and fails."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(status, [])
        return []

    assert run(app).status == code


@pytest.mark.parametrize("status", ["", "OK", "2000 OK", "99 x", "101 Switching", "600 x", 200])
def test_a_bad_status_is_a_500(run: Run, status: Any) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(status, [])
        return []

    assert run(app).status == 500


@pytest.mark.parametrize(
    "header",
    [
        ("X-A", "1\r\nSet-Cookie: evil=1"),
        ("X-A", "1\n2"),
        ("X-A", "\x00"),
        ("X A", "1"),
        ("", "1"),
        ("X-A:", "1"),
        ("X-A", "\u20ac"),
        ("X-A", b"bytes"),
        ("Content-Length", "ten"),
        ("Content-Length", "-1"),
    ],
)
def test_a_header_that_http_cannot_carry_is_a_500(run: Run, header: Any) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [header])
        return [b"x"]

    answer = run(app)
    assert (answer.status, answer.error) == (500, None)


def test_headers_keep_their_order_and_latin_1_and_lose_the_connections(run: Run) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(
            "200 OK",
            [
                ("Set-Cookie", "a=1"),
                ("X-Name", " J\u00fcrgen\tX "),
                ("Connection", "keep-alive"),
                ("Transfer-Encoding", "chunked"),
                ("Set-Cookie", "b=2"),
            ],
        )
        return []

    assert run(app).headers == [
        (b"set-cookie", b"a=1"),
        (b"x-name", b"J\xfcrgen\tX"),
        (b"set-cookie", b"b=2"),
        (b"content-length", b"0"),
    ]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_no_body_and_no_length_where_none_may_be(run: Run, status: str) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(status, [("Content-Length", "1")])
        return [b"x"]

    answer = run(app)
    assert (answer.headers, answer.body, answer.complete) == ([], b"", True)


def test_head_never_runs_an_endless_body(run: Run) -> None:
    iterable = Closing(*[b"x"] * 1000)

    def app(environ: Any, start_response: Any) -> Closing:
        start_response("200 OK", [("Content-Length", "5")])
        return iterable

    answer = run(app, method="HEAD")
    assert (answer.headers, answer.body) == ([(b"content-length", b"5")], b"")
    assert iterable.closed == 1
    assert len(list(iterable.chunks)) > 990


def test_chunks_may_be_any_bytes_like(run: Run) -> None:
    def app(environ: Any, start_response: Any) -> list[Any]:
        start_response("200 OK", [])
        return [bytearray(b"a"), memoryview(b"b"), b"c"]

    assert run(app).body == b"abc"


def test_a_large_complete_answer_leaves_in_bounded_messages(run: Run) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"x" * 1_000_000]

    answer = run(app)
    assert len(answer.body) == 1_000_000
    assert max(len(message["body"]) for message in answer.messages[1:]) <= 262_144


def test_before_the_lifespan_there_is_one_clear_error() -> None:
    bridge = Bridge(lambda environ, start_response: [], Pool(), LegacyConfig())
    assert isinstance(asyncio.run(call(bridge, make_scope())).error, LifespanError)
    assert isinstance(asyncio.run(call(bridge, {"type": "lifespan"})).error, GatewayError)


@pytest.mark.parametrize(
    ("headers", "chunks", "steps"),
    [
        ([("Content-Length", "3")], (b"one", b"two"), 1),
        ([("Content-Length", "6")], (b"one", b"", b"two", b"", b""), 3),
        ([("Content-Length", "3")], (b"one", RuntimeError("after the end")), 1),
        ([("Content-Length", "0")], (b"", b"x"), 2),
        ([], (b"one", b"two"), 2),
    ],
)
def test_nothing_is_asked_of_an_answer_that_is_complete(
    run: Run, headers: list[tuple[str, str]], chunks: tuple[Any, ...], steps: int
) -> None:
    """PEP 3333, "Handling the Content-Length Header": stop iterating when enough has been sent."""
    taken: list[Any] = []

    def answer() -> Iterator[bytes]:
        for chunk in chunks:
            taken.append(chunk)
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    iterable = Closing()
    iterable.chunks = answer()

    def app(environ: Any, start_response: Any) -> Closing:
        start_response("200 OK", headers)
        return iterable

    found = run(app)
    assert (found.status, found.error, iterable.closed) == (200, None, 1)
    assert len(taken) == steps
