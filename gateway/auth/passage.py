"""One request on its way through the guard, and what the guard hands on."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException

from gateway.state import is_mirror

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi.routing import APIRoute
    from starlette.types import Message, Receive, Scope, Send

    from gateway.auth.principal import Principal

    Rest = Callable[["Passed"], Awaitable[None]]

#: How much of a body a dependency may read; it is kept for whoever serves the request.
MAX_READ_BYTES = 10_000_000
#: Headers about a body that isn't the dependency's.
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_HEADS = frozenset(
    {"http.response.start", "websocket.accept", "websocket.http.response.start"},
)
_SCHEMES = {"ws": "http", "wss": "https"}
#: Policy Violation (RFC 6455, section 7.4.1).
_REFUSED_CODE = 1008
_EXTENSION = "websocket.http.response"


@dataclass(frozen=True, slots=True)
class Passed:
    """What a dependency that refused nobody leaves behind.

    `principal` is None where it returned None: an anonymous caller that it lets in. `receive`
    gives the whole body again. `headers` are those that it set on its `response` parameter,
    cookies included; `state` is `request.state` with what it put there.
    """

    principal: Principal | None
    receive: Receive
    headers: tuple[tuple[bytes, bytes], ...] = ()
    state: dict[str, Any] = field(default_factory=dict)

    def sending(self, send: Send) -> Send:
        """Return `send` with the headers added to the answer's, as FastAPI adds them."""
        if not self.headers:
            return send

        async def added(message: Message) -> None:
            if message["type"] in _HEADS:
                headers = [*message.get("headers", ()), *self.headers]
                message = {**message, "headers": headers}
            await send(message)

        return added


class Passage:
    """One request in the guard's app. `solver` is None where there is no route to stand on."""

    def __init__(
        self,
        rest: Rest,
        receive: Receive,
        send: Send,
        *,
        solver: APIRoute | None,
        requires: frozenset[str],
        child_scope: Scope,
        state: dict[str, Any],
    ) -> None:
        self.solver, self.requires, self.child_scope = solver, requires, child_scope
        self.passed = False
        """From here on the answer is the rest's affair, and so are its errors."""
        self.error: Exception | None = None
        """What the rest has raised."""
        self._rest, self._state = rest, state
        self._receive = receive
        self._send = send
        self._read: list[Message] = []
        self._size = 0

    async def receive(self) -> Message:
        """Read for the dependency, and remember it for whoever serves the request."""
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > MAX_READ_BYTES:
            raise HTTPException(413, "Content Too Large")
        self._read.append(message)
        return message

    async def send(self, message: Message) -> None:
        """Send the guard's own refusal."""
        if not self.passed:
            await self._send(message)

    async def go_on(self, principal: Principal | None, headers: list[tuple[bytes, bytes]]) -> None:
        """Serve the request. A mirrored one's headers reach nobody."""
        self.passed = True
        kept = () if is_mirror() else tuple(each for each in headers if each[0] not in _FRAMING)
        receive = self._replay if self._read else self._receive
        try:
            await self._rest(Passed(principal, receive, kept, self._state))
        except Exception as error:
            self.error = error
            raise

    async def _replay(self) -> Message:
        return self._read.pop(0) if self._read else await self._receive()


def handshake(scope: Scope) -> Scope:
    """Return the HTTP request that opens a WebSocket: a GET (RFC 6455, section 4.1)."""
    scheme = scope.get("scheme", "ws")
    return {**scope, "type": "http", "method": "GET", "scheme": _SCHEMES.get(scheme, scheme)}


async def no_body() -> Message:
    """Receive the body of a handshake: it has none."""
    return {"type": "http.request", "body": b"", "more_body": False}


class Refusal:
    """Sends an HTTP answer in place of accepting a WebSocket.

    Where the server can't send one (ASGI, "WebSocket Denial Response"), the connection is closed
    before it opens: the client sees 403.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._can_answer = _EXTENSION in (scope.get("extensions") or {})
        self._receive, self._send = receive, send
        self._began = False

    async def send(self, message: Message) -> None:
        """Send on one message of an HTTP answer."""
        if not self._began:
            self._began = True
            await self._receive()  # websocket.connect
            if not self._can_answer:
                reason = HTTPStatus(message["status"]).phrase
                close = {"type": "websocket.close", "code": _REFUSED_CODE, "reason": reason}
                await self._send(close)
        if self._can_answer:
            await self._send({**message, "type": f"websocket.{message['type']}"})
