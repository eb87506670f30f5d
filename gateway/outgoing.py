"""What the gateway adds to an answer on its way out, and a GET's answer to a HEAD request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.cutover import Decision, set_cookie
from gateway.routing import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Message, Receive, Scope, Send

    from gateway.flask.inside import Passport
    from gateway.snapshot import Snapshot


def adding(
    snapshot: Snapshot,
    decision: Decision,
    scope: Scope | Mapping[str, Any],
    send: Send,
    passport: Passport | None = None,
) -> Send:
    """Return `send` with what the gateway adds to this answer's headers; mostly `send` itself."""
    widen = scope["method"] == "OPTIONS" or decision.reason is Reason.METHOD
    if not snapshot.config.served_by and decision.mint is None and not widen:
        return send
    added: list[tuple[bytes, bytes]] = []
    if decision.mint is not None:
        secure = scope.get("scheme") in ("https", "wss")
        added.append((b"set-cookie", set_cookie(*decision.mint, secure=secure)))

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), *added]
            if snapshot.config.served_by:
                headers.append((b"x-served-by", _server(decision, passport)))
            if widen:
                headers = _widen(headers, snapshot, scope)
            message = {**message, "headers": headers}
        await send(message)

    return answer


def _server(decision: Decision, passport: Passport | None) -> bytes:
    """Name who answered: where Flask's hooks or the guard came first, not always who was to."""
    if passport is None:
        return decision.side.encode()
    return b"native" if passport.asked else b"legacy"


def _widen(
    headers: list[tuple[bytes, bytes]], snapshot: Snapshot, scope: Scope | Mapping[str, Any]
) -> list[tuple[bytes, bytes]]:
    """Make a present `Allow` name the methods of both sides (RFC 9110, section 10.2.1)."""
    said = [value for name, value in headers if name.lower() == b"allow"]
    if not said:
        return headers
    methods = {m.strip() for value in said for m in value.decode("latin-1").split(",")}
    more = sorted(snapshot.table.allowed(scope) - methods)
    if not more:
        return headers
    value = b", ".join([*said, *(method.encode("latin-1") for method in more)])
    kept = [(name, old) for name, old in headers if name.lower() != b"allow"]
    return [*kept, (b"allow", value)]


class WithoutBody:
    """Send a GET's answer to a HEAD request: its headers as they are, no body (RFC 9110, 9.3.2).

    After the headers the handler is told that the client has left, so that streams end.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._done = False

    async def receive(self) -> Message:
        """Receive, for the handler."""
        if self._done:
            return {"type": "http.disconnect"}
        return await self._receive()

    async def send(self, message: Message) -> None:
        """Send on what a HEAD request may be answered."""
        if self._done:
            return
        if message["type"] == "http.response.start":
            await self._send(message)
        elif message["type"] == "http.response.body":
            self._done = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._send(message)
