"""The bridge: a WSGI app served over ASGI, one hop to a worker thread and one back.

Of a2wsgi the types are kept. Its `WSGIMiddleware`, `WSGIResponder`, `Body` and `build_environ` are
replaced; the tests name the fault behind each difference.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from gateway.exceptions import BodyTimeout, GatewayError, RequestRefused
from gateway.legacy.body import (
    BodyFeed,
    SpoolBudget,
    StreamedInput,
    StreamReader,
    read_whole,
    too_large,
)
from gateway.legacy.call import CALL_KEY, Call
from gateway.legacy.delivery import Delivery
from gateway.legacy.environ import EnvironBuilder
from gateway.legacy.pool import Doorbell
from gateway.legacy.refusals import send_text
from gateway.legacy.standin import OneReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from a2wsgi.wsgi_typing import WSGIApp
    from starlette.types import Receive, Scope, Send

    from gateway.config import BodyMode, LegacyConfig
    from gateway.legacy.pool import Pool

STREAM_BUFFER_BYTES = 65_536


class Bridge:
    """Serves `app`, any WSGI callable, on the threads of `pool`, within the limits of `config`.

    An ASGI app for HTTP; WebSockets are closed before they open (the server answers 403). The
    lifespan belongs to whoever starts the pool.
    """

    def __init__(self, app: WSGIApp, pool: Pool, config: LegacyConfig) -> None:
        self.app = app
        self.pool = pool
        self.config = config
        self.spooled = SpoolBudget(config.spool_limit)
        """The bytes that spooled bodies hold on disk."""
        self._bell: Doorbell | None = None
        self._environs = EnvironBuilder(underscore_headers=config.underscore_headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request as the configuration says. Raises GatewayError for a lifespan."""
        if scope["type"] == "http":
            await self.serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
        else:
            message = f"the bridge serves http, not {scope['type']}"
            raise GatewayError(message)

    async def serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        body: BodyMode | None = None,
        environ_extra: Mapping[str, Any] | None = None,
        may_ask: bool = False,
    ) -> None:
        """Serve one HTTP request.

        `body` says how its body is read (default: as configured); `environ_extra` is added to the
        environ. With `may_ask` the environ has the Call under CALL_KEY, and the app may `ask` an
        ASGI app for its answer. Returns when the answer has been handed to the server, or nobody
        waits for it; and once an app that was asked has ended, whose error it raises.

        Raises Handover, with `receive` and `environ` set and nothing sent, where the app raised it
        before its first byte; `receive` gives the whole body again. In `stream` mode that holds
        only while the app has read nothing; else the client gets 500. Raises LifespanError where
        the pool was not started; AnswerAbortedError, or the app's own error, where an answer broke
        off after its first byte: the server must then close the connection.
        """
        config = self.config
        loop = asyncio.get_running_loop()
        bell = self._bell
        if bell is None or bell.loop is not loop:
            bell = self._bell = Doorbell(loop)
        try:
            environ = self._environs.build(scope)
            declared = declared_length(environ, scope)
            if declared is not None and declared > config.max_body:
                raise too_large(config)
            if environ_extra is not None:
                environ.update(environ_extra)
            call = Call(self.app, environ, bell)
            if (body or config.body) == "stream":
                call.feed = BodyFeed(receive, config, declared)
                call.input = StreamedInput(call.feed, loop)
                environ["wsgi.input"] = StreamReader(call.input, STREAM_BUFFER_BYTES)
            else:
                spooled = await read_whole(receive, config, self.spooled, declared)
                if spooled is None:
                    return
                call.body = spooled
                environ["wsgi.input"] = spooled.stream
                if declared != spooled.size and (
                    declared is not None or spooled.size or "HTTP_TRANSFER_ENCODING" in environ
                ):
                    # The body is no longer chunked and its length is known (RFC 9112, 7.1.3).
                    environ["CONTENT_LENGTH"] = str(spooled.size)
                    environ.pop("HTTP_TRANSFER_ENCODING", None)
        except RequestRefused as error:
            await send_text(
                send,
                error.status,
                str(error),
                retry_after=self.pool.queue_timeout
                if error.status == HTTPStatus.SERVICE_UNAVAILABLE
                else None,
                unread=receive,
                patient=_is_patient(error, scope),
                head=scope["method"] == "HEAD",
            )
            return
        if may_ask:
            environ[CALL_KEY] = call
            call.sent = environ.copy()
            await self._deliver_asking(call, receive, send)
        else:
            await Delivery(call, self.pool, config, receive, send).run()

    async def _deliver_asking(self, call: Call, receive: Receive, send: Send) -> None:
        """Deliver a call that may ask an ASGI app for its answer, and see that app to its end."""
        reader = OneReader(receive)
        call.receive = reader
        try:
            await Delivery(call, self.pool, self.config, reader, send).run()
            if call.stand_in is not None:
                await call.stand_in.finish()
        except asyncio.CancelledError:
            if call.stand_in is not None:
                call.stand_in.cancel()
            raise
        finally:
            reader.close()


def declared_length(environ: dict[str, Any], scope: Scope) -> int | None:
    """Return the body's length in bytes as the head of the request tells it; None: it doesn't."""
    length = environ.get("CONTENT_LENGTH")
    if length is not None:
        return int(length)
    if "HTTP_TRANSFER_ENCODING" in environ or scope["http_version"][0] != "1":
        return None
    return 0  # RFC 9112, section 6.3


def _is_patient(error: RequestRefused, scope: Scope) -> bool:
    """Whether to read on for a moment after a refusal: not where nothing can be coming."""
    if isinstance(error, BodyTimeout):
        return False
    return all(name != b"expect" for name, _ in scope["headers"])
