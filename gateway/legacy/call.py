"""One request inside the WSGI app: PEP 3333 on the worker's side, bounded bytes to the loop's.

A call goes one way through these states; each transition happens under its lock:

=========  ============================  ==================================================
state      entered when                  the loop's task then
=========  ============================  ==================================================
waiting    created                       sleeps until the worker hands over something
committed  the first body byte is there  sends the head, and what is gathered behind it
finished   the last byte is there        sends the rest and is done; `close()` follows
failed     the app raised                500 if the head is still here, else aborts
abandoned  the client left, cancelled    is gone; the worker closes at its next chunk
=========  ============================  ==================================================

An answer may also be committed with a `rest`: the worker is done, and the loop's task takes the
body from there.
"""

from __future__ import annotations

import asyncio
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, cast

from gateway.exceptions import AnswerAbortedError, Handover, RequestRefused
from gateway.legacy.body import FeedReader, SpooledBody
from gateway.legacy.headers import encode_headers
from gateway.legacy.refusals import ClientLeftError
from gateway.legacy.standin import LoopBody, StandIn
from gateway.logs import logger_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from a2wsgi.wsgi_typing import Environ, ExceptionInfo, WriteCallable, WSGIApp
    from starlette.types import ASGIApp, Receive, Scope

    from gateway.legacy.body import BodyFeed, StreamedInput
    from gateway.legacy.pool import Doorbell
    from gateway.legacy.standin import Answer

logger = logger_for(__name__)

#: Where the app finds its Call, if it may `ask` an ASGI app for the answer.
CALL_KEY = "gateway.call"

HELD_BYTES = 262_144
"""The worker waits while the client has this much of an answer still to take."""

MAX_CACHED_STATUSES = 256

#: What an app may end with once nobody waits for its answer, without being faulty.
_EXPECTED = (ClientLeftError, Handover, RequestRefused, asyncio.CancelledError)

_codes: dict[object, int] = {}
_NO_BODY = frozenset({204, 205, 304})  # RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5
_NO_LENGTH = frozenset({204, 304})  # a 205 says that its length is 0 (RFC 9110, section 15.3.6)


class Call:
    """A job of the pool, and the channel between its worker and the task that awaits it.

    `run` and what it calls are the worker's; `take`, `abandon` and `refuse` are the loop's.
    """

    __slots__ = (
        "_app",
        "_bell",
        "_bodiless",
        "_context",
        "_held",
        "_left",
        "_lock",
        "_parts",
        "_readers",
        "_room",
        "_status",
        "_waiting",
        "abandoned",
        "body",
        "environ",
        "error",
        "feed",
        "finished",
        "headers",
        "input",
        "receive",
        "rest",
        "sent",
        "stand_in",
        "status",
        "waiter",
    )

    def __init__(
        self,
        app: WSGIApp,
        environ: dict[str, Any],
        bell: Doorbell,
    ) -> None:
        self.environ = environ
        self.sent: Mapping[str, Any] = {}
        """The environ as it was made of the request; of a call that may `ask`."""
        self.body: SpooledBody | None = None
        self.feed: BodyFeed | None = None
        self.input: StreamedInput | None = None
        self.receive: Receive | None = None
        self.stand_in: StandIn | None = None
        self.rest: LoopBody | None = None
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.error: BaseException | None = None
        self.finished = False
        self.abandoned = False
        self.waiter: asyncio.Future[None] = bell.loop.create_future()
        self._app = app
        self._bell = bell
        self._context = copy_context()
        self._lock = threading.Lock()
        self._waiting = True
        self._parts: list[bytes] = []
        self._held = 0
        self._room: threading.Lock | None = None
        self._status = 0  # what start_response was told; `status` is what goes out
        self._left: int | None = None  # bytes that Content-Length still promises
        self._bodiless = False
        self._readers = 1  # of the body

    # The worker's side.

    def run(self) -> None:
        """Run the app in a copy of the request's context variables, and hand its answer over."""
        self._context.run(self._run)

    def _run(self) -> None:
        try:
            if not self.abandoned:
                self._answer()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the request must end
            self._fail(error)
        finally:
            self.environ.pop(CALL_KEY, None)  # no cycle
            if self.stand_in is not None and self.rest is None:
                # Whatever became of its answer, it must not wait for someone to take it.
                self._bell.ring(self.stand_in.abandon)
            if not isinstance(self.error, Handover):
                self._leave_body()

    def ask(
        self,
        app: ASGIApp,
        scope: Scope,
        timeout_seconds: float | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Run an ASGI app on the event loop and wait for its answer; at most once per call.

        It gets the request's body from its start, whatever has been read of `wsgi.input`; or
        `body`, where middleware has put that in its place. Raises
        what the app raised before its answer, CancelledError where the request is given up, and
        TimeoutError where no answer has begun in time.
        """
        if self.receive is None or self.stand_in is not None:
            message = "a call can ask for one native answer, and only where the bridge allows it"
            raise RuntimeError(message)
        receive = self.receive
        if body is not None:
            receive = SpooledBody(body).replay(receive)
        elif self.feed is not None:
            receive = FeedReader(self.feed)
        elif self.body is not None:
            receive = self.body.replay(receive, owned=False)
        stand_in = StandIn(app, scope, receive, self._bell, self._leave_body)
        with self._lock:
            if self.abandoned:
                raise asyncio.CancelledError
            self.stand_in = stand_in
            self._readers += 1
        return stand_in.answer(timeout_seconds)

    def give_up_answer(self) -> None:
        """Want nothing more of the app that was asked: somebody else answers."""
        if self.stand_in is not None:
            self.stand_in.give_up()

    @property
    def input_kept(self) -> bool:
        """Whether `wsgi.input` still is what it was, whatever the asked app has read."""
        return self.feed is None or not self.feed.touched

    def _leave_body(self) -> None:
        """Delete the body once neither the worker nor the app that it asked reads it any more."""
        with self._lock:
            self._readers -= 1
            left = self._readers
        if not left:
            self.discard()

    def _answer(self) -> None:
        chunks = self._app(cast("Environ", self.environ), self.start_response)
        if isinstance(chunks, LoopBody) and self._leaves(chunks):
            return
        try:
            if not self.status and self._status and isinstance(chunks, (list, tuple)):
                self._measure(chunks)
            for chunk in chunks:
                if chunk and not self._put(chunk):
                    break
            self._end()
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()

    def _leaves(self, rest: LoopBody) -> bool:
        """Let the loop send `rest` by itself, if nothing has to be done to it on the way."""
        if self.status:
            return False
        self._commit()
        if self._bodiless:
            return False
        self.rest = rest
        self._hand_over(b"", last=True)
        return True

    def start_response(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: ExceptionInfo | None = None,
    ) -> WriteCallable:
        """Take status and headers, as PEP 3333 defines it; they are sent with the first byte.

        The arguments are named as wsgiref's, gunicorn's and Werkzeug's servers name them.
        Raises RuntimeError when called twice without `exc_info`, the app's own error when
        `exc_info` comes too late, ValueError and TypeError for what HTTP can't carry.
        """
        if exc_info is not None:
            try:
                if self.status:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # no cycle through the traceback (PEP 3333)
        elif self._status:
            message = "start_response was called twice without exc_info"
            raise RuntimeError(message)
        code = _codes.get(status)
        if code is None:
            code = _status_code(status)
        self.headers, self._left = encode_headers(headers)
        self._bodiless = code in _NO_BODY or self.environ["REQUEST_METHOD"] == "HEAD"
        self._status = code
        return self._write

    def _write(self, data: bytes, /) -> None:
        if data:
            self._put(data)

    def _measure(self, chunks: list[bytes] | tuple[bytes, ...]) -> None:
        """Tell the length of an answer that is all there (PEP 3333, "Handling Content-Length")."""
        if self._left is None and not self._bodiless:
            self._left = sum(map(len, chunks))

    def _commit(self) -> None:
        """Fix the head. From here on `exc_info` comes too late."""
        if not self._status:
            message = "the app gave its answer without calling start_response"
            raise RuntimeError(message)
        if self.feed is not None and self.feed.refusal is not None:
            raise self.feed.refusal
        self.status = self._status
        # None in a 204 (RFC 9110, section 8.6), and servers would wait for a 304's bytes.
        if self._left is not None and self.status not in _NO_LENGTH:
            self.headers.append((b"content-length", b"%d" % self._left))

    def _put(self, chunk: bytes) -> bool:
        """Hand on one non-empty chunk; False when the answer wants no more of them."""
        if type(chunk) is not bytes:
            chunk = _bytes(chunk)
        if not self.status:
            self._commit()
        if self.finished or self._bodiless:
            if not self._bodiless:
                logger.warning("the app gave more bytes than its Content-Length; cut off")
            return False
        left = self._left
        if left is None:
            self._hand_over(chunk)
            return True
        if len(chunk) > left:
            logger.warning("the app gave more bytes than its Content-Length; cut off")
            chunk = chunk[:left]
        self._left = left = left - len(chunk)
        self._hand_over(chunk, last=left == 0)
        return left != 0

    def _end(self) -> None:
        if self.finished:
            return
        if not self.status:
            self._commit()
        if self._left and not self._bodiless:
            message = f"the app ended {self._left} bytes before its Content-Length"
            raise AnswerAbortedError(message)
        if not self.finished:
            self._hand_over(b"", last=True)

    def _hand_over(self, chunk: bytes, *, last: bool = False) -> None:
        """Give bytes to the loop's task, and wait while it holds enough of them."""
        with self._lock:
            if self.abandoned:
                raise ClientLeftError
            if chunk:
                self._parts.append(chunk)
                self._held += len(chunk)
            self.finished = last
            wake, self._waiting = self._waiting, False
            room = None
            if self._held >= HELD_BYTES and not last:
                room = self._room = threading.Lock()
                room.acquire()
        if wake:
            self._wake()
        if room is not None:
            room.acquire()
            if self.abandoned:
                raise ClientLeftError

    def _fail(self, error: BaseException) -> None:
        if self.finished:
            logger.error("the app failed after its answer was complete", exc_info=error)
            return
        if isinstance(error, Handover) and self.status:
            wrong = AnswerAbortedError("Handover was raised after the first byte of the answer")
            wrong.__cause__ = error
            error = wrong
        if self.feed is not None and self.feed.refusal is not None:
            error = self.feed.refusal
        with self._lock:
            abandoned = self.abandoned
            self.error = error
            wake, self._waiting = self._waiting, False
        if wake:
            self._wake()
        if abandoned and not isinstance(error, _EXPECTED):
            logger.error("the app failed after the client had left", exc_info=error)

    def _wake(self) -> None:
        try:
            self._bell.ring(self._wake_waiter)
        except RuntimeError as error:  # the loop is closed: the process is ending
            self.abandoned = True
            raise ClientLeftError from error

    # The loop's side.

    def _wake_waiter(self) -> None:
        if not self.waiter.done():
            self.waiter.set_result(None)

    def take(self) -> tuple[list[bytes], bool] | None:
        """Return what is gathered and whether that is the end, and let the worker go on.

        None if there is nothing yet: await `waiter` and come back.
        """
        with self._lock:
            if self._parts or self.finished or self.error is not None or self.abandoned:
                parts, self._parts = self._parts, []
                self._held = 0
                self._let_go_on()
                return parts, self.finished
            self._waiting = True
            self.waiter = self._bell.loop.create_future()
            return None

    def abandon(self) -> None:
        """Want no more of this answer: the worker closes it at its next chunk. Idempotent."""
        with self._lock:
            self.abandoned = True
            self._parts = []
            self._let_go_on()
        if self.stand_in is not None:
            self.stand_in.abandon()
        if self.input is not None:
            self.input.abandon()
        self._wake_waiter()

    def refuse(self, error: RequestRefused) -> None:
        """End a call that never ran."""
        self.error = error
        self._wake_waiter()

    def discard(self) -> None:
        """Free the body: of a call that will never run, or that is over."""
        if self.body is not None:
            self.body.close()

    def _let_go_on(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.release()


def _bytes(chunk: object) -> bytes:
    if not isinstance(chunk, (bytes, bytearray, memoryview)):
        message = f"a WSGI app must give bytes, got {type(chunk).__name__}"
        raise TypeError(message)
    return bytes(chunk)


def _status_code(status: object) -> int:
    """Parse `200 OK`; the reason may be missing (RFC 9112, section 4)."""
    if not isinstance(status, str):
        message = f"the status must be a str, got {status!r}"
        raise TypeError(message)
    code = status[:3]
    if not (code.isascii() and code.isdigit()) or status[3:4].strip() or not "200" <= code < "600":
        message = f"{status!r} is no final HTTP status"
        raise ValueError(message)
    if len(_codes) < MAX_CACHED_STATUSES:
        _codes[status] = int(code)
    return int(code)
