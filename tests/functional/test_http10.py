"""HTTP/1.0 clients of the whole gateway: native streams are theirs, too, without chunk sizes."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse
from fastapi.responses import Response as NoContent
from flask import Flask, Response

from gateway import Gateway
from gateway.http10 import unchunked
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.network


async def parts() -> AsyncIterator[bytes]:
    for number in range(3):
        yield b"part %d " % number


def gateway() -> Gateway:
    legacy, native = Flask("old"), FastAPI()

    @legacy.get("/stream")
    @legacy.get("/moved")
    def stream() -> Response:
        return Response(f"part {number} " for number in range(3))

    @legacy.after_request
    def named(response: Response) -> Response:
        response.headers["X-Hook"] = "ran"
        return response

    @native.get("/moved")
    @native.get("/own")
    async def own() -> StreamingResponse:
        return StreamingResponse(parts())

    @native.get("/whole")
    async def whole() -> PlainTextResponse:
        return PlainTextResponse("whole")

    @native.get("/empty")
    async def empty() -> NoContent:
        return NoContent(status_code=204)

    rule = {"path": "/moved", "cutover": "native", "auth": "none"}
    return Gateway(legacy=legacy, native=native, config={"version": 1, "routes": [rule]})


@pytest.fixture(scope="module", params=["httptools", "h11"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    with serve(gateway(), http=request.param) as url:
        yield int(url.rpartition(":")[2])


def ask(port: int, path: str, method: str = "GET") -> tuple[bytes, bytes]:
    """Ask as nginx does by default, and read until the server closes."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as client:
        client.sendall(f"{method} {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        data = b""
        while piece := client.recv(65536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    return head.lower(), body


@pytest.mark.parametrize("path", ["/stream", "/moved", "/own"])
def test_a_stream_ends_with_its_connection(port: int, path: str) -> None:
    head, body = ask(port, path)
    assert body == b"part 0 part 1 part 2 "
    assert b"transfer-encoding" not in head


@pytest.mark.parametrize(("path", "body"), [("/whole", b"whole"), ("/empty", b"")])
def test_an_answer_of_known_length_is_as_ever(port: int, path: str, body: bytes) -> None:
    head, found = ask(port, path)
    assert found == body
    assert b"transfer-encoding" not in head


@pytest.mark.parametrize("path", ["/stream", "/moved", "/whole"])
def test_a_head_request_gets_no_body(port: int, path: str) -> None:
    assert ask(port, path, "HEAD")[1] == b""


def test_another_servers_send_is_left_alone() -> None:
    async def send(message: Any) -> None:
        pass

    assert unchunked({"method": "GET"}, send) is send
