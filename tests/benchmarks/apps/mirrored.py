"""One Flask view in several forms: unmirrored, and mirrored to handlers that misbehave."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from flask import Flask

from gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SLEEP_SECONDS = 30
MEGABYTES = 50

legacy, native = Flask(__name__), FastAPI(openapi_url=None)
MIRRORED = ("same", "sleeps", "sleeps-def", "raises", "breaks", "long")


def view() -> dict[str, str]:
    return {"hello": "world"}


for name in ("hello", "again", *MIRRORED):
    legacy.add_url_rule(f"/{name}", name, view)


@native.get("/same")
async def same() -> dict[str, str]:
    return {"hello": "world"}


@native.get("/sleeps")
async def sleeps() -> None:
    await asyncio.sleep(SLEEP_SECONDS)


@native.get("/sleeps-def")
def sleeps_def() -> None:
    time.sleep(SLEEP_SECONDS)


@native.get("/raises")
async def raises() -> None:
    raise RuntimeError


@native.get("/breaks")
async def breaks() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"x"
        raise ConnectionResetError

    return StreamingResponse(parts())


@native.get("/long")
async def long() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(MEGABYTES):
            yield b"x" * 1_000_000

    return StreamingResponse(parts())


app = Gateway(
    legacy,
    native,
    {"version": 1, "routes": [{"path": f"/{name}", "cutover": "shadow"} for name in MIRRORED]},
)
