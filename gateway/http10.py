"""Answers of unknown length to HTTP/1.0 clients: as they come, ended by closing the connection.

Those clients know no chunked coding (RFC 9112, sections 6.1 and 6.3). uvicorn's h11 protocol sees
to that, and so do other servers; its httptools protocol sends them chunk sizes. nginx speaks
HTTP/1.0 to the servers behind it unless it is told otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import Message, Scope, Send

_CYCLE = ("uvicorn.protocols.http.httptools_impl", "RequestResponseCycle")
_NO_BODY = frozenset({204, 304})


class _AnyLength(int):
    """The Content-Length that is left of an answer without one: any number of bytes fits."""

    def __lt__(self, _: object) -> bool:
        return False

    def __ne__(self, _: object) -> bool:
        return False

    def __sub__(self, _: object) -> _AnyLength:
        return self


def unchunked(scope: Scope, send: Send) -> Send:
    """Return the server's `send` of an HTTP/1.0 request, which adds no chunk sizes.

    Such a connection is closed after its answer, so that nothing else has to tell the end. Where
    the server isn't uvicorn with httptools, or a wrapper hides it, `send` itself is returned.
    """
    # Its state is private: httptools has no public way to say how an answer ends.
    cycle: Any = getattr(send, "__self__", None)
    if (type(cycle).__module__, type(cycle).__qualname__) != _CYCLE:
        return send

    async def plain(message: Message) -> None:
        if message["type"] == "http.response.start" and _is_open(scope, message):
            cycle.chunked_encoding = False
            cycle.expected_content_length = _AnyLength()
        await send(message)

    return plain


def _is_open(scope: Scope, start: Message) -> bool:
    """Tell whether only the end of the connection can say where the body ends."""
    if scope["method"] == "HEAD" or start["status"] in _NO_BODY:
        return False
    return all(bytes(name).lower() != b"content-length" for name, _ in start.get("headers", ()))
