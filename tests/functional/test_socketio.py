"""Flask-SocketIO: long polling through the bridge, WebSockets by a native server (C12)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask, request

from gateway import Gateway
from tests.functional.servers import serve
from tests.functional.services import redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.network


def test_long_polling_through_the_bridge() -> None:
    """As the app is: it works without WebSockets, at a thread for each client that waits."""
    flask_socketio = pytest.importorskip("flask_socketio")
    socketio = pytest.importorskip("socketio")

    flask = Flask("legacy")
    server = flask_socketio.SocketIO(flask, async_mode="threading")

    def shout(text: str) -> None:
        flask_socketio.emit("echo", f"{text}! {request.args['who']}")

    server.on_event("shout", shout)

    app = Gateway(flask, FastAPI(), {"version": 1}, verify_lock=False)
    with serve(app) as url, socketio.SimpleClient() as client:
        client.connect(f"{url}?who=ann", transports=["polling"])
        client.emit("shout", "hey")
        assert client.receive(timeout=5) == ["echo", "hey! ann"]


def test_a_native_server_and_flask_views_that_emit(tmp_path: Path) -> None:
    """The way for WebSockets: an ASGI server mounted natively; Flask's views emit by Redis."""
    socketio = pytest.importorskip("socketio")
    with redis_server(tmp_path) as redis:
        emitter = socketio.RedisManager(redis, write_only=True)
        flask = Flask("legacy")

        @flask.post("/orders")
        def order() -> str:
            emitter.emit("ordered", {"item": request.form["item"]}, room="kitchen")
            return "ordered"

        server = socketio.AsyncServer(
            async_mode="asgi", client_manager=socketio.AsyncRedisManager(redis)
        )

        async def join(sid: str, room: str) -> str:
            await server.enter_room(sid, room)
            return "joined"

        server.on("join", join)

        @contextlib.asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            yield
            await server.shutdown()
            server.manager.thread.cancel()  # its listener knows no other end
            with contextlib.suppress(asyncio.CancelledError):
                await server.manager.thread
            await server.manager.pubsub.aclose()
            await server.manager.redis.aclose()

        native = FastAPI(lifespan=lifespan)
        native.mount("/socket.io", socketio.ASGIApp(server, socketio_path=""))
        app = Gateway(flask, native, {"version": 1}, verify_lock=False)
        with serve(app) as url, socketio.SimpleClient() as client:
            client.connect(url, transports=["websocket"])
            assert client.transport == "websocket"
            assert client.call("join", "kitchen", timeout=5) == "joined"
            assert httpx.post(f"{url}/orders", data={"item": "soup"}).text == "ordered"
            assert client.receive(timeout=5) == ["ordered", {"item": "soup"}]
