"""The server of the soak: every kind of route, and a table that changes five times a second."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import threading
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from flask import Flask, Response, g, request, session

from gateway import Gateway, Principal, current_principal
from gateway.flask import FlaskSession  # noqa: TC001 - FastAPI reads it

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PIECE = b"x" * 65_536
SWAP_SECONDS = 0.2

flask = Flask("soak")
flask.secret_key = "soak"


@flask.before_request
def identify() -> None:
    g.who = request.headers.get("X-Who", "")


@flask.after_request
def mark(response: Response) -> Response:
    response.headers["X-Was"] = g.who
    return response


@flask.get("/hello")
@flask.get("/moving")
@flask.get("/inherited")
def hello() -> str:
    return f"hello {g.who}"


@flask.get("/session")
@flask.get("/session/native")
def visits() -> str:
    session["n"] = session.get("n", 0) + 1
    return str(session["n"])


@flask.get("/shared")
@flask.get("/shared/native")
def shared() -> str:
    return f"{g.principal.id} {g.who}"


@flask.get("/download")
def download() -> Response:
    def parts() -> Iterator[bytes]:
        for _ in range(160):
            yield PIECE

    return Response(parts())


@flask.get("/endless")
def endless() -> Response:
    def parts() -> Iterator[bytes]:
        while True:
            yield PIECE
            time.sleep(0.01)

    return Response(parts())


@flask.post("/upload")
def upload() -> str:
    total = 0
    while piece := request.stream.read(65_536):
        total += len(piece)
    return str(total)


@flask.get("/crash")
def crash() -> str:
    raise ZeroDivisionError


def rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def stats() -> dict[str, Any]:
    """Show what is used; `held_mb` is what stays once glibc has given back what is free."""
    gc.collect()
    pool = gateway._pool.stats()
    resident = rss_mb()
    ctypes.CDLL(None).malloc_trim(0)
    return {
        "rss_mb": resident,
        "held_mb": rss_mb(),
        "threads": threading.active_count(),
        "fds": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        "tasks": len(asyncio.all_tasks()),
        "objects": len(gc.get_objects()),
        "busy": pool.busy,
        "queued": pool.queued,
        "dropped": pool.dropped,
        "refused": pool.refused,
        "spooled": gateway._dispatch.legacy.spooled.used,
        "swaps": swaps,
    }


swaps = 0


async def swap() -> None:
    """Flip between two tables, which differ in who serves `/moving`."""
    global swaps  # noqa: PLW0603 - one process, one counter
    pair = [gateway.snapshots.current, other.snapshots.current]
    while True:
        await asyncio.sleep(SWAP_SECONDS)
        pair.reverse()
        gateway.snapshots.swap(gateway.snapshots.current.revision, pair[0])
        swaps += 1


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    task = asyncio.create_task(swap())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


native = FastAPI(lifespan=lifespan)


@native.get("/stats")
async def show() -> dict[str, Any]:
    return stats()


@native.get("/native")
async def natively() -> str:
    return "native"


@native.get("/moving")
@native.get("/inherited")
async def moved() -> str:
    return f"hello {g.who}"


@native.get("/session/native")
async def natively_visited(held: FlaskSession) -> int:
    held["n"] = held.get("n", 0) + 1
    return int(held["n"])


@native.get("/shared/native")
async def natively_shared(principal: Annotated[Principal, Depends(current_principal)]) -> str:
    return f"{principal.id} {g.who}"


async def caller(request: Request) -> str:
    """The shared guard: whoever says who they are."""
    who = request.headers.get("x-who", "")
    if not who:
        raise HTTPException(401)
    return who


@native.get("/native/endless")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield PIECE
            await asyncio.sleep(0.01)

    return StreamingResponse(parts())


@native.put("/upload")
async def take(request: Request) -> int:
    total = 0
    async for piece in request.stream():
        total += len(piece)
    return total


def config(cutover: str) -> dict[str, Any]:
    return {
        "version": 1,
        "auth": {"dependency": "tests.soak.app:caller"},
        "legacy": {"threads": 16, "max_body": "50MB", "send_timeout": "5s"},
        "routes": [
            {"path": "/moving", "methods": ["GET"], "cutover": cutover, "auth": "none"},
            # Flask has this path for other methods, so that its 405 would stay.
            {"path": "/upload", "methods": ["PUT"], "cutover": "native", "auth": "none"},
            {"path": "/inherited", "methods": ["GET"], "cutover": "native", "auth": "none"},
            {"path": "/stats", "cutover": "native", "auth": "none", "hooks": "skip"},
            {"path": "/session/native", "cutover": "native", "hooks": "skip", "auth": "none"},
            {"path": "/shared", "cutover": "legacy", "auth": "shared"},
            {"path": "/shared/native", "cutover": "native", "auth": "shared"},
        ],
    }


gateway = Gateway(flask, native, config("native"), verify_lock=False)
other = Gateway(flask, native, config("legacy"), verify_lock=False)
