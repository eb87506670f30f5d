"""What the client was served, kept for a mirror while it goes by; and what the mirror answers.

Nothing here waits for anything, and nothing changes what passes through.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING

from gateway.cutover import OWN_COOKIE
from gateway.shadow.answer import Answer
from gateway.state import Reached, request_state

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping
    from contextvars import Context

    from starlette.types import Message, Receive, Scope, Send

    from gateway.shadow.effects import Recording

#: Messages of ASGI extensions that carry a body past us.
_BEYOND = frozenset({"http.response.pathsend", "http.response.zerocopysend"})


_OWN = OWN_COOKIE.encode()


class Unfit(OSError):
    """An answer isn't to be compared; `why` is the outcome to count."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Collected:
    """One answer as its ASGI messages make it: at most `most` bytes of body.

    `why` is set, and no body is kept any more, where it turns out not to be fit for comparison:
    `stream` (server-sent events have no end), `too_long` or `timeout`.
    """

    __slots__ = ("_parts", "_size", "complete", "headers", "most", "status", "why")

    def __init__(self, most: int) -> None:
        self.most = most
        self.status = 0
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        self.complete = False
        self.why: str | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def note(self, message: Message) -> None:
        """Take note of one message."""
        kind = message["type"]
        if kind == "http.response.body":
            body = message.get("body", b"")
            if body and self.why is None:
                self._size += len(body)
                self._parts.append(body)
                if self._size > self.most:
                    self.give_up("too_long")
            self.complete = not message.get("more_body", False)
        elif kind == "http.response.start":
            self.status = message["status"]
            self.headers = self._headers(message.get("headers", ()))
        elif kind in _BEYOND:
            self.give_up("too_long")

    def _headers(self, pairs: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
        kept: list[tuple[bytes, bytes]] = []
        for name, value in pairs:
            key = name.lower()
            if key == b"set-cookie" and value.startswith(_OWN):
                continue  # the gateway's own cookie is none of the apps' doing
            if key == b"content-type" and value.lower().startswith(b"text/event-stream"):
                self.give_up("stream")
            kept.append((key, value))
        return tuple(kept)

    def give_up(self, why: str) -> None:
        """Keep no body: status and headers are all that counts of it."""
        self.why = why
        self._parts.clear()

    def answer(self, error: BaseException | None, reached: Reached) -> Answer:
        """Return it as a value."""
        body = b"".join(self._parts)
        return Answer(self.status, self.headers, body, error, reached.by_hook, self.why)


def _has_body(headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether a request brings bytes (RFC 9112, section 6.3); many clients announce none."""
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"").strip(b"0") != b""


def apart(scope: Scope) -> Scope:
    """Return a copy that isn't changed with the scope: apps change headers and state in place."""
    copy: Scope = {**scope, "headers": list(scope["headers"])}
    if "state" in scope:
        copy["state"] = dict(scope["state"])
    return copy


class Kept:
    """One request on its way to the side that answers the client, and that side's answer.

    `scope` is a copy from before either app has seen it, and so is `state`, what `request_state()`
    held; `context` holds the context variables of that moment. `length` is the largest body, in
    bytes, of request and answer.
    """

    __slots__ = (
        "_body",
        "_left",
        "_receive",
        "_send",
        "_size",
        "answer",
        "context",
        "effects",
        "reached",
        "scope",
        "state",
        "whole",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, length: int) -> None:
        self.scope = apart(scope)
        self.state = dict(request_state())
        self.context: Context = copy_context()
        self.answer = Collected(length)
        self.effects: Recording | None = None
        """What the side that answers does besides; None where nobody wants to know."""
        self.reached = Reached()
        """How far the request has come in the legacy app."""
        self.whole = False
        """Whether the request's body has been read to its end."""
        self._receive, self._send = receive, send
        self._left = False
        self._body: list[bytes] = []
        self._size = 0

    async def receive(self) -> Message:
        """Receive for the side that answers the client."""
        message = await self._receive()
        if message["type"] == "http.request":
            body = message.get("body", b"")
            self._size += len(body)
            if self._size <= self.answer.most:
                self._body.append(body)
            self.whole = not message.get("more_body", False)
        elif not self.answer.complete:
            # What is sent from here on may be cut short: nobody gets it.
            self._left = True
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Send to the client, and keep it."""
        if message["type"] == "http.response.start":
            # A list: the headers may be an iterable that can be read once.
            message = {**message, "headers": list(message.get("headers", ()))}
        self.answer.note(message)
        return self._send(message)

    @property
    def unfit(self) -> str | None:
        """Why the other side isn't asked; None: it is.

        Of an answer that is too long for comparison, who was let in can still be compared.
        """
        if self.answer.why == "stream":
            return "stream"
        if self._size > self.answer.most:
            return "too_long"
        headers = dict(self.scope["headers"])
        if b"upgrade" in headers:
            return "upgrade"
        if not self.whole and _has_body(headers):
            return "unread"  # the side that answered has not read the body to its end
        if self.answer.complete and not self._left:
            return None
        return self.answer.why or "aborted"

    def again(self) -> Again:
        """Return what gives the request's body once more."""
        return Again(b"".join(self._body))


class Again:
    """A `receive` with the whole body at once, for a client that never leaves by itself."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._over: asyncio.Event | None = None
        self._ended = False

    async def __call__(self) -> Message:
        """Receive for the mirrored side."""
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        if not self._ended:
            if self._over is None:
                self._over = asyncio.Event()  # most handlers never wait for it
            await self._over.wait()
        return {"type": "http.disconnect"}

    def end(self) -> None:
        """Say that the answer is complete: only now has the client left."""
        self._ended = True
        if self._over is not None:
            self._over.set()


class Collecting:
    """A `send` that goes nowhere: it keeps the answer of a mirrored request.

    Raises Unfit where it isn't worth going on; to the handler that is a client who has left.
    """

    def __init__(self, again: Again, most: int) -> None:
        self.answer = Collected(most)
        self._again = again

    async def __call__(self, message: Message) -> None:
        """Take one message."""
        self.answer.note(message)
        if self.answer.complete:
            self._again.end()
        if self.answer.why is not None:
            raise Unfit(self.answer.why)
