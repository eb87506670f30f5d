"""Request bodies: spooled before a thread is taken, or streamed to one that waits for them."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import tempfile
import threading
from collections import deque
from concurrent.futures import CancelledError
from typing import IO, TYPE_CHECKING, Any, cast

from gateway.exceptions import BodyTimeout, BodyTooLarge, DiskFull, RequestRefused, SpoolFull
from gateway.legacy.refusals import ClientLeftError, ClientStalledError
from gateway.logs import logger_for

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

    from starlette.types import Message, Receive

    from gateway.config import LegacyConfig

logger = logger_for(__name__)

BLOCK_BYTES = 262_144
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class SpoolBudget:
    """Counts the bytes that all spooled bodies hold on disk, up to `limit`. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes on disk now."""
        return self._used

    def take(self, amount: int) -> None:
        """Count `amount` bytes. Raises SpoolFull, and counts nothing, above the limit."""
        with self._lock:
            if self._used + amount > self.limit:
                message = "too many large requests at once"
                raise SpoolFull(message)
            self._used += amount

    def give_back(self, amount: int) -> None:
        """Count `amount` bytes as free again."""
        with self._lock:
            self._used -= amount


class _Lines:
    """`readlines` as io.BytesIO has it; io.BufferedReader reads a line more at an exact hint."""

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """Return lines until they hold `hint` bytes or more; all of them for None, 0 and below."""
        lines: list[bytes] = []
        size = 0
        for line in cast("Iterable[bytes]", self):
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines


class _File(_Lines, io.BufferedRandom):
    """A spooled body."""


class StreamReader(_Lines, io.BufferedReader):
    """A streamed body: `wsgi.input` around a StreamedInput."""


class Spool:
    """One body (or answer) in a temporary file, its bytes taken from a budget until `close`.

    The file is nameless where the system allows it, and gone when closed.
    """

    def __init__(self, budget: SpoolBudget) -> None:
        self._budget = budget
        self._size = 0
        self._lock = threading.Lock()
        try:
            raw = tempfile.TemporaryFile(prefix="gateway-", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise _disk_error(error) from error
        self.file: IO[bytes] = _File(cast("Any", raw), BLOCK_BYTES)

    def write(self, data: bytes | bytearray) -> None:
        """Append `data`.

        Raises SpoolFull at the budget's limit and DiskFull where the disk has no space.
        """
        with self._lock:  # a cancelled request closes the file while a thread may still write
            if self.file.closed:
                return
            self._budget.take(len(data))
            self._size += len(data)
            try:
                self.file.write(data)
            except OSError as error:
                raise _disk_error(error) from error

    def read_at(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset`, wherever the file's own reader stands.

        Only after `rewind`; b"" once the file is closed.
        """
        with self._lock:
            return b"" if self.file.closed else os.pread(self.file.fileno(), count, offset)

    def rewind(self) -> None:
        """Make the file ready to be read from its start; raises as `write` does."""
        try:
            self.file.seek(0)  # flushes
        except OSError as error:
            raise _disk_error(error) from error

    def close(self) -> None:
        """Delete the file and give its bytes back to the budget. Idempotent."""
        with self._lock:
            try:
                self.file.close()
            except OSError:  # the last buffered bytes found no space; nobody wants them any more
                logger.debug("closing a spool file failed", exc_info=True)
            size, self._size = self._size, 0
            self._budget.give_back(size)


def _disk_error(error: OSError) -> Exception:
    if error.errno in _NO_SPACE:
        logger.error("no space left for spooled bodies in %s: %s", tempfile.gettempdir(), error)
        return DiskFull("no space left for the request body")
    return error


class SpooledBody:
    """A complete request body: in memory when small, in a temporary file when large.

    `stream` is the `wsgi.input`; `size` its length in bytes.
    """

    __slots__ = ("_spool", "data", "size", "stream")

    def __init__(self, data: bytes, spool: Spool | None = None, size: int | None = None) -> None:
        self.data = data
        self.size = len(data) if size is None else size
        self.stream: IO[bytes] = io.BytesIO(data) if spool is None else spool.file
        self._spool = spool

    def close(self) -> None:
        """Delete the temporary file, if there is one. Idempotent."""
        if self._spool is not None:
            self._spool.close()

    def replay(self, receive: Receive, *, owned: bool = True) -> Receive:
        """Return an ASGI `receive` that gives this body from its start, then asks `receive`.

        It closes the body when it is done with it, unless it isn't `owned`.
        """
        if self._spool is None:
            return _MemoryReplay(self.data, receive)
        return _FileReplay(self._spool, self.size, receive, owned=owned)


class _MemoryReplay:
    def __init__(self, data: bytes, receive: Receive) -> None:
        self._data: bytes | None = data
        self._receive = receive

    async def __call__(self) -> Message:
        if self._data is None:
            return await self._receive()
        data, self._data = self._data, None
        return {"type": "http.request", "body": data, "more_body": False}


class _FileReplay:
    """Closes the file after its last byte, or when forgotten: its reader may not want it all.

    Where `owned` is False somebody else still reads the file, and closes it.
    """

    def __init__(self, spool: Spool, size: int, receive: Receive, *, owned: bool) -> None:
        self._spool: Spool | None = spool
        self._at = 0
        self._size = size
        self._receive = receive
        self._owned = owned

    async def __call__(self) -> Message:
        if self._spool is None:
            return await self._receive()
        data = await asyncio.to_thread(self._spool.read_at, self._at, BLOCK_BYTES)
        self._at += len(data)
        more = self._at < self._size and bool(data)
        if not more:
            self._close()
        return {"type": "http.request", "body": data, "more_body": more}

    def __del__(self) -> None:
        self._close()

    def _close(self) -> None:
        spool, self._spool = self._spool, None
        if spool is not None and self._owned:
            spool.close()


async def read_whole(
    receive: Receive, config: LegacyConfig, budget: SpoolBudget, declared: int | None
) -> SpooledBody | None:
    """Read a request body to its end, without a thread being taken for it.

    `declared` is the length in bytes that the head told, None where it told none.

    Returns None where the client left before the end: a truncated body is never handed on.
    Raises BodyTooLarge above `max_body`, BodyTimeout after a silence of `body_timeout`, SpoolFull
    and DiskFull where the bytes beyond `spool_memory` find no place.
    """
    if declared == 0:  # the common case, without a timer: the server has the end already
        message = await receive()
        if message["type"] != "http.request":
            return None
        if not message.get("more_body", False):
            return SpooledBody(message.get("body", b""))
    gathered = _Gathered(config, budget)
    clock = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(config.body_timeout) as silence:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                more = message.get("more_body", False)
                await gathered.add(message.get("body", b""), last=not more)
                if not more:
                    return gathered.body()
                silence.reschedule(clock() + config.body_timeout)
    except TimeoutError as error:
        text = f"the client sent nothing for {config.body_timeout:g} s"
        raise BodyTimeout(text) from error
    finally:
        gathered.close()


class _Gathered:
    """What has come of one body: in memory up to `spool_memory`, then on disk, by a thread."""

    def __init__(self, config: LegacyConfig, budget: SpoolBudget) -> None:
        self._config = config
        self._budget = budget
        self._size = 0
        self._held = bytearray()
        self._spool: Spool | None = None

    async def add(self, data: bytes, *, last: bool) -> None:
        self._size += len(data)
        if self._size > self._config.max_body:
            raise too_large(self._config)
        self._held += data
        if self._spool is None and len(self._held) > self._config.spool_memory:
            self._spool = await asyncio.to_thread(Spool, self._budget)
        if self._spool is not None and (last or len(self._held) >= BLOCK_BYTES):
            await asyncio.to_thread(self._spool.write, self._held)
            self._held = bytearray()

    def body(self) -> SpooledBody:
        spool, self._spool = self._spool, None
        if spool is None:
            return SpooledBody(bytes(self._held))
        spool.rewind()
        return SpooledBody(b"", spool, self._size)

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()


def too_large(config: LegacyConfig) -> BodyTooLarge:
    """Return the refusal of a body above `max_body`."""
    return BodyTooLarge(f"the request body is above {int(config.max_body)} bytes")


class BodyFeed:
    """The loop's end of a streamed body: reads on for the worker, and sees the client leave.

    Everything here runs on the event loop. At most `READ_AHEAD_BYTES` are held.
    """

    READ_AHEAD_BYTES = 262_144

    def __init__(self, receive: Receive, config: LegacyConfig, declared: int | None) -> None:
        self.complete = declared == 0
        """All of the body has been received."""
        self.left = False
        """The client has closed the connection."""
        self.touched = False
        """The worker has been given bytes."""
        self.refusal: RequestRefused | None = None
        """Why the body can't be read on; it beats whatever the app makes of the failed read."""
        self._receive = receive
        self._config = config
        self._declared = declared
        self._ahead: deque[bytes] = deque()
        self._held = 0
        self._size = 0
        self._spoiled = False
        self._replayed = False
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()

    async def next(self) -> bytes:
        """Return the next bytes for the worker, b"" at the end.

        Raises ClientLeftError where the body breaks off, ClientStalledError after a silence of
        `body_timeout`, BodyTooLarge above `max_body`.
        """
        try:
            async with asyncio.timeout(self._config.body_timeout):
                while True:
                    data = self._ready()
                    if data is not None:
                        self.touched = self.touched or bool(data)
                        return data
                    async with self._turn:
                        if self._ready_to_read():
                            await self._read()
        except TimeoutError as error:
            text = f"the client sent nothing for {self._config.body_timeout:g} s"
            self.refusal = BodyTimeout(text)
            raise ClientStalledError(text) from error

    def _ready_to_read(self) -> bool:
        return not (self._ahead or self.refusal or self._spoiled or self.complete or self.left)

    def _ready(self) -> bytes | None:
        if self._ahead:
            data = self._ahead.popleft()
            self._held -= len(data)
            self._room.set()
            return data
        if self.refusal is not None:
            raise self.refusal
        if self.complete and not self._spoiled:
            return b""
        if self.left or self._spoiled:
            message = "the request body broke off"
            raise ClientLeftError(message)
        return None

    async def watch(self) -> None:
        """Return when the client has left, reading ahead meanwhile as far as there is room.

        A worker that streams an answer and reads nothing for `send_timeout` loses the rest of the
        body: with its bytes in the way, the client's leaving could never be seen.
        """
        while not self.left:
            if self._held >= self.READ_AHEAD_BYTES and not self._spoiled:
                self._room.clear()
                try:
                    async with asyncio.timeout(self._config.send_timeout):
                        await self._room.wait()
                except TimeoutError:
                    self._spoiled = True
                continue
            async with self._turn:
                await self._read()
            if self._spoiled:
                self._ahead.clear()
                self._held = 0

    async def _read(self) -> None:
        message = await self._receive()
        if message["type"] != "http.request":
            self.left = True
            return
        data = message.get("body", b"")
        self._size += len(data)
        if not message.get("more_body", False) or self._size == self._declared:
            self.complete = True
        if self._size > self._config.max_body:
            self.refusal = too_large(self._config)
        elif data:
            self._ahead.append(data)
            self._held += len(data)

    @property
    def replayable(self) -> bool:
        """Nothing of the body is lost yet: the worker has read nothing."""
        return not (self.touched or self.refusal or self._spoiled)

    async def replay(self) -> Message:
        """Act as the ASGI `receive` of whoever takes over a replayable request."""
        if self._ahead:
            data = self._ahead.popleft()
            more = bool(self._ahead) or not self.complete
            self._replayed = not more
            return {"type": "http.request", "body": data, "more_body": more}
        if self.complete and not self._replayed:
            self._replayed = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return await self._receive()


class FeedReader:
    """A streamed body as the ASGI `receive` of an app that the worker waits for."""

    def __init__(self, feed: BodyFeed) -> None:
        self._feed = feed
        self._lost = feed.touched
        self._ended = False

    async def __call__(self) -> Message:
        """Return the next bytes, and after the last ones the client's leaving.

        Raises RuntimeError where the worker has read some of them: they are gone.
        """
        if self._lost:
            message = "a Flask hook has read of a streamed body; say `body: spool` for this route"
            raise RuntimeError(message)
        if self._ended:
            await self._feed.watch()
            return {"type": "http.disconnect"}
        try:
            data = await self._feed.next()
        except ClientLeftError:
            return {"type": "http.disconnect"}
        self._ended = not data
        return {"type": "http.request", "body": data, "more_body": bool(data)}


class StreamedInput(io.RawIOBase):
    """The worker's end of a streamed body; wrap it in a StreamReader to get `wsgi.input`."""

    def __init__(self, feed: BodyFeed, loop: asyncio.AbstractEventLoop) -> None:
        self._feed = feed
        self._loop = loop
        self._rest = memoryview(b"")
        self._pending: Future[bytes] | None = None
        self._abandoned = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: object, /) -> int:
        """Wait for bytes, and raise what `BodyFeed.next` does rather than give a false end."""
        view = memoryview(cast("bytearray", buffer)).cast("B")
        if not self._rest:
            self._rest = memoryview(self._fetch())
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _fetch(self) -> bytes:
        if not self._abandoned:
            self._pending = asyncio.run_coroutine_threadsafe(self._feed.next(), self._loop)
        pending = self._pending
        if pending is None or self._abandoned:
            if pending is not None:  # given up between the two lines above
                pending.cancel()
            message = "the request was given up"
            raise ClientLeftError(message)
        try:
            return pending.result()
        except CancelledError as error:
            message = "the request was given up"
            raise ClientLeftError(message) from error
        finally:
            self._pending = None

    def abandon(self) -> None:
        """Make a waiting read, and every later one, raise ClientLeftError. Called on the loop."""
        self._abandoned = True
        pending = self._pending
        if pending is not None:
            pending.cancel()
