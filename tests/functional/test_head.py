"""HEAD of a moved GET: Flask's hooks see the GET's whole body, as they do before a move (F2 1)."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse
from flask import Flask, Response, request

from gateway import Gateway
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.network

TEXT = "a page of text"
SIDES = ("legacy", "moved")
HOOKS = ("etag", "digest", "length", "cut", "refuse", "none")


def legacy_app(seen: list[tuple[str, int]]) -> Flask:
    app = Flask("old")

    @app.after_request
    def after(response: Response) -> Response:
        hook = request.headers.get("X-Hook", "none")
        if hook == "none" or request.path.endswith("/endless"):
            return response
        seen.append((request.method, len(response.get_data())))
        if hook == "etag":
            response.add_etag()
            response.make_conditional(request)
        if hook == "digest":
            response.headers["X-Digest"] = hashlib.sha256(response.get_data()).hexdigest()
        if hook == "length":
            response.headers["X-Length"] = str(len(response.get_data()))
        if hook == "cut":
            response.set_data(response.get_data()[:3])
        if hook == "refuse" and TEXT not in response.get_data(as_text=True):
            message = "the body is gone"
            raise RuntimeError(message)
        return response

    def page() -> Response:
        return Response(TEXT, mimetype="text/plain")

    def stream() -> Response:
        return Response((TEXT for _ in range(2)), mimetype="text/plain")

    def endless() -> Response:
        return Response(forever(), mimetype="text/plain")

    for side in SIDES:
        for view in (page, stream, endless):
            app.add_url_rule(f"/{side}/{view.__name__}", f"{side}_{view.__name__}", view)
    return app


def forever() -> Iterator[str]:
    while True:
        yield TEXT


def native_app() -> FastAPI:
    app = FastAPI()

    @app.get("/moved/page")
    async def page() -> PlainTextResponse:
        return PlainTextResponse(TEXT)

    @app.get("/moved/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            yield TEXT
            yield TEXT

        return StreamingResponse(parts(), media_type="text/plain")

    @app.get("/moved/endless")
    async def endless() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            while True:
                yield TEXT

        return StreamingResponse(parts(), media_type="text/plain")

    return app


@pytest.fixture(scope="module")
def seen() -> list[tuple[str, int]]:
    return []


@pytest.fixture(scope="module")
def url(seen: list[tuple[str, int]]) -> Iterator[str]:
    rules = [
        {"path": f"/moved/{name}", "cutover": "native", "auth": "none"}
        for name in ("page", "stream", "endless")
    ]
    legacy: Any = legacy_app(seen)
    gateway = Gateway(
        legacy=legacy,
        native=native_app(),
        config={"version": 1, "served_by": True, "routes": rules},
    )
    with serve(gateway) as base:
        yield base


def facts(answer: httpx.Response) -> dict[str, Any]:
    headers = {k: v for k, v in answer.headers.items() if k not in ("date", "x-served-by")}
    return {"status": answer.status_code, "headers": headers, "body": answer.content}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("path", ["page", "stream"])
def test_hooks_see_the_body_of_the_get(
    url: str, seen: list[tuple[str, int]], path: str, hook: str
) -> None:
    asked, answers = [], []
    for side in SIDES:
        seen.clear()
        answers.append(facts(httpx.head(f"{url}/{side}/{path}", headers={"X-Hook": hook})))
        asked.append(list(seen))
    assert answers[0] == answers[1]
    assert answers[1]["body"] == b""
    assert asked[0] == asked[1]
    assert all(length for _, length in asked[1])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_conditional_request_is_answered_as_before(url: str, method: str) -> None:
    answers = []
    for side in SIDES:
        hook = {"X-Hook": "etag"}
        tag = httpx.get(f"{url}/{side}/page", headers=hook).headers["etag"]
        assert httpx.head(f"{url}/{side}/page", headers=hook).headers["etag"] == tag
        asked = {**hook, "If-None-Match": tag}
        answers.append(facts(httpx.request(method, f"{url}/{side}/page", headers=asked)))
    assert answers[0] == answers[1]
    assert answers[1]["status"] == 304


def test_native_answers_it(url: str) -> None:
    assert httpx.head(f"{url}/moved/page").headers["x-served-by"] == "native"


def test_an_endless_stream_answers_head_and_ends(url: str) -> None:
    for side in SIDES:
        answer = httpx.head(f"{url}/{side}/endless", timeout=20)
        assert (answer.status_code, answer.content) == (200, b"")


def test_a_stream_whose_answer_a_hook_has_replaced_ends() -> None:
    """The client may keep its connection for long: nothing else would tell the handler."""
    given: list[str] = []
    legacy, native = Flask("old"), FastAPI()
    legacy.add_url_rule("/endless", "endless", lambda: "legacy")

    @legacy.after_request
    def replace(_: Response) -> Response:
        return Response("another answer")

    @native.get("/endless")
    async def endless() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            while True:
                given.append(TEXT)
                yield TEXT
                await asyncio.sleep(0.01)

        return StreamingResponse(parts(), media_type="text/plain")

    rule = {"path": "/endless", "cutover": "native", "auth": "none"}
    gateway = Gateway(legacy=legacy, native=native, config={"version": 1, "routes": [rule]})
    with serve(gateway) as base, httpx.Client(base_url=base) as client:
        assert client.get("/endless").text == "another answer"
        time.sleep(0.3)
        before = len(given)
        time.sleep(0.3)
        assert 0 < before == len(given), "its client is still connected"
