"""A native answer that hasn't begun can still become legacy's: by failing, or by asking for it.

Until the first byte has left, nobody knows who answers. So the native app runs behind a gate that
lets a good answer through and holds back a bad one (5xx), and what it has read of the body is kept
to be read again.
"""

from __future__ import annotations

import asyncio
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.exceptions import RequestRefused
from gateway.legacy import Spool, SpoolBudget
from gateway.logs import logger_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Message, Receive, Send

logger = logger_for("gateway.failover")

_FIRST_ERROR = 500
_BLOCK = 262_144
#: Native apps that still run for nobody, after their answer was given up.
_left: set[asyncio.Task[None]] = set()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why native's answer was given up before its first byte."""

    what: str


async def attempt(
    run: Callable[[Receive, Send], Awaitable[None]],
    receive: Receive,
    send: Send,
    timeout_seconds: float | None,
) -> Failure | None:
    """Run the native app; None once its answer has gone out, else why it may not.

    After the first byte whatever it raises is raised. A timed-out app is cancelled, but a `def`
    handler runs on in its thread: nobody waits for it.
    """
    gate = _Gate(send)
    # In a context that is at hand afterwards: an error tracker that has reported the exception in
    # it knows the exception again.
    context = copy_context()
    task = asyncio.get_running_loop().create_task(_awaited(run(receive, gate)), context=context)
    try:
        await asyncio.wait(
            {task, gate.settled}, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if gate.open:
            await task
            return None
    except asyncio.CancelledError:
        task.cancel()
        raise
    gate.closed = True
    if gate.status:
        _leave(task, context)
        return Failure(f"native answered {gate.status}")
    if not task.done():
        task.cancel()
        _leave(task, context)
        return Failure(f"native gave no answer within {timeout_seconds:g} s")
    error = task.exception()
    if error is not None and not isinstance(error, Exception):
        raise error  # a Handover, or the end of the process
    if error is not None:
        context.run(logger.error, "native failed before its first byte", exc_info=error)
        return Failure(f"native raised {type(error).__name__}")
    return Failure("native gave no answer")


async def _run(
    run: Callable[[Receive, Send], Awaitable[None]], receive: Receive, gate: _Gate
) -> None:
    await run(receive, gate)


async def _awaited(answer: Awaitable[None]) -> None:
    await answer


def _leave(task: asyncio.Task[None], context: Context) -> None:
    def over(task: asyncio.Task[None]) -> None:
        _left.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("native failed before its first byte", exc_info=error)

    _left.add(task)
    task.add_done_callback(over, context=context)


class _Gate:
    """A `send` that opens with the head of a good answer, and holds back a bad one."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.open = False
        self.closed = False
        self.status = 0
        """The status of the bad answer that was held back."""

    async def __call__(self, message: Message) -> None:
        if self.open:
            await self._send(message)
            return
        if self.closed or self.status:
            return
        if message["type"] != "http.response.start":
            return
        if message["status"] >= _FIRST_ERROR:
            self.status = message["status"]
        else:
            self.open = True
            await self._send(message)
        if not self.settled.done():
            self.settled.set_result(None)


class KeptBody:
    """A `receive` that remembers what it gives, in memory up to `memory` bytes, then on disk."""

    def __init__(self, receive: Receive, memory: int, budget: SpoolBudget) -> None:
        self._receive = receive
        self._memory, self._budget = memory, budget
        self._parts: list[bytes] = []
        self._held = 0
        self._size = 0
        self._spool: Spool | None = None
        self._complete = False
        self._detached = False
        self.lost: RequestRefused | None = None
        """Why the body can't be read again."""

    async def __call__(self) -> Message:
        """Receive for the native app; once it has failed, it is told that the client has left."""
        if self._detached:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request":
            await self._keep(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        return message

    async def _keep(self, data: bytes) -> None:
        if self.lost is not None or not data:
            return
        self._parts.append(data)
        self._held += len(data)
        self._size += len(data)
        if self._held <= self._memory:
            return
        try:
            if self._spool is None:
                self._spool = await asyncio.to_thread(Spool, self._budget)
            parts, self._parts, self._held = self._parts, [], 0
            await asyncio.to_thread(self._spool.write, b"".join(parts))
        except RequestRefused as refused:
            self.lost, self._parts = refused, []

    def again(self) -> Receive:
        """Return a `receive` that begins at the start; the native app gets nothing more.

        Raises RequestRefused where there was no room to keep it all.
        """
        self._detached = True
        if self.lost is not None:
            raise self.lost
        if self._spool is not None:
            self._spool.write(b"".join(self._parts))
            self._spool.rewind()
            self._parts = []
        return _Again(self._parts, self._spool, self._size, self._receive, complete=self._complete)

    def close(self) -> None:
        """Delete what is on disk. Idempotent."""
        if self._spool is not None:
            self._spool.close()


class _Again:
    def __init__(
        self,
        parts: list[bytes],
        spool: Spool | None,
        size: int,
        receive: Receive,
        *,
        complete: bool,
    ) -> None:
        self._parts, self._spool, self._size = parts, spool, size
        self._receive, self._complete = receive, complete
        self._at = 0
        self._over = False

    async def __call__(self) -> Message:
        if self._over:
            return await self._receive()
        if self._spool is not None:
            data = await asyncio.to_thread(self._spool.read_at, self._at, _BLOCK)
            self._at += len(data)
            self._over = self._at >= self._size or not data
        else:
            data, self._over = b"".join(self._parts), True
        if not data and not self._complete:
            return await self._receive()
        return {
            "type": "http.request",
            "body": data,
            "more_body": not (self._over and self._complete),
        }
