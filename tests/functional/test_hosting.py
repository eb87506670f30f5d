"""The same gateway in other servers: Hypercorn and Granian (ASGI), gunicorn and Granian (WSGI)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest
import websockets

from tests.functional.live import TOKEN, search_path, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.network

APPS = """
import asyncio, time
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from flask import Flask, Response, request

flask, native = Flask("legacy"), FastAPI()
log = []

@flask.get("/legacy")
def legacy():
    return "legacy"

@flask.post("/echo")
def echo():
    return str(len(request.get_data()))

@flask.get("/stream")
def stream():
    return Response(f"{n} " * 1000 for n in range(100))

@flask.get("/moved")
def moved_view():
    return "legacy"

@native.get("/moved")
async def moved():
    await asyncio.sleep(0.05)
    return "native"

@native.post("/native/echo")
async def native_echo(request: Request):
    return len(await request.body())

@native.get("/native/endless")
async def endless():
    async def parts():
        try:
            while True:
                yield b"x" * 10_000
                await asyncio.sleep(0.01)
        finally:
            log.append("over")
    return StreamingResponse(parts())

@native.get("/native/log")
async def show():
    return log

@native.websocket("/native/socket")
async def socket(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()
"""
CONFIG = """\
version: 1
legacy: {app: "hosted_apps:flask", threads: 4}
native: {app: "hosted_apps:native"}
admin: {token_env: GATEWAY_ADMIN_TOKEN}
served_by: true
routes: [{name: moved, path: /moved, cutover: native, auth: none}]
"""
SERVERS = {
    "hypercorn": ["hypercorn", "gateway.asgi:app", "--bind", "127.0.0.1:PORT"],
    "granian": ["granian", "gateway.asgi:app", "--interface", "asgi", "--port", "PORT"],
    "gunicorn-sync": ["gunicorn", "gateway.wsgi:app", "--bind", "127.0.0.1:PORT"],
    "gunicorn-gthread": [
        "gunicorn", "gateway.wsgi:app", "--threads", "8", "--bind", "127.0.0.1:PORT",
    ],
    "granian-wsgi": [
        "granian", "gateway.wsgi:app", "--interface", "wsgi", "--blocking-threads", "8",
        "--port", "PORT",
    ],
}  # fmt: skip
ASGI = ("hypercorn", "granian")


@pytest.fixture(scope="module", params=SERVERS)
def hosted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    with run(request.param, tmp_path_factory.mktemp("hosted")) as (_, url):
        yield request.param, url


@contextlib.contextmanager
def run(name: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    pytest.importorskip(SERVERS[name][0])
    (folder / "hosted_apps.py").write_text(APPS)
    (folder / "gateway.yaml").write_text(CONFIG)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    program, *words = [word.replace("PORT", str(port)) for word in SERVERS[name]]
    env = {
        **os.environ,
        "PYTHONPATH": search_path(folder),
        "GATEWAY_CONFIG": str(folder / "gateway.yaml"),
    }
    env |= {"GATEWAY_ADMIN_TOKEN": TOKEN, "GATEWAY_STATE": f"sqlite:///{folder}/state.db"}
    process = subprocess.Popen(
        [sys.executable, "-m", program, *words], cwd=folder, env=env, start_new_session=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: ready(url), 30)
        yield process, url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ready(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/-/ready").status_code == 200
    return False


def test_both_sides_answer(hosted: tuple[str, str]) -> None:
    _, url = hosted
    assert httpx.get(f"{url}/legacy").text == "legacy"
    moved = httpx.get(f"{url}/moved")
    assert (moved.json(), moved.headers["x-served-by"]) == ("native", "native")
    assert httpx.head(f"{url}/moved").headers["content-length"] == "8"
    assert httpx.get(f"{url}/nowhere").status_code == 404
    assert len(httpx.get(f"{url}/stream").content) == 290_000


@pytest.mark.parametrize("path", ["/echo", "/native/echo"])
@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_bodies_are_whole_also_in_chunks(hosted: tuple[str, str], path: str, size: int) -> None:
    _, url = hosted
    assert httpx.post(url + path, content=b"b" * size).text == str(size)
    pieces = iter([b"b" * (size // 2), b"b" * (size - size // 2)])
    assert httpx.post(url + path, content=pieces).text == str(size)


def test_many_at_once(hosted: tuple[str, str]) -> None:
    name, url = hosted
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: httpx.get(f"{url}/moved", timeout=20).json(), range(60)))
    assert answers == ["native"] * 60, name


def test_the_admin_pages_steer_it(hosted: tuple[str, str]) -> None:
    _, url = hosted
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for cutover in ("legacy", "native"):
        body = {"route": "moved", "cutover": cutover}
        answer = httpx.post(f"{url}/-/overrides", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        wait_until(lambda c=cutover: httpx.get(f"{url}/moved").headers["x-served-by"] == c, 3)
    assert "gateway_requests_total" in httpx.get(f"{url}/-/metrics", headers=headers).text


def test_a_client_that_leaves_ends_a_stream(hosted: tuple[str, str]) -> None:
    name, url = hosted
    before = len(httpx.get(f"{url}/native/log").json())
    with httpx.stream("GET", f"{url}/native/endless") as answer:
        next(answer.iter_raw())
    if name == "granian-wsgi":
        return  # it goes on for nobody: Granian never closes a WSGI answer (PEP 3333)
    wait_until(lambda: len(httpx.get(f"{url}/native/log", timeout=20).json()) == before + 1, 15)


def test_websockets(hosted: tuple[str, str]) -> None:
    name, url = hosted

    async def talk() -> str | bytes:
        async with websockets.connect(f"ws{url[4:]}/native/socket") as client:
            await client.send("hello")
            return await client.recv()

    if name in ASGI:
        assert asyncio.run(talk()) == "hello"
        return
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    answer = httpx.get(f"{url}/native/socket", headers=upgrade)
    assert (answer.status_code, "ASGI server" in answer.text) == (501, True)


@pytest.mark.parametrize("name", SERVERS)
def test_sigterm_ends_it(tmp_path: Path, name: str) -> None:
    with run(name, tmp_path) as (process, url):
        assert httpx.get(f"{url}/legacy").text == "legacy"
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        assert time.monotonic() - started < 15
