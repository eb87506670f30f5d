"""Why the bridge answers a request itself, and how: short plain text with the right status."""

from __future__ import annotations

import asyncio
import http
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Receive, Send

LINGER_SECONDS = 1.0


class ClientLeftError(ConnectionResetError):
    """The client closed the connection, or the server gave up this request.

    An OSError, because that is what WSGI apps expect a failing `wsgi.input` to raise.
    """


class ClientStalledError(TimeoutError):
    """The client sent nothing of a streamed body for `legacy.body_timeout`.

    An OSError too, for the same reason.
    """


async def linger(receive: Receive, seconds: float = LINGER_SECONDS) -> None:
    """Read and forget what a client still sends, at most `seconds`, or until it stops.

    Closing a socket with unread bytes makes TCP send a reset, which may destroy the answer before
    the client has read it (RFC 9112, section 9.6).
    """
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return


async def send_text(
    send: Send,
    status: int,
    reason: str = "",
    *,
    retry_after: float | None = None,
    unread: Receive | None = None,
    patient: bool = True,
    head: bool = False,
) -> None:
    """Answer with one line of plain text: `503 Service Unavailable: the queue is full`.

    `retry_after` is in seconds. `unread` is given where the request body was not read: the
    connection is then closed after the answer; `patient`, once the client has had time to take it.
    """
    text = f"{status} {http.HTTPStatus(status).phrase}"
    body = f"{text}: {reason}\n".encode() if reason else f"{text}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
    ]
    if retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(retry_after))))
    if unread is not None:
        headers.append((b"connection", b"close"))
    if head:
        body = b""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if unread is not None and patient:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await linger(unread)
        body = b""
    await send({"type": "http.response.body", "body": body, "more_body": False})
