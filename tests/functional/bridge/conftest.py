"""A real uvicorn on a loopback socket around a bridge, once per protocol implementation."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from gateway.config import LegacyConfig
from gateway.http10 import unchunked
from gateway.legacy import Bridge, Pool

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class Running:
    """A served bridge. `ask` sends raw bytes and returns the whole raw answer."""

    port: int
    bridge: Bridge
    pool: Pool
    server: uvicorn.Server

    def connect(self, timeout: float = 20.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def ask(self, request: bytes) -> bytes:
        with self.connect() as client:
            client.sendall(request)
            return read_to_end(client)

    def get(
        self,
        path: str,
        method: str = "GET",
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()


def read_to_end(client: socket.socket) -> bytes:
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(65536):
            data += piece
    return bytes(data)


def read_until(client: socket.socket, marker: bytes) -> bytes:
    data = b""
    while marker not in data:
        piece = client.recv(65536)
        assert piece, data
        data += piece
    return data


def eventually(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Wait for a condition; generous, as the machine may be busy."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


Serve = Callable[..., contextlib.AbstractContextManager[Running]]


@pytest.fixture(params=["httptools-uvloop", "h11-asyncio"])
def serve(request: pytest.FixtureRequest) -> Serve:
    protocol, loop = request.param.split("-")

    @contextlib.contextmanager
    def run(
        app: Any,
        *,
        threads: int = 8,
        queue: int = 200,
        queue_timeout: float = 5.0,
        wrap: Callable[[Bridge], ASGIApp] | None = None,
        root_path: str = "",
        **settings: Any,
    ) -> Iterator[Running]:
        config = LegacyConfig(threads=threads, queue=queue, queue_timeout=queue_timeout, **settings)
        pool = Pool(threads=threads, queue=queue, queue_timeout=queue_timeout)
        bridge = Bridge(app, pool, config)
        inner = wrap(bridge) if wrap is not None else bridge

        async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "lifespan":
                if scope["http_version"] == "1.0":
                    send = unchunked(scope, send)  # as the Gateway does
                await inner(scope, receive, send)
                return
            await receive()
            pool.start()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await pool.drain(10)
            await send({"type": "lifespan.shutdown.complete"})

        server = uvicorn.Server(
            uvicorn.Config(
                asgi,
                http=protocol,
                loop=loop,
                log_config=None,
                access_log=False,
                root_path=root_path,
                timeout_graceful_shutdown=10,
                proxy_headers=False,
            )
        )
        listener = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert eventually(lambda: server.started)
            yield Running(listener.getsockname()[1], bridge, pool, server)
        finally:
            server.should_exit = True
            thread.join(30)
            listener.close()
            assert not thread.is_alive()
            assert asyncio.run(pool.drain(0))

    return run
