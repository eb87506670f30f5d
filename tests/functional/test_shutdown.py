"""SIGTERM and SIGINT to a real server process, with requests in flight (A21)."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.functional.live import search_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.network

APPS = """
import asyncio, os, time
from fastapi import FastAPI
from flask import Flask, Response, request

flask, native = Flask("slow"), FastAPI()

@flask.get("/slow/<float:seconds>")
def slow(seconds):
    open(f"started-{os.getpid()}", "a").close()
    time.sleep(seconds)
    return "whole " * 1000

@flask.get("/stream")
def stream():
    def parts():
        for n in range(10):
            open("streaming", "a").close()
            yield f"{n} "
            time.sleep(0.1)
    return Response(parts())

@flask.get("/hello")
def hello():
    return "hello"

@flask.get("/who")
def who():
    return f"{request.remote_addr} {request.scheme}"

@native.get("/native/{seconds}")
async def wait(seconds: float):
    open("native-started", "a").close()
    await asyncio.sleep(seconds)
    return "whole"
"""
CONFIG = """
version: 1
legacy: {app: "slow_apps:flask", threads: 1, shutdown_timeout: 2s}
native: {app: "slow_apps:native"}
"""
SIGNALS = [signal.SIGTERM, signal.SIGINT]


@contextlib.contextmanager
def process(
    folder: Path, *flags: str, workers: int = 1, uvicorn: bool = False, graceful: int = 5
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    (folder / "slow_apps.py").write_text(APPS)
    (folder / "gateway.yaml").write_text(CONFIG)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gateway", "serve", "gateway.yaml", "--no-access-log"]
    command += ["--port", str(port), "--workers", str(workers), f"--graceful-timeout={graceful}"]
    if uvicorn:
        command = [sys.executable, "-m", "uvicorn", "gateway.asgi:app", "--port", str(port)]
        command += ["--timeout-graceful-shutdown", str(graceful), "--workers", str(workers)]
    command += flags
    # Whoever runs the tests in the background may have them ignore Ctrl-C.
    command = ["env", "--default-signal=INT", *command]
    env = {**os.environ, "PYTHONPATH": search_path(folder), "GATEWAY_CONFIG": "gateway.yaml"}
    # A session of its own: the signal must reach the server alone, not its test.
    running = subprocess.Popen(
        command, cwd=folder, env=env, stderr=subprocess.PIPE, start_new_session=True
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: ready(url), running)
        yield running, url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        assert running.stderr is not None
        running.stderr.close()


def ready(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/-/ready").status_code == 200
    return False


def wait_for(condition: object, running: subprocess.Popen[bytes], seconds: float = 30) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert running.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def send(url: str, path: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    client = socket.create_connection((host, int(port)), timeout=20)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


def read(client: socket.socket) -> bytes:
    data = b""
    with client, contextlib.suppress(ConnectionResetError):
        while piece := client.recv(65536):
            data += piece
    return data


def ended(running: subprocess.Popen[bytes], seconds: float) -> float:
    """Wait for the end; return how long it took."""
    started = time.monotonic()
    running.wait(seconds)
    return time.monotonic() - started


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("uvicorn", [False, True], ids=["gateway", "uvicorn"])
def test_what_is_in_flight_ends_and_what_is_queued_gets_its_turn(
    tmp_path: Path, number: int, uvicorn: bool
) -> None:
    with process(tmp_path, uvicorn=uvicorn) as (running, url):
        idle = send(url, "/hello")
        received = b""
        while b"hello" not in received:
            received += idle.recv(65536)
        legacy = send(url, "/slow/1.0")
        wait_for(lambda: list(tmp_path.glob("started-*")), running)
        native = send(url, "/native/1.0")
        wait_for((tmp_path / "native-started").exists, running)
        queued = send(url, "/hello")
        time.sleep(0.2)
        os.kill(running.pid, number)
        answers = [read(each) for each in (legacy, native, queued)]
        assert answers[0].endswith(b"whole " * 1000)
        assert answers[1].endswith(b'"whole"')
        assert answers[2].endswith(b"hello")
        assert ended(running, 5) < 3, "an idle connection delays nothing"
        # uvicorn before 0.31 lets click say "Aborted!" and exit with 1 on Ctrl-C.
        aborted = [1] if uvicorn and number == signal.SIGINT else []
        assert running.returncode in [0, -number, 128 + number, *aborted]
        assert read(idle) == b""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_view_beyond_the_deadline_keeps_nobody_alive(tmp_path: Path, number: int) -> None:
    with process(tmp_path, graceful=1) as (running, url):
        client = send(url, "/slow/60.0")
        wait_for(lambda: list(tmp_path.glob("started-*")), running)
        queued = send(url, "/hello")
        time.sleep(0.2)
        os.kill(running.pid, number)
        # One second of uvicorn's grace, two of the pool's, and the interpreter's own end.
        assert 2 < ended(running, 10) < 7
        assert running.stderr is not None
        said = running.stderr.read()
        assert b"1 legacy requests still ran after 2.0 s; left behind" in said
        client.close()
        queued.close()


def test_a_stream_is_whole(tmp_path: Path) -> None:
    with process(tmp_path) as (running, url):
        client = send(url, "/stream")
        wait_for((tmp_path / "streaming").exists, running)
        os.kill(running.pid, signal.SIGTERM)
        answer = read(client)
        assert answer.endswith(b"\r\n0\r\n\r\n")
        assert b"9 " in answer
        assert ended(running, 5) < 3


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with process(tmp_path, graceful=60) as (running, url):
        client = send(url, "/slow/60.0")
        wait_for(lambda: list(tmp_path.glob("started-*")), running)
        os.kill(running.pid, signal.SIGINT)
        time.sleep(0.5)
        os.kill(running.pid, signal.SIGINT)
        assert ended(running, 10) < 5
        client.close()


@pytest.mark.parametrize("number", SIGNALS)
def test_two_workers_end_their_requests(tmp_path: Path, number: int) -> None:
    with process(tmp_path, workers=2) as (running, url):
        clients = [send(url, "/slow/1.0") for _ in range(2)]
        wait_for(lambda: list(tmp_path.glob("started-*")), running)
        time.sleep(0.1)
        os.kill(running.pid, number)
        assert all(read(each).endswith(b"whole ") for each in clients)
        assert ended(running, 10) < 6


@pytest.mark.parametrize(
    ("flags", "seen"),
    [
        ((), "127.0.0.1 http"),
        (("--proxy-headers",), "127.0.0.1 http"),
        (("--proxy-headers", "--forwarded-allow-ips=127.0.0.1"), "203.0.113.7 https"),
        (("--proxy-headers", "--forwarded-allow-ips=10.0.0.0/8"), "127.0.0.1 http"),
    ],
)
def test_forwarded_headers_are_believed_only_of_whom_the_flags_name(
    tmp_path: Path, flags: tuple[str, ...], seen: str
) -> None:
    """A23: uvicorn by itself believes whoever speaks from 127.0.0.1."""
    with process(tmp_path, *flags) as (_, url):
        headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
        assert httpx.get(f"{url}/who", headers=headers).text == seen
