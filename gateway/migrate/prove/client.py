"""An HTTP client for an ASGI app in this process: one request, and the head of its answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Scope

    from gateway.migrate.prove.planning import Request

#: So much of a body is kept, in bytes.
KEPT_BYTES = 4_096
#: How long the first byte may take, and what comes after it (an endless stream is cut off).
FIRST_SECONDS = 30.0
REST_SECONDS = 2.0


@dataclass(slots=True)
class Received:
    """What came of a request. `status` is 0 where nothing did; `error` is what the app raised."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    error: Exception | None = None


async def ask(
    app: ASGIApp, request: Request, first: float = FIRST_SECONDS, rest: float = REST_SECONDS
) -> Received:
    """Send one request in the running context, and return when its answer is complete.

    The client leaves where the answer doesn't begin within `first` seconds, or doesn't end `rest`
    seconds later. Nothing is raised.
    """
    exchange = _Exchange(request)
    task = asyncio.create_task(exchange.run(app))
    started = asyncio.create_task(exchange.started.wait())
    await asyncio.wait({task, started}, timeout=first, return_when="FIRST_COMPLETED")
    if exchange.received.status:
        await asyncio.wait({task}, timeout=rest)
    exchange.gone.set()
    if not task.done():
        await asyncio.wait({task}, timeout=rest)
    for each in (task, started):
        each.cancel()
    await asyncio.gather(task, started, return_exceptions=True)
    return exchange.received


class _Exchange:
    """One request and its answer."""

    def __init__(self, request: Request) -> None:
        self.received = Received()
        self.started, self.gone = asyncio.Event(), asyncio.Event()
        self._request = request
        self._sent = False

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(self._scope(), self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - an app may raise anything
            self.received.error = error

    def _scope(self) -> Scope:
        request = self._request
        headers = [
            (name.lower().encode("latin-1"), value.encode()) for name, value in request.headers
        ]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": unquote(request.path),
            "raw_path": request.path.encode(),
            "root_path": "",
            "query_string": request.query.encode(),
            "headers": headers,
            "client": ("127.0.0.1", 50_000),
            "server": ("localhost", 80),
            "state": {},
        }

    async def _receive(self) -> Message:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": self._request.body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.received.status = message["status"]
            self.received.headers = list(message.get("headers", ()))
            self.started.set()
        elif message["type"] == "http.response.body":
            room = KEPT_BYTES - len(self.received.body)
            self.received.body += message.get("body", b"")[: max(0, room)]
            if not message.get("more_body", False):
                self.gone.set()
