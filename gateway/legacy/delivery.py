"""The loop's side of a call: queue it, send what the worker hands over, notice who left."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from gateway.exceptions import GatewayError, Handover, QueueTimeout, RequestRefused
from gateway.legacy.refusals import ClientLeftError, linger, send_text
from gateway.logs import logger_for
from gateway.secrecy import path_without_secrets

if TYPE_CHECKING:
    from starlette.types import Receive, Send

    from gateway.config import LegacyConfig
    from gateway.legacy.call import Call
    from gateway.legacy.pool import Pool
    from gateway.legacy.standin import LoopBody

logger = logger_for(__name__)

MESSAGE_BYTES = 262_144
SLOW_MESSAGE_BYTES = 16_384
SLOW_SECONDS = 1.0


class _ClientGoneError(Exception):
    """The server's send() raised OSError, as it may once the client has left (ASGI 2.4)."""


class _ClientStuckError(Exception):
    """The client took nothing for `send_timeout`."""


class Delivery:
    """Brings one call through the pool and its answer to the client."""

    __slots__ = ("_call", "_config", "_loop", "_message_bytes", "_pool", "_receive", "_send",
                 "_watcher")  # fmt: skip

    def __init__(
        self, call: Call, pool: Pool, config: LegacyConfig, receive: Receive, send: Send
    ) -> None:
        self._call = call
        self._pool = pool
        self._config = config
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._watcher: asyncio.Task[None] | None = None
        self._message_bytes = MESSAGE_BYTES

    async def run(self) -> None:
        """Do it. Raises as `Bridge.serve` does."""
        call = self._call
        expiry: asyncio.TimerHandle | None = None
        try:
            running = self._pool.submit(call)
        except GatewayError as error:
            call.discard()
            if not isinstance(error, RequestRefused):
                raise
            await self._refuse(error)
            return
        try:
            if not running:
                expiry = self._wait_in_queue()
            await call.waiter
            taken = call.take()
            if call.error is not None:
                await self._answer_error(call.error)
            elif taken is not None and not call.abandoned:
                await self._answer(*taken)
        finally:
            if expiry is not None:
                expiry.cancel()
                if self._pool.withdraw(call, refused=False):  # cancelled while it waited
                    call.discard()
            if self._watcher is not None:
                self._watcher.cancel()
            if not call.finished:
                call.abandon()

    # Waiting for a thread.

    def _wait_in_queue(self) -> asyncio.TimerHandle:
        if not self._expects_continue():  # reading would make the server ask for the body
            self._watcher = self._loop.create_task(self._watch())
        return self._loop.call_later(self._pool.queue_timeout, self._expire)

    def _expire(self) -> None:
        if self._pool.withdraw(self._call, refused=True):
            message = f"no thread became free within {self._pool.queue_timeout:g} s"
            self._call.refuse(QueueTimeout(message))

    async def _watch(self) -> None:
        """End the call when the client leaves: `send` doesn't tell, only `receive` does."""
        call = self._call
        try:
            if call.feed is not None:
                await call.feed.watch()
            else:
                while (await self._receive())["type"] == "http.request":
                    pass
        except Exception:
            logger.exception("the server's receive() failed")
        if self._pool.withdraw(call, refused=False):
            call.discard()
        call.abandon()

    # Answering.

    async def _answer(self, parts: list[bytes], last: bool) -> None:
        call = self._call
        unread = call.feed is not None and not call.feed.complete
        if unread:
            call.headers.append((b"connection", b"close"))
        if last and not unread:
            parts = [parts[0] if len(parts) == 1 else b"".join(parts)]
        try:
            try:
                await self._send(
                    {"type": "http.response.start", "status": call.status, "headers": call.headers}
                )
                if last and not unread and call.rest is None and len(parts[0]) <= MESSAGE_BYTES:
                    await self._send(
                        {"type": "http.response.body", "body": parts[0], "more_body": False}
                    )
                    return
            except OSError as error:
                raise _ClientGoneError from error
            if call.rest is not None:
                await self._stream_rest(call.rest)
                return
            await self._stream(parts, last=last, unread=unread)
        except _ClientStuckError:
            logger.warning(
                "a client took nothing of its answer for %g s; closing",
                self._config.send_timeout,
            )
        except _ClientGoneError:
            logger.debug("the client left during its answer", exc_info=True)

    async def _stream(self, parts: list[bytes], *, last: bool, unread: bool) -> None:
        call = self._call
        if not last and self._watcher is None:
            self._watcher = self._loop.create_task(self._watch())
        while not last:
            if parts:
                await self._send_parts(parts, more=True)
            taken = call.take()
            while taken is None:
                await call.waiter
                taken = call.take()
            parts, last = taken
            if not (parts or last):
                if call.abandoned:
                    return
                if call.error is not None:
                    raise call.error
        if unread and not self._expects_continue():
            await self._send_parts(parts, more=True)
            await self._stop_watching()
            await linger(self._receive)
            parts = []
        await self._send_parts(parts, more=False)

    async def _stream_rest(self, rest: LoopBody) -> None:
        """Send what an ASGI app answers on the loop, its worker gone; it watches the client."""
        try:
            while (part := await rest.take()) is not None:
                await self._send_parts([part], more=True)
        finally:
            rest.abandon()
        await self._send_parts([b""], more=False)

    async def _send_parts(self, parts: list[bytes], *, more: bool) -> None:
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if len(data) <= self._message_bytes:
            await self._send_piece(data, more=more)
            return
        view = memoryview(data)
        start = 0
        while start < len(data):
            piece = bytes(view[start : start + self._message_bytes])
            start += len(piece)
            await self._send_piece(piece, more=more or start < len(data))

    async def _send_piece(self, data: bytes, *, more: bool) -> None:
        """Send one message; tell a client that takes nothing from one that has left.

        A slow client gets small messages: that it took half of a large one could not be seen.
        """
        clock = self._loop.time
        started = clock()
        try:
            async with asyncio.timeout(self._config.send_timeout):
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
        except TimeoutError as error:
            raise _ClientStuckError from error
        except OSError as error:
            raise _ClientGoneError from error
        slow = clock() - started > SLOW_SECONDS
        self._message_bytes = SLOW_MESSAGE_BYTES if slow else MESSAGE_BYTES

    # Where the app gave no answer.

    async def _answer_error(self, error: BaseException) -> None:
        call = self._call
        if isinstance(error, RequestRefused):
            call.discard()
            await self._refuse(error)
        elif call.abandoned or isinstance(error, ClientLeftError):
            return
        elif isinstance(error, Handover):
            await self._hand_over(error)
        else:
            await self._answer_500(error)

    async def _hand_over(self, handover: Handover) -> None:
        call = self._call
        await self._stop_watching()
        if call.feed is not None:
            if not call.feed.replayable:
                await self._answer_500(handover, "its streamed body was already read")
                return
            handover.receive = call.feed.replay
        elif call.body is not None:
            handover.receive = call.body.replay(self._receive)
        handover.environ = call.environ
        raise handover

    async def _answer_500(self, error: BaseException, why: str = "") -> None:
        environ = self._call.environ
        method, path = environ["REQUEST_METHOD"], path_without_secrets(environ["PATH_INFO"])
        if isinstance(error, Handover):
            logger.error("%s %s can't be handed over: %s", method, path, why)
        else:
            logger.error("%s %s failed", method, path, exc_info=error)
        await self._send_text(500)

    async def _refuse(self, error: RequestRefused) -> None:
        await self._send_text(error.status, str(error))

    async def _send_text(self, status: int, reason: str = "") -> None:
        feed = self._call.feed
        unread = feed is not None and not feed.complete
        if unread:
            await self._stop_watching()
        await send_text(
            self._send,
            status,
            reason,
            retry_after=self._pool.queue_timeout
            if status == HTTPStatus.SERVICE_UNAVAILABLE
            else None,
            unread=self._receive if unread else None,
            patient=not self._expects_continue(),
            head=self._call.environ["REQUEST_METHOD"] == "HEAD",
        )

    async def _stop_watching(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.wait((watcher,))

    def _expects_continue(self) -> bool:
        expect = self._call.environ.get("HTTP_EXPECT", "")
        return bool(expect.lower() == "100-continue")
