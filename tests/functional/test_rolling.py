"""Rolling updates of two processes behind nginx, under load: nothing is lost."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.functional.live import APPS, CONFIG, RULES, Server, server, wait_until
from tests.functional.services import required

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.network, pytest.mark.slow]

MORE = """
import asyncio, time
from flask import request
from fastapi import Request

@flask.post("/upload")
def upload():
    time.sleep(0.05)
    return str(len(request.get_data()))

@native.post("/native/upload")
async def native_upload(request: Request):
    await asyncio.sleep(0.05)
    return len(await request.body())
"""
NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_buffer_size 128k;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream gateway {{ {servers} keepalive 8; keepalive_timeout 2s; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://gateway;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_next_upstream off;
    }}
  }}
}}
"""


class Balancer:
    """nginx, and what Kubernetes' endpoints controller does: only who is ready gets traffic."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.members: list[Server] = []
        self._listed: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._control)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        program = required("nginx")
        self._write()
        self._process = subprocess.Popen([program, "-p", str(self.folder), "-c", "nginx.conf"])
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()
            self._process.terminate()
            self._process.wait()

    def _write(self) -> None:
        self._listed = [each.url for each in self.members if _ready(each)]
        servers = " ".join(f"server {url.removeprefix('http://')};" for url in self._listed)
        text = NGINX.format(folder=self.folder, port=self.port, servers=servers)
        (self.folder / "nginx.conf").write_text(text)

    def _control(self) -> None:
        while not self._stop.wait(0.2):
            if [each.url for each in self.members if _ready(each)] != self._listed:
                self._write()
                assert self._process is not None
                self._process.send_signal(signal.SIGHUP)

    def leads_to(self, member: Server) -> bool:
        return member.url in self._listed


def _ready(member: Server) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{member.url}/-/ready", timeout=1).status_code == 200
    return False


def _ask(port: int, stop: threading.Event, done: list[str], failures: list[str]) -> None:
    jobs = [("GET", "/a", b""), ("GET", "/b", b""), ("POST", "/upload", b"u" * 50_000)]
    jobs += [("POST", "/native/upload", b"u" * 50_000)]
    number = 0
    while not stop.is_set():
        method, path, body = jobs[number % len(jobs)]
        number += 1
        # One request per connection: a reload of nginx closes idle ones, which is not ours to test.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, body, {"Connection": "close"})
                answer = connection.getresponse()
                text = answer.read().decode().strip('"')
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"{method} {path}: {error!r}")
                continue
        wanted = str(len(body)) if body else {"/a": "legacy", "/b": "native"}[path]
        if (answer.status, text) != (200, wanted):
            failures.append(f"{method} {path}: {answer.status} {text[:60]}")
        done.append(path)


@pytest.mark.timeout(300)
def test_five_rolling_updates_lose_nothing(tmp_path: Path) -> None:
    (tmp_path / "live_apps.py").write_text(APPS + MORE)
    (tmp_path / "gateway.yaml").write_text(CONFIG + RULES)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    balancer = Balancer(tmp_path, port)
    stop, done, failures = threading.Event(), list[str](), list[str]()
    with contextlib.ExitStack() as stack:

        def start() -> Server:
            return stack.enter_context(server(tmp_path, "--drain-delay", "2"))

        balancer.members += [start(), start()]
        stack.enter_context(balancer.running())
        wait_until(lambda: httpx.get(f"http://127.0.0.1:{port}/a").status_code == 200)
        clients = [
            threading.Thread(target=_ask, args=(port, stop, done, failures)) for _ in range(6)
        ]
        for client in clients:
            client.start()
        began = time.monotonic()
        try:
            for _ in range(5):
                fresh = start()
                balancer.members.append(fresh)
                wait_until(lambda f=fresh: balancer.leads_to(f))
                time.sleep(1)
                old = balancer.members[0]
                os.kill(old.process.pid, signal.SIGTERM)
                wait_until(lambda o=old: not balancer.leads_to(o))
                old.process.wait(20)
                balancer.members.remove(old)
            time.sleep(max(0.0, 30 - (time.monotonic() - began)))
        finally:
            stop.set()
            for client in clients:
                client.join()
    assert failures[:10] == []
    assert len(done) > 1000
