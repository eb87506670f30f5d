"""Bytes into uvicorn's own protocol classes and back, over a transport in memory.

Nothing stands in for the server: its parser, its request cycle and its WebSocket handshake are the
real ones. Only the socket is left out, so that the end of a request is known exactly, thousands
fit into a second, and a run repeats itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import uvicorn
from uvicorn.config import WS_PROTOCOLS
from uvicorn.server import ServerState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping

    from starlette.types import ASGIApp, Message

Parser = Literal["httptools", "h11"]
PARSERS: tuple[Parser, ...] = ("httptools", "h11")
PATIENCE = 0.1
_LONG = 120.0
_WEBSOCKETS: Any = "websockets-sansio" if "websockets-sansio" in WS_PROTOCOLS else "auto"
_ADDRESSES: dict[str, Any] = {"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 8000)}


class Memory(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__(_ADDRESSES)
        self.written = bytearray()
        self.protocol: Any = None
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def pause_reading(self) -> None:
        """Nothing to pause: all bytes have come at once."""

    def resume_reading(self) -> None:
        """Nothing was paused."""

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered."""


class Answer(NamedTuple):
    """What came back for some bytes; not `whole` where the client has left before the end."""

    raw: bytes
    whole: bool

    @property
    def status(self) -> int:
        """The first answer's status, 0 without any."""
        known = self.raw[:5] == b"HTTP/" and self.raw[9:12].isdigit()
        return int(self.raw[9:12]) if known else 0


class Server:
    """An ASGI app behind one of uvicorn's HTTP parsers."""

    def __init__(self, app: ASGIApp, parser: Parser, *, proxy_headers: bool) -> None:
        self._config = uvicorn.Config(
            app,
            http=parser,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=proxy_headers,
            forwarded_allow_ips="*",
            ws=_WEBSOCKETS,
        )
        self._config.load()
        self._state = ServerState()
        self._kind: Any = self._config.http_protocol_class

    async def send(self, raw: bytes, patience: float = PATIENCE) -> Answer:
        """Send bytes on a connection of their own; return what came back.

        `patience` is how long a request may wait for bytes that never come, in seconds.
        """
        whole = True
        loop = asyncio.get_running_loop()
        protocol = self._kind(
            config=self._config, server_state=self._state, app_state={}, _loop=loop
        )
        transport = Memory()
        transport.protocol = protocol
        protocol.connection_made(transport)
        try:
            protocol.data_received(raw)
        except Exception as error:
            # As asyncio does: uvicorn's h11 protocol trips over some of its own refusals.
            whole = False
            protocol.connection_lost(error)
        if transport.protocol is not protocol:
            await self._opened()
        while self._state.tasks:
            _, waiting = await asyncio.wait(set(self._state.tasks), timeout=patience)
            if waiting and whole:
                # It waits for the rest of a body or for a WebSocket's close: the client leaves.
                whole, patience = False, _LONG
                transport.get_protocol().connection_lost(None)
        if whole:
            transport.get_protocol().connection_lost(None)
        return Answer(bytes(transport.written), whole)

    async def _opened(self) -> None:
        """Wait until a WebSocket's handshake has led to the app, or nowhere."""
        for _ in range(20):
            if self._state.tasks:
                return
            await asyncio.sleep(0.0005)


@contextlib.asynccontextmanager
async def running(app: ASGIApp) -> AsyncIterator[None]:
    """Run an app's lifespan. Raises RuntimeError with the app's own words if it doesn't start."""
    incoming: asyncio.Queue[Message] = asyncio.Queue()
    outgoing: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.ensure_future(app(scope, incoming.get, outgoing.put))
    await incoming.put({"type": "lifespan.startup"})
    said = await asyncio.wait_for(outgoing.get(), _LONG)
    if said["type"] != "lifespan.startup.complete":
        await task
        raise RuntimeError(said.get("message", ""))
    try:
        yield
    finally:
        await incoming.put({"type": "lifespan.shutdown"})
        await asyncio.wait_for(task, _LONG)
