"""Real gateway processes under a load of real requests, and an administrator who changes things."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway import Gateway

TOKEN = "0123456789abcdef-a-token"
APPS = """
from fastapi import FastAPI
from flask import Flask

flask, native = Flask("legacy"), FastAPI()
for name in ("a", "b", "c"):
    flask.add_url_rule(f"/{name}", name, lambda: "legacy")
    native.add_api_route(f"/{name}", lambda: "native")
native.add_api_route("/new", lambda: "native")
"""
CONFIG = """\
version: 1
legacy: {app: "live_apps:flask", threads: 8}
native: {app: "live_apps:native"}
admin: {token_env: GATEWAY_ADMIN_TOKEN}
served_by: true
"""
RULES = """\
routes:
  - {name: a, path: /a, cutover: legacy, auth: none}
  - {name: b, path: /b, cutover: native, auth: none}
"""


@dataclass
class Server:
    """One `gateway serve` and how to reach it."""

    process: subprocess.Popen[bytes]
    url: str
    folder: Path
    written: Path

    def ask(self, method: str, page: str, **more: Any) -> httpx.Response:
        """Ask an admin page, with the token."""
        headers = {"Authorization": f"Bearer {TOKEN}", **more.pop("headers", {})}
        return httpx.request(method, f"{self.url}/-{page}", headers=headers, timeout=20, **more)

    def post(self, page: str, body: dict[str, Any]) -> dict[str, Any]:
        """Change something; it has to be accepted."""
        answer = self.ask("POST", page, json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def log(self) -> str:
        """Return what it has written so far."""
        return self.written.read_text()


def search_path(folder: Path) -> str:
    """Return where a process finds the apps in `folder`, and the gateway that is under test.

    A worktree's own comes before the one that is installed.
    """
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))


@contextlib.contextmanager
def server(
    folder: Path, *flags: str, config: str = CONFIG + RULES, **environ: str
) -> Iterator[Server]:
    """Run `gateway serve` on a config in `folder`, which is written unless it is there."""
    if not (folder / "live_apps.py").exists():
        (folder / "live_apps.py").write_text(APPS)
    file = folder / "gateway.yaml"
    if not file.exists():
        file.write_text(config)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    # Whoever runs the tests in the background may have them ignore the signals.
    command = ["env", "--default-signal=HUP,INT"]
    command += [sys.executable, "-m", "gateway", "serve", str(file), "--no-access-log"]
    command += [*flags, "--port", str(port)]
    env = {**os.environ, "PYTHONPATH": search_path(folder), "GATEWAY_ADMIN_TOKEN": TOKEN, **environ}
    env.pop("GATEWAY_STATE", None)
    env.update(environ)
    written = folder / f"{port}.log"
    with written.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    running = Server(process, f"http://127.0.0.1:{port}", folder, written)
    try:
        wait_until(lambda: is_ready(running), 30)
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def samples_kept(gateway: Gateway) -> Iterator[list[dict[str, Any]]]:
    """Keep the samples of mismatches that go into the gateway's store, as they go there."""
    kept: list[dict[str, Any]] = []
    verdicts = gateway.mirrors.verdicts
    take = verdicts.take_samples

    def take_samples() -> dict[str, dict[str, Any]]:
        found = take()
        kept.extend(found.values())
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdicts, "take_samples", take_samples)
        yield kept


def is_ready(running: Server) -> bool:
    assert running.process.poll() is None, running.log()
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{running.url}/-/ready").status_code == 200
    return False


def wait_until(condition: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


@dataclass
class Crowd(ABC):
    """Clients that ask again and again; one that fails goes on at the next server."""

    urls: list[str]
    clients: int = 4
    pause: float = 0.002
    failures: list[str] = field(default_factory=list)

    @abstractmethod
    def ask(self, connection: http.client.HTTPConnection, turn: int) -> None:
        """Ask once, for the `turn`th time on this connection."""

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(self.clients)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, number: int) -> None:
        while not self._stop.is_set():
            host = self.urls[number % len(self.urls)].removeprefix("http://")
            # A new connection now and then, so that every worker gets its share.
            with contextlib.closing(http.client.HTTPConnection(host, timeout=20)) as connection:
                for turn in range(20):
                    if self._stop.is_set():
                        return
                    try:
                        self.ask(connection, turn)
                    except (OSError, http.client.HTTPException) as error:
                        self.failures.append(repr(error))
                        number += 1
                        break
                    time.sleep(self.pause)


@dataclass
class Load(Crowd):
    """A crowd that asks for `paths` in turn; who answered, and when it was asked for."""

    paths: list[str] = field(default_factory=list)
    answers: list[tuple[float, str, str]] = field(default_factory=list)

    def ask(self, connection: http.client.HTTPConnection, turn: int) -> None:
        path = self.paths[turn % len(self.paths)]
        asked = time.monotonic()
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode().strip('"')
        if answer.status != 200 or body != answer.headers["x-served-by"]:
            self.failures.append(f"{path}: {answer.status} {body}")
        self.answers.append((asked, path, body))

    def sides(self, path: str, since: float, until: float = float("inf")) -> set[str]:
        """Return who answered `path` when it was asked for in between."""
        found = {side for at, p, side in list(self.answers) if p == path and since <= at < until}
        assert found, "nobody asked"
        return found
