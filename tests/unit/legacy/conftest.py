"""Drive a bridge in memory: no socket, no server, the real pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from gateway.config import LegacyConfig
from gateway.legacy import Bridge, Pool

if TYPE_CHECKING:
    from starlette.types import Message


def make_scope(**changes: Any) -> dict[str, Any]:
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": ("192.0.2.1", 4711),
        "server": ("example.org", 80),
    }
    scope.update(changes)
    return scope


@dataclass(slots=True)
class Answer:
    """The ASGI messages of one answer, and the error the bridge raised, if any."""

    messages: list[Message] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])

    @property
    def complete(self) -> bool:
        return not self.messages[-1].get("more_body", True)


async def call(bridge: Bridge, scope: dict[str, Any], body: bytes = b"") -> Answer:
    answer = Answer()
    requests: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if requests:
            return requests.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        answer.messages.append(message)

    try:
        await bridge(scope, receive, send)
    except Exception as error:
        answer.error = error
    return answer


Run = Callable[..., Answer]


@pytest.fixture
def run() -> Run:
    """Serve one request by a WSGI app; return when its thread is idle again."""

    def run_one(app: Any, *, body: bytes = b"", config: Any = None, **scope: Any) -> Answer:
        async def main() -> Answer:
            pool = Pool(threads=1)
            pool.start()
            try:
                bridge = Bridge(app, pool, LegacyConfig(**(config or {})))
                return await call(bridge, make_scope(**scope), body)
            finally:
                assert await pool.drain(10)

        return asyncio.run(main())

    return run_one
