"""A Gateway inside a WSGI server: gunicorn's sync or gthread workers, uWSGI, mod_wsgi.

For teams that can't change servers yet. a2wsgi's ASGIMiddleware does the translation; here is what
it leaves out: the lifespan (once per process, after the fork), chunked bodies, clients that leave
in the middle of an answer. Each request keeps one of the server's threads until it is answered, and
WebSockets don't exist.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import tempfile
import threading
from typing import TYPE_CHECKING, Any, cast

from a2wsgi import ASGIMiddleware

from gateway.exceptions import LifespanError
from gateway.lifespan import NestedLifespan
from gateway.logs import logger_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from starlette.types import ASGIApp, Receive, Scope, Send

logger = logger_for("gateway.hosting")

#: How long the end of the process waits for the gateway's own, in seconds.
SHUTDOWN_SECONDS = 35.0
_MEMORY = 262_144
_BLOCK = 65_536
_TASK_KEY = "gateway.task"


class Hosted:
    """A WSGI app that runs `app` on an event loop in a thread of its own.

    The loop, the thread and the app's lifespan begin with the first request of each process: a
    server that forks does so before. Raises LifespanError where the app refuses to start.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lifespan: NestedLifespan | None = None
        self._middleware: ASGIMiddleware | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            return _refuse(start_response, "501 Not Implemented", "WebSockets need an ASGI server")
        if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
            if not environ.get("wsgi.input_terminated"):
                return _refuse(start_response, "411 Length Required", "this server can't read it")
            _measure(environ)
        parts = iter(self._started()(cast("Any", environ), cast("Any", start_response)))
        # Some servers read the head as soon as they have the iterable (PEP 3333 allows it to come
        # with the first block).
        return self._answer(next(parts, b""), parts, environ)

    def _answer(
        self, first: bytes, parts: Iterator[bytes], environ: WSGIEnvironment
    ) -> Iterator[bytes]:
        ended = False
        try:
            yield first
            yield from parts
            ended = True
        finally:
            task = environ.pop(_TASK_KEY, None)
            if not ended and task is not None and self._loop is not None:
                # The client has left: nobody else would tell the app.
                self._loop.call_soon_threadsafe(task.cancel)
            body = environ.get("wsgi.input")
            if isinstance(body, _Measured):
                body.close()

    def _started(self) -> ASGIMiddleware:
        with self._lock:
            if self._middleware is None or self._pid != os.getpid():
                self._start()
            middleware = self._middleware
        if middleware is None:
            message = "the gateway did not start"
            raise LifespanError(message)
        return middleware

    def _start(self) -> None:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="gateway-loop", daemon=True)
        thread.start()
        scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}

        async def start() -> tuple[NestedLifespan, str | None]:
            lifespan = NestedLifespan(self._app, scope)
            return lifespan, await lifespan.start()

        lifespan, failure = asyncio.run_coroutine_threadsafe(start(), loop).result()
        if failure is not None:
            loop.call_soon_threadsafe(loop.stop)
            raise LifespanError(failure)
        self._pid, self._loop, self._lifespan = os.getpid(), loop, lifespan
        self._middleware = ASGIMiddleware(cast("Any", self._watched), loop=loop)
        atexit.register(self._stop, os.getpid())

    async def _watched(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the task, so that it can be told when its client has left."""
        environ = scope["wsgi_environ"]
        environ[_TASK_KEY] = asyncio.current_task()
        await self._app(scope, receive, send)

    def _stop(self, pid: int) -> None:
        """Let the gateway drain; a forked child that never served has nothing to do."""
        loop, lifespan = self._loop, self._lifespan
        if pid != os.getpid() or loop is None or lifespan is None:
            return
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(lifespan.stop(), loop).result(SHUTDOWN_SECONDS)
        loop.call_soon_threadsafe(loop.stop)


class _Measured(tempfile.SpooledTemporaryFile[bytes]):
    """A chunked body, read to its end."""


def _measure(environ: WSGIEnvironment) -> None:
    """Read a chunked body, so that its length is known (RFC 9112, section 7.1.3)."""
    body = _Measured(max_size=_MEMORY)
    while data := environ["wsgi.input"].read(_BLOCK):
        body.write(data)
    environ["CONTENT_LENGTH"] = str(body.tell())
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    body.seek(0)
    environ["wsgi.input"] = body


def _refuse(start_response: StartResponse, status: str, text: str) -> list[bytes]:
    body = f"{text}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]
