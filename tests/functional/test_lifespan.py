"""The lifespan of the native app behind the gateway's own: what fails is said and raised."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from flask import Flask

from gateway import Gateway
from gateway.exceptions import GatewayError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import Message, Receive, Scope, Send


class BrokenError(Exception):
    """What the native app raises."""


@contextlib.asynccontextmanager
async def failing_to_start(app: FastAPI) -> AsyncIterator[None]:
    if app.title:
        raise BrokenError("no database")
    yield


@contextlib.asynccontextmanager
async def failing_to_end(_: FastAPI) -> AsyncIterator[None]:
    yield
    raise BrokenError("no goodbye")


def gateway(native: Any) -> Gateway:
    return Gateway(legacy=Flask("old"), native=native, config={"version": 1})


async def said(app: Any) -> tuple[list[Message], BaseException | None]:
    """Run a lifespan as a server does; return what was said, and what was raised."""
    asked = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    messages: list[Message] = []

    async def receive() -> Message:
        return next(asked)

    async def send(message: Message) -> None:
        messages.append(message)

    scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
    try:
        await app({**scope, "state": {}}, receive, send)
    except Exception as error:
        return messages, error
    return messages, None


@pytest.mark.parametrize("served", [lambda app: app, gateway], ids=["FastAPI alone", "gateway"])
@pytest.mark.parametrize(
    ("lifespan", "last", "word"),
    [
        (failing_to_start, "lifespan.startup.failed", "no database"),
        (failing_to_end, "lifespan.shutdown.failed", "no goodbye"),
    ],
)
def test_it_is_said_and_then_raised(
    served: Callable[[Any], Any], lifespan: Any, last: str, word: str
) -> None:
    """Starlette's TestClient, for one, waits for the error after `failed`."""
    messages, error = asyncio.run(said(served(FastAPI(lifespan=lifespan))))
    assert messages[-1]["type"] == last
    assert word in messages[-1]["message"]
    assert isinstance(error, BrokenError)


@pytest.mark.parametrize("phase", ["startup", "shutdown"])
def test_an_app_that_says_failed_without_raising_ends_quietly(phase: str) -> None:
    async def native(scope: Scope, receive: Receive, send: Send) -> None:
        while scope["type"] == "lifespan":
            name = (await receive())["type"]
            if name == f"lifespan.{phase}":
                await send({"type": f"{name}.failed", "message": "no"})
                return
            await send({"type": f"{name}.complete"})

    messages, error = asyncio.run(said(gateway(native)))
    assert messages[-1] == {"type": f"lifespan.{phase}.failed", "message": "no"}
    assert error is None


def test_what_the_gateway_itself_can_not_start_with_is_raised_too() -> None:
    @contextlib.asynccontextmanager
    async def losing_its_routes(app: FastAPI) -> AsyncIterator[None]:
        app.router.routes.clear()
        yield

    native = FastAPI(lifespan=losing_its_routes)
    native.add_api_route("/new", lambda: "x", methods=["GET"])
    rule = {"path": "/new", "methods": ["GET"], "cutover": "native"}
    served = Gateway(legacy=Flask("old"), native=native, config={"version": 1, "routes": [rule]})
    messages, error = asyncio.run(said(served))
    assert messages[-1]["type"] == "lifespan.startup.failed"
    assert isinstance(error, GatewayError)
    assert "/new" in str(error)
