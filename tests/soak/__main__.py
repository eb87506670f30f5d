"""Run the soak and judge it: no error, no thread or file lost, every worker idle, memory flat."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

ROOT = Path(__file__).parents[2]
#: How much more memory the last quarter of the run may take than the second one.
RSS_GROWTH = 1.05
#: What the server's `send_timeout` is, in seconds: a stalled client holds its thread so long.
SEND_TIMEOUT = 5.0
CONSOLE = Console(highlight=False)


Kind = Callable[[http.client.HTTPConnection], None]
PAGES = [
    ("/hello", "hello WHO"),
    ("/moving", "hello WHO"),
    ("/inherited", "hello WHO"),
    ("/shared", "WHO WHO"),
    ("/shared/native", "WHO WHO"),
    ("/session", ""),
    ("/session/native", ""),
]


class Clients:
    """Threads that each do one thing again and again, until told to stop."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.done: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.stop = threading.Event()
        kinds: list[Kind] = [self.legacy, self.native, self.moving, self.inherited]
        kinds += [self.sessions, self.upload]
        kinds += [self.native_upload, self.leave_download, self.leave_native_stream]
        kinds += [self.leave_upload, self.stall, self.crash, self.odd]
        self.threads = [threading.Thread(target=self.repeat, args=(kind,)) for kind in kinds]

    @classmethod
    def identities(cls, port: int, number: int) -> Clients:
        """Make `number` clients that each are somebody, on every kind of route."""
        clients = cls(port)
        clients.threads = [
            threading.Thread(target=clients.live, args=(f"id-{each}",)) for each in range(number)
        ]
        return clients

    def live(self, who: str) -> None:
        """Be somebody: every answer must be one's own, and every visit be counted once."""
        visits = 0
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30) as client:
            client.headers["X-Who"] = who
            while not self.stop.is_set():
                path, want = random.choice(PAGES)
                if path.startswith("/session"):
                    visits += 1
                    want = str(visits)
                try:
                    answer = client.get(path)
                except httpx.HTTPError as error:
                    self.errors[f"{type(error).__name__}: {error}"] += 1
                    continue
                mine = answer.text.strip('"') == want.replace("WHO", who)
                if answer.status_code != 200 or not mine:
                    self.errors[f"{path}: {answer.status_code} {answer.text[:80]}"] += 1
                if answer.headers.get("x-was", who) != who:
                    self.errors[f"{path}: somebody else's hook"] += 1
                self.done[path] += 1

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        """Stop, and wait until what was in flight is over."""
        self.stop.set()
        for thread in self.threads:
            thread.join(40)
        time.sleep(SEND_TIMEOUT + 3)

    def repeat(self, kind: Kind) -> None:
        name = kind.__name__
        while not self.stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            with contextlib.closing(connection):
                for _ in range(20):
                    if self.stop.is_set():
                        break
                    try:
                        kind(connection)
                    except Exception as error:
                        self.errors[f"{name}: {type(error).__name__}: {error}"] += 1
                        break
                    self.done[name] += 1
                    time.sleep(random.uniform(0.001, 0.01))

    def ask(self, connection: http.client.HTTPConnection, path: str, want: bytes) -> None:
        who = str(random.random())
        connection.request("GET", path, headers={"X-Who": who})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or body.strip(b'"') != want.replace(b"WHO", who.encode()):
            raise ValueError(f"{path}: {answer.status} {body[:80]!r}")

    def legacy(self, connection: http.client.HTTPConnection) -> None:
        self.ask(connection, "/hello", b"hello WHO")

    def native(self, connection: http.client.HTTPConnection) -> None:
        self.ask(connection, "/native", b"native")

    def moving(self, connection: http.client.HTTPConnection) -> None:
        self.ask(connection, "/moving", b"hello WHO")

    def inherited(self, connection: http.client.HTTPConnection) -> None:
        self.ask(connection, "/inherited", b"hello WHO")

    def sessions(self, connection: http.client.HTTPConnection) -> None:
        self.ask(connection, "/session", b"1")

    def send(self, connection: http.client.HTTPConnection, method: str) -> None:
        size = random.randrange(1, 8_000_000)
        connection.request(method, "/upload", body=b"u" * size)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or int(body) != size:
            raise ValueError(f"{answer.status} {body[:80]!r} for {size} bytes")

    def upload(self, connection: http.client.HTTPConnection) -> None:
        self.send(connection, "POST")

    def native_upload(self, connection: http.client.HTTPConnection) -> None:
        self.send(connection, "PUT")

    def raw(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        if random.random() < 0.5:  # half of them leave with a reset
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return client

    def leave(self, path: str) -> None:
        with self.raw() as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            if not client.recv(1000):
                raise ValueError("no answer")

    def leave_download(self, _: http.client.HTTPConnection) -> None:
        self.leave(random.choice(["/download", "/endless"]))

    def leave_native_stream(self, _: http.client.HTTPConnection) -> None:
        self.leave("/native/endless")

    def leave_upload(self, _: http.client.HTTPConnection) -> None:
        method = random.choice(["POST", "PUT"])
        with self.raw() as client:
            head = f"{method} /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"
            client.sendall(head.encode() + b"u" * random.randrange(2_000_000))

    def stall(self, _: http.client.HTTPConnection) -> None:
        with self.raw() as client:
            client.sendall(b"GET /download HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(1000)
            self.stop.wait(random.uniform(0, 7))

    def crash(self, connection: http.client.HTTPConnection) -> None:
        connection.request("GET", "/crash")
        answer = connection.getresponse()
        answer.read()
        if answer.status != 500:
            raise ValueError(f"/crash: {answer.status}")
        time.sleep(0.2)

    def odd(self, _: http.client.HTTPConnection) -> None:
        junk = [b"\x00\xff", b"GET / HTTP/1.1\r\n\r\n", b"BREW /%ff//x HTTP/1.1\r\nHost: x\r\n\r\n"]
        with self.raw() as client:
            client.sendall(random.choice(junk))
            client.settimeout(1)
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                client.recv(1000)


def stats(url: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{url}/stats", timeout=30).json()
    return found


def settled(url: str) -> dict[str, Any]:
    """Wait until nothing is in flight any more, at most half a minute."""
    for _ in range(60):
        found = stats(url)
        if not (found["busy"] or found["queued"]):
            break
        time.sleep(0.5)
    return found


def judge(start: dict[str, Any], rows: list[dict[str, Any]], end: dict[str, Any]) -> list[str]:
    """Say what is wrong; nothing means that the soak has passed."""
    wrong = []
    if end["threads"] != start["threads"]:
        wrong.append(f"threads: {start['threads']} before, {end['threads']} after")
    if end["fds"] > start["fds"]:
        wrong.append(f"open files: {start['fds']} before, {end['fds']} after")
    if end["tasks"] > start["tasks"]:
        wrong.append(f"tasks: {start['tasks']} before, {end['tasks']} after")
    wrong += [f"{key}: {end[key]} at the end" for key in ("busy", "queued", "spooled") if end[key]]
    # Freed memory that glibc keeps in its heaps is no leak, so that it is asked to let go first.
    rss = [row["held_mb"] for row in rows]
    quarter = len(rss) // 4
    if quarter:
        before, after = rss[quarter : 2 * quarter], rss[-quarter:]
        if statistics.median(after) > RSS_GROWTH * statistics.median(before):
            wrong.append(f"RSS grew from {before} to {after} MB")
    return wrong


def line(minute: float, clients: Clients, found: dict[str, Any]) -> str:
    return (
        f"{minute:6.1f} min  {clients.done.total():8,} requests  {clients.errors.total()} errors  "
        f"RSS {found['rss_mb']:.1f} MB, trimmed {found['held_mb']:.1f}  "
        f"threads {found['threads']}  files {found['fds']}  "
        f"tasks {found['tasks']}  objects {found['objects']:,}  "
        f"busy {found['busy']}  queued {found['queued']}  "
        f"dropped {found['dropped']}  refused {found['refused']}  swaps {found['swaps']}"
    )


def run(minutes: float, port: int, identities: int) -> bool:
    def make() -> Clients:
        return Clients.identities(port, identities) if identities else Clients(port)

    url = f"http://127.0.0.1:{port}"
    for _ in range(200):
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/-/ready").status_code == 200:
                break
        time.sleep(0.1)
    # Thread pools grow to their bounds, modules are imported: that is no leak.
    warm = make()
    warm.start()
    time.sleep(min(15.0, minutes * 6))
    warm.end()
    start = settled(url)
    clients = make()
    clients.start()
    began = time.monotonic()
    rows = []
    step = min(60.0, minutes * 60 / 8)
    while time.monotonic() - began < minutes * 60:
        time.sleep(step)
        found = stats(url)
        rows.append(found)
        CONSOLE.print(line((time.monotonic() - began) / 60, clients, found), soft_wrap=True)
    clients.end()
    end = settled(url)
    CONSOLE.print(line((time.monotonic() - began) / 60, clients, end), soft_wrap=True)
    CONSOLE.print(dict(clients.done))
    wrong = judge(start, rows, end) + [f"{n} times {text}" for text, n in clients.errors.items()]
    for each in wrong:
        CONSOLE.print(f"[red]{each}")
    CONSOLE.print("FAILED" if wrong else "PASSED")
    return not wrong


def main(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long.")] = 20.0,
    identities: Annotated[
        int, typer.Option(min=0, help="So many callers at once instead, each of them somebody.")
    ] = 0,
) -> None:
    """Soak a gateway on the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "tests.soak.app:gateway", "--port", str(port)]
    command += ["--no-access-log", "--log-level", "critical"]
    # Else glibc learns to keep the buffers of uploads in its heaps, whose holes look like a leak
    # for hours; the README tells the same to who runs the gateway.
    env = {"MALLOC_MMAP_THRESHOLD_": "131072", **os.environ, "PYTHONPATH": str(ROOT)}
    with Path(os.devnull).open("wb") as nowhere:
        server = subprocess.Popen(command, cwd=ROOT, env=env, stderr=nowhere)
        try:
            passed = run(minutes, port, identities)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(90)
    raise typer.Exit(0 if passed else 1)


if __name__ == "__main__":
    typer.run(main)
