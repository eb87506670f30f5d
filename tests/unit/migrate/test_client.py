"""The client in this process: whatever the app does, an answer or its absence comes of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from gateway.migrate.prove.client import KEPT_BYTES, ask
from gateway.migrate.prove.planning import Request

GET = Request("GET", "/")


async def start(send: Any, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"x", b"y")]})


def received(app: Any, request: Request = GET) -> Any:
    return asyncio.run(ask(app, request, 0.3, 0.1))


def test_the_app_sees_the_request_and_the_client_the_answer() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend([scope, await receive()])
        await start(send, 201)
        await send({"type": "http.response.body", "body": b"done"})

    request = Request("POST", "/a%20b", "x=1", (("Host", "shop.test"), ("X-Name", "é")), b"body")
    answer = received(app, request)
    assert (answer.status, answer.headers, answer.body) == (201, [(b"x", b"y")], b"done")
    scope, message = seen
    assert (scope["method"], scope["path"], scope["raw_path"]) == ("POST", "/a b", b"/a%20b")
    assert scope["query_string"] == b"x=1"
    assert scope["headers"] == [(b"host", b"shop.test"), (b"x-name", "é".encode())]
    assert message == {"type": "http.request", "body": b"body", "more_body": False}


def test_an_endless_answer_is_left() -> None:
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await start(send)
        await send({"type": "http.response.body", "body": b"tick", "more_body": True})
        told.append((await receive())["type"])

    answer = received(app)
    assert (answer.status, answer.body, told) == (200, b"tick", ["http.disconnect"])


def test_an_app_that_never_ends_is_left_as_well() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await start(send)
        await asyncio.sleep(60)

    began = time.monotonic()
    assert received(app).status == 200
    assert time.monotonic() - began < 5


def test_no_answer_is_none() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    answer = received(app)
    assert (answer.status, answer.error) == (0, None)


def test_what_the_app_raises_is_kept() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("broken")

    answer = received(app)
    assert answer.status == 0
    assert str(answer.error) == "broken"


def test_only_the_head_of_a_long_body_is_kept() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await start(send)
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"x" * 3_000, "more_body": True})
        await send({"type": "http.response.body"})

    assert len(received(app).body) == KEPT_BYTES
