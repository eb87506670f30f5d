"""Native answers in the response class of the app's own, whatever that does by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse
from fastapi.responses import Response as NoContent
from flask import Flask, Response

from gateway import Gateway
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.network


class Keywords(Response):
    """Takes nothing but the body by position."""

    def __init__(self, response: Any = None, *, status: Any = None, **more: Any) -> None:
        super().__init__(response, status, **more)


class Headers(Response):
    """Gives each answer a header; one that the answer has itself stays."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.headers["X-Frame-Options"] = "DENY"
        self.headers.setdefault("X-Own", "of the class")


class Exact(Response):
    """Takes what Flask gives it, and nothing else."""

    def __init__(self, response: Any, *, status: Any, headers: Any) -> None:
        super().__init__(response, status, headers)
        self.headers["X-Frame-Options"] = "DENY"


class Typed(Response):
    """Has a content type and a status of its own."""

    default_mimetype = "application/vnd.shop+json"
    default_status = 203


CLASSES = (Response, Keywords, Headers, Exact, Typed)


def made(kind: type[Response]) -> Gateway:
    legacy, native = Flask("old"), FastAPI()
    legacy.response_class = kind

    @legacy.after_request
    def seen(response: Response) -> Response:
        response.headers["X-Class"] = next(
            cls.__name__ for cls in type(response).__mro__ if cls in CLASSES
        )
        return response

    for path in ("/page", "/stream", "/empty"):
        legacy.add_url_rule(path, path[1:], lambda: "legacy")

    @native.get("/page")
    async def page() -> PlainTextResponse:
        return PlainTextResponse("native", 201, {"X-Own": "of the answer"})

    @native.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            yield b"b"

        return StreamingResponse(parts(), media_type="text/plain")

    @native.get("/empty")
    async def empty() -> NoContent:
        return NoContent(status_code=204)

    rule = {"prefix": "/", "cutover": "native", "auth": "none"}
    config = {"version": 1, "routes": [rule]}
    return Gateway(legacy=legacy, native=native, config=config, verify_lock=False)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_native_answer_in_any_class(kind: type[Response]) -> None:
    with serve(made(kind)) as url:
        page, stream = httpx.get(f"{url}/page"), httpx.get(f"{url}/stream")
        empty = httpx.get(f"{url}/empty")
    assert (page.status_code, page.text) == (201, "native")
    assert (stream.status_code, stream.text) == (200, "ab")
    assert (empty.status_code, empty.content) == (204, b"")
    assert "content-type" not in empty.headers
    assert page.headers["content-type"] == "text/plain; charset=utf-8"
    assert page.headers["x-own"] == "of the answer"
    assert page.headers.get_list("content-length") == ["6"]
    assert {each.headers["x-class"] for each in (page, stream, empty)} == {kind.__name__}
    frames = {each.headers.get("x-frame-options") for each in (page, stream, empty)}
    assert frames == ({"DENY"} if kind in (Headers, Exact) else {None})


@pytest.mark.parametrize("hooks", ["inherit", "skip"])
def test_an_answer_without_headers_gets_those_that_the_gateway_adds(hooks: str) -> None:
    async def native(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"bare"})

    legacy = Flask("old")
    legacy.add_url_rule("/bare", "bare", lambda: "legacy")
    rule = {"path": "/bare", "cutover": "native", "auth": "none", "hooks": hooks}
    config = {"version": 1, "served_by": True, "routes": [rule]}
    with serve(Gateway(legacy=legacy, native=native, config=config)) as url:
        answer = httpx.get(f"{url}/bare")
    assert (answer.text, answer.headers["x-served-by"]) == ("bare", "native")
