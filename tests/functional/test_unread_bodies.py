"""A moved route whose body is streamed, and not read to its end: the client gets its answer."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI, Request
from flask import Flask

from gateway import Gateway
from gateway.legacy.standin import OneReader
from tests.functional.servers import serve
from tests.functional.test_fail_closed import PARSERS, SEEN, TOKEN, ask, guard

if TYPE_CHECKING:
    from starlette.types import Message

pytestmark = pytest.mark.network

LARGE = b"x" * 3_000_000
#: Two clients at once would wait for each other where one of them stops the loop.
PROMPT = 3.0


def streaming(**legacy: Any) -> Gateway:
    """Return a gateway whose moved `/upload` streams its body, behind a hook of Flask's."""
    app, twin = Flask("legacy"), FastAPI()
    app.before_request(guard)
    app.add_url_rule("/upload", "upload", lambda: "legacy", methods=["POST"])

    @twin.post("/upload")
    async def upload(request: Request) -> int:
        return len(await request.body())

    @twin.get("/free")
    async def free() -> str:
        return "native"

    rule = {"path": "/upload", "cutover": "native", "auth": "hooks", "accept": SEEN}
    config = {"version": 1, "routes": [rule], "legacy": {"body": "stream", **legacy}}
    return Gateway(legacy=app, native=twin, config=config)


@pytest.mark.parametrize("parser", PARSERS)
def test_who_is_refused_before_the_body_is_read_stops_nobody(parser: str) -> None:
    """The rest of the body is read and forgotten; the event loop goes on meanwhile."""
    with serve(streaming(), http=parser) as url:
        for _ in range(2):
            started = time.monotonic()
            assert ask(url, "POST /upload HTTP/1.1\nHost: ok", LARGE)[0] == 401
            assert ask(url, f"GET /free HTTP/1.1\nHost: ok\n{TOKEN}") == (200, b'"native"')
            assert time.monotonic() - started < PROMPT


@pytest.mark.parametrize("parser", PARSERS)
def test_a_streamed_body_that_is_too_large_is_refused(parser: str) -> None:
    chunk = b"%x\r\n%s\r\n" % (100_000, b"x" * 100_000)
    head = f"POST /upload HTTP/1.1\nHost: ok\n{TOKEN}\nTransfer-Encoding: chunked\n\n"
    sent = head.encode("latin-1").replace(b"\n", b"\r\n") + chunk * 30 + b"0\r\n\r\n"
    with serve(streaming(max_body=200_000), http=parser) as url:
        started = time.monotonic()
        assert _ask_raw(url, sent).startswith(b"HTTP/1.1 413 ")
        assert ask(url, f"GET /free HTTP/1.1\nHost: ok\n{TOKEN}") == (200, b'"native"')
        assert time.monotonic() - started < PROMPT


def _ask_raw(url: str, sent: bytes) -> bytes:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(sent)
        return connection.recv(65536)


def test_each_message_of_a_body_is_told_once_and_the_leaving_to_everybody() -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"1", "more_body": True},
        {"type": "http.request", "body": b"2", "more_body": False},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        await asyncio.sleep(0)
        return messages.pop(0)

    async def read() -> list[Message]:
        reader = OneReader(receive)
        both = await asyncio.gather(reader(), reader())
        return [*both, await reader(), *await asyncio.gather(reader(), reader()), await reader()]

    first, same, second, *rest = asyncio.run(read())
    assert first is same
    assert (first["body"], second["body"]) == (b"1", b"2")
    assert [each["type"] for each in rest] == ["http.disconnect"] * 3
