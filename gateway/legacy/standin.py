"""An ASGI app that answers in the WSGI app's place, asked from inside of it.

The WSGI app is running on a worker thread, and deep inside something calls `Call.ask`. The worker
then waits while the ASGI app runs on the event loop, in a copy of the worker's context variables.
What comes back is an Answer: whole where the ASGI app gave it whole, else its head and a LoopBody.
A WSGI app that returns the very LoopBody it was given has nothing more to do with the answer: its
worker is freed, and the loop sends the rest by itself.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import time
import weakref
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from http import HTTPStatus
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gateway.exceptions import UseLegacy
from gateway.logs import logger_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope

    from gateway.legacy.pool import Doorbell

logger = logger_for(__name__)

T = TypeVar("T")

#: The StandIn that the running code belongs to.
current: ContextVar[StandIn] = ContextVar("gateway.stand_in")
#: Handlers whose outliving tasks have been looked for: once for each, as that takes a collection.
_reported: set[str] = set()
OUTLIVED_SECONDS = 5.0
"""How long after a request a task that it started is taken for one that forgot to end."""
SURE_SECONDS = 60.0
"""How much later it is named, if it is still there."""
HELD_BYTES = 262_144
"""An answer that says that it isn't longer than this is waited for as a whole."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the ASGI app answered: `body` whole as bytes, or still to come.

    `headers` are ASGI's. `error` is what the app raised after it had answered with 500, as
    Starlette does with an exception that no handler takes.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes | LoopBody
    error: Exception | None = None


class LoopBody:
    """The body of an ASGI answer that isn't over yet: a WSGI iterable, and an async `take`.

    Holds one message at a time: the ASGI app waits in `put` until it is taken.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._part: bytes | None = None
        self._ended = False
        self._abandoned = False
        self._error: BaseException | None = None
        self._changed = asyncio.Event()

    async def put(self, part: bytes) -> None:
        """Offer the next bytes, and return once they are taken or nobody wants any."""
        if not part:
            return
        self._part = part
        self._notify()
        while self._is_full():
            await self._changed.wait()
        if self._abandoned:
            # An app that never waits by itself must not keep the loop from telling it.
            await asyncio.sleep(0)

    def _is_full(self) -> bool:
        return self._part is not None and not self._abandoned

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes, because of `error` if there is one."""
        self._ended, self._error = True, error
        self._notify()

    async def take(self) -> bytes | None:
        """Return the next bytes, None at the end; raises what the ASGI app has raised."""
        while True:
            part, self._part = self._part, None
            if part is not None:
                self._notify()
                return part
            if self._error is not None:
                raise self._error
            if self._ended or self._abandoned:
                return None
            await self._changed.wait()

    def abandon(self) -> None:
        """Want no more; called on the loop."""
        self._abandoned = True
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # As a WSGI iterable, on a worker thread.

    def __iter__(self) -> LoopBody:
        """Return itself: it can be read once."""
        return self

    def __next__(self) -> bytes:
        """Wait for the next bytes."""
        part = asyncio.run_coroutine_threadsafe(self.take(), self._loop).result()
        if part is None:
            raise StopIteration
        return part

    def close(self) -> None:
        """Want no more (PEP 3333, "Specification Details")."""
        self._loop.call_soon_threadsafe(self.abandon)


class StandIn:
    """One run of an ASGI app, for a worker that waits for it.

    `answer` and what it calls are the worker's; everything else is the loop's.
    """

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        receive: Receive,
        bell: Doorbell,
        on_end: Callable[[], None],
    ) -> None:
        self._app = app
        self._on_end = on_end
        self._scope: Scope = {**scope, "extensions": {}}
        self._receive = receive
        self._bell = bell
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self._settled = False
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._size = 0
        self._holding = False  # the whole answer is waited for
        self._complete = False
        self._stream: LoopBody | None = None
        self._error: BaseException | None = None
        self._given_up = False
        self._context = Context()
        self.beside: object = None
        """What the app leaves for its asker beside the answer."""

    # The worker's side.

    def answer(self, timeout_seconds: float | None = None) -> Answer:
        """Run the app and wait for its answer. Raises what it raised before its first byte.

        Raises CancelledError where the request is given up meanwhile, TimeoutError where no answer
        has begun in time. A `def` handler that runs on this very thread can't be timed out.
        """
        context = copy_context()
        self._bell.ring(lambda: self._start(context))
        end = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        try:
            while (job := self._inbox.get(timeout=_left(end))) is not None:
                job()
        except Empty:
            self.give_up()
            message = f"native gave no answer within {timeout_seconds:g} s"
            raise TimeoutError(message) from None
        error = self._error
        if self._complete:
            known = error if isinstance(error, Exception) else None
            return Answer(self._status, self._headers, b"".join(self._parts), known)
        if self._stream is not None:
            return Answer(self._status, self._headers, self._stream)
        raise error if error is not None else RuntimeError("the native app gave no answer")

    def give_up(self) -> None:
        """Want nothing more of the app: somebody else answers. What it still raises is logged."""
        self._given_up = True
        self._bell.ring(self._drop)

    # The loop's side.

    def _drop(self) -> None:
        self.abandon()
        if self._task is not None and not (self._settled or self._task.done()):
            self._task.cancel()

    def _start(self, context: Context) -> None:
        if self._cancelled:
            self._error = asyncio.CancelledError()
            self._settle()
            self._on_end()
            return
        context.run(current.set, self)
        self._context = context
        self._task = self._bell.loop.create_task(self._run(), context=context)

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._send)
            if not self._complete and self._stream is None:
                message = "the native app returned without an answer"
                raise RuntimeError(message)  # noqa: TRY301 - as a server would find it
            self._end()
        except UseLegacy as error:
            self._error = error
            self._end(error)
        except BaseException as error:
            self._error = error
            self._end(error)
            raise
        finally:
            self._settle()
            self._on_end()

    def _end(self, error: BaseException | None = None) -> None:
        if self._stream is not None:
            self._stream.end(error)

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begin(message)
        elif message["type"] == "http.response.body":
            await self._add(message.get("body", b""), more=message.get("more_body", False))

    def _begin(self, message: Message) -> None:
        self._status = message["status"]
        self._headers = [(bytes(k), bytes(v)) for k, v in message.get("headers", ())]
        length = next((value for name, value in self._headers if name == b"content-length"), b"")
        self._holding = length.isdigit() and int(length) <= HELD_BYTES
        if not self._holding:
            # A body in one piece comes before the loop turns; a stream's head is never held back.
            self._bell.loop.call_soon(self._head_first)

    async def _add(self, data: bytes, *, more: bool) -> None:
        stream = self._stream
        if stream is None:
            self._parts.append(bytes(data))
            self._size += len(data)
            if not more:
                self._complete = True
                if self._status == HTTPStatus.INTERNAL_SERVER_ERROR:
                    # The exception behind it, if there is one, comes right after it.
                    self._bell.loop.call_soon(self._settle)
                else:
                    self._settle()
                return
            if self._holding and self._size <= HELD_BYTES:
                return
            stream = self._begin_stream()
            data = b"".join(self._parts)
        await stream.put(bytes(data))
        if not more:
            stream.end()

    def _head_first(self) -> None:
        if not (self._settled or self._complete):
            self._begin_stream()

    def _begin_stream(self) -> LoopBody:
        self._stream = LoopBody(self._bell.loop)
        self._settle()
        return self._stream

    def _settle(self) -> None:
        """Let the worker go on with what there is."""
        if not self._settled:
            self._settled = True
            self._inbox.put(None)

    async def on_worker(self, function: Callable[[], T]) -> T:
        """Run `function` on the waiting worker's thread, in the caller's context variables.

        So a plain `def` handler runs on the very thread of Flask's hooks. Once the worker has
        gone on, any thread will do.
        """
        if self._settled:
            return await asyncio.to_thread(function)
        job = _Job(function, self._bell)
        self._inbox.put(job)
        return await job.done

    def cancel(self) -> None:
        """Give the request up: the app is cancelled, the worker goes on with CancelledError."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    def abandon(self) -> None:
        """Let the app run on for nobody: what it still sends is dropped, as a server does.

        The server tells it that the client has left, once the answer has been sent (ASGI).
        """
        if self._stream is not None:
            self._stream.abandon()

    async def finish(self) -> None:
        """Wait for the app's end (background tasks included) and raise what it has raised."""
        task = self._task
        if task is None:
            return
        try:
            await task
        except Exception as error:
            if not (self._given_up or self._complete):
                raise
            # The client has its whole answer. In the app's own context, where an error tracker
            # that has reported the exception already knows it again.
            self._context.run(logger.error, "the native app failed", exc_info=error)
        except asyncio.CancelledError:
            # Cancelled by us after a timeout, or with the whole request.
            if not (self._given_up and task.cancelled()):
                raise
        # A task's context holds this object by `current`: without the cycle it goes when the
        # last of its contexts goes, so that one which is still there belongs to something alive.
        self._task, self._context = None, Context()
        asyncio.get_running_loop().call_later(
            OUTLIVED_SECONDS, _outlived, weakref.ref(self), _name_of(self._scope)
        )


class _Job(Generic[T]):
    """A function for the waiting worker, and the future of its result."""

    def __init__(self, function: Callable[[], T], bell: Doorbell) -> None:
        self.done: asyncio.Future[T] = bell.loop.create_future()
        self._function = function
        self._bell = bell
        self._context = copy_context()

    def __call__(self) -> None:
        try:
            result = self._context.run(self._function)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
            failure = error
            self._bell.ring(lambda: self._fail(failure))
        else:
            self._bell.ring(lambda: self._succeed(result))

    def _succeed(self, result: T) -> None:
        if not self.done.done():
            self.done.set_result(result)

    def _fail(self, error: BaseException) -> None:
        if self.done.done():
            logger.error("a handler failed after its request was given up", exc_info=error)
        elif isinstance(error, StopIteration):  # a future can't carry it
            self.done.set_exception(RuntimeError("a handler raised StopIteration"))
        else:
            self.done.set_exception(error)


def _left(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - time.monotonic())


def _name_of(scope: Scope) -> str:
    """Name the handler, and the template that it was found by, as far as the scope says."""
    template = getattr(scope.get("route"), "path", None)
    where = f"{scope['method']} {template}" if template else scope["method"]
    endpoint = scope.get("endpoint")
    if endpoint is None:
        return where
    endpoint = inspect.unwrap(endpoint)
    return f"{where} ({endpoint.__module__}.{getattr(endpoint, '__qualname__', endpoint)})"


#: Handlers, by name, whose request was still there after its time.
_suspects: dict[str, weakref.ref[StandIn]] = {}


def _outlived(stand_in: weakref.ref[StandIn], handler: str) -> None:
    """Note that something which a handler has started may live in its finished request."""
    if stand_in() is None or handler in _reported:
        return
    _reported.add(handler)
    if not _suspects:
        asyncio.get_running_loop().call_later(SURE_SECONDS, _look_again)
    _suspects[handler] = stand_in


def _look_again() -> None:
    """Name the handlers whose requests are still alive, not only held by a cycle.

    An exception's traceback is one. Collecting those stops the whole process for a moment: it is
    done once for all suspects, and only for what nothing else has collected for a while.
    """
    suspects = {**_suspects}
    _suspects.clear()
    if any(stand_in() is not None for stand_in in suspects.values()):
        gc.collect()
    for handler, stand_in in suspects.items():
        if stand_in() is not None:
            logger.warning(
                "%s started a task that outlives its request by more than %g s. It still sees the "
                "request's Flask context, whose teardown has run: what it opens there, a database "
                "session for instance, nobody closes. Use a background task, or "
                "`with app.app_context():` inside of it",
                handler,
                OUTLIVED_SECONDS,
            )


class OneReader:
    """An ASGI `receive` for several listeners, as servers need not allow two to wait at once.

    `http.disconnect` is told to each of them, whenever they ask. What comes of a body is told to
    those who wait for it, and then no more: whoever reads on must come to its end.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._waiting: asyncio.Future[Any] | None = None

    async def __call__(self) -> Message:
        """Wait for the next message."""
        waiting = self._waiting
        if waiting is None:
            waiting = self._waiting = asyncio.ensure_future(self._receive())
        message: Message = await asyncio.shield(waiting)
        if message["type"] == "http.request" and self._waiting is waiting:
            self._waiting = None
        return message

    def close(self) -> None:
        """Stop waiting."""
        if self._waiting is not None:
            self._waiting.cancel()
