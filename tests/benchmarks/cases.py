"""What is measured. A case turns one running server into one sample of figures."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tests.benchmarks import load, measure, transfers
from tests.benchmarks.apps.native import COUNT, flat_path, nested_path
from tests.benchmarks.load import Request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.results import Sample
    from tests.benchmarks.server import Server

#: Kept-alive connections of the load generator, each with one request at a time.
CONNECTIONS = 16
#: Legacy requests of one second in flight: more than the pool of any peer takes by default.
IN_FLIGHT = 45
_STALL = 5.0
_ECHO = json.dumps({"id": 7, "name": "lamp", "price": 12.5, "tags": ["a", "b", "c"]})

MB = transfers.MB
Take = Callable[["Server", "Case", int], "Sample"]


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the comparison.

    `side` picks the peers that can take part, `peers` narrows them; `baseline` is the peer that
    ratios are told against. `blocks` caps the A-B-B-A blocks where one takes long. `take` gets
    the whole seconds that a load should last.
    """

    name: str
    title: str
    side: Literal["legacy", "native", "both"]
    baseline: str
    take: Take
    request: Request
    routes: Literal["hello", "flat", "nested"] = "hello"
    peers: tuple[str, ...] = ()
    blocks: int | None = None

    def path(self, server: Server) -> str:
        """Return the request's path as the server's peer serves it."""
        peer = server.peer
        prefix = peer.native if self.side == "native" else peer.legacy
        return f"{prefix}{self.request.path}"


def small(server: Server, case: Case, seconds: int) -> Sample:
    """Many small requests: CPU of the whole process tree, throughput and latency."""
    request = Request(case.path(server), case.request.body)
    before = server.cpu_seconds()
    found = load.run(server.port, request, connections=CONNECTIONS, seconds=seconds)
    used = server.cpu_seconds() - before
    if not found.requests:
        raise load.LoadError("no request was answered")
    return {
        "cpu_us": used / found.requests * 1e6,
        "rps": found.requests / found.seconds,
        "p50_ms": found.p50_ms,
        "p99_ms": found.p99_ms,
        "errors": found.errors,
    }


def download(server: Server, case: Case, _seconds: int) -> Sample:
    """Fetch 100 MB over one connection: throughput and CPU."""
    before = server.cpu_seconds()
    taken = transfers.download(server.port, case.path(server), 100)
    used = server.cpu_seconds() - before
    return {"mb_s": 100 / taken, "cpu_ms": used * 1e3}


def upload(server: Server, case: Case, _seconds: int) -> Sample:
    """Send 200 MB: growth of resident memory over the idle server, and throughput."""
    path = case.path(server)
    _set_idle(server, lambda: transfers.upload(server.port, path, 1))
    before = server.cpu_seconds()
    with measure.PeakRss(server.pids) as peak:
        taken = transfers.upload(server.port, path, 200)
    used = server.cpu_seconds() - before
    return {"rss_mb": _growth(server, peak), "mb_s": 200 / taken, "cpu_ms": used * 1e3}


def stalled(server: Server, case: Case, _seconds: int) -> Sample:
    """Begin a download of 200 MB and stop reading: growth of resident memory meanwhile."""
    path = case.path(server)
    _set_idle(server, lambda: transfers.download(server.port, path.replace("200", "1"), 1))
    with measure.PeakRss(server.pids) as peak:
        transfers.stall(server.port, path, _STALL)
    return {"rss_mb": _growth(server, peak)}


def _set_idle(server: Server, warm: Callable[[], float]) -> None:
    """Note the memory of the idle server once, after one small transfer has warmed it."""
    if not server.idle_rss:
        warm()
        server.idle_rss = measure.rss_bytes(server.pids())


def _growth(server: Server, peak: measure.PeakRss) -> float:
    return max(0.0, (peak.bytes - server.idle_rss) / MB)


def contended(server: Server, case: Case, seconds: int) -> Sample:
    """Native latency on one connection: idle, busy, busy, idle. Busy: 45 slow legacy requests."""
    native = Request(f"{server.peer.native}/native/hello")
    idle = [_latency(server, native, seconds)]
    slow = Request(case.path(server))
    # One second until all are in flight, and one so that the last probe doesn't see the end.
    duration = 2 * seconds + 2
    busy_load = load.Running(server.port, slow, connections=IN_FLIGHT, seconds=duration)
    try:
        time.sleep(1)
        busy = [_latency(server, native, seconds), _latency(server, native, seconds)]
    finally:
        pressure = busy_load.finish()
    _settle(server)
    idle.append(_latency(server, native, seconds))
    loads = (*idle, *busy)
    return {
        "p50_idle_ms": sum(each.p50_ms for each in idle) / 2,
        "p50_busy_ms": sum(each.p50_ms for each in busy) / 2,
        "p99_idle_ms": sum(each.p99_ms for each in idle) / 2,
        "p99_busy_ms": sum(each.p99_ms for each in busy) / 2,
        "errors": pressure.errors + sum(each.errors for each in loads),
    }


def _latency(server: Server, request: Request, seconds: int) -> load.Load:
    return load.run(server.port, request, connections=1, seconds=seconds)


def _settle(server: Server) -> None:
    """Wait until what the slow load has left behind is done: a queued request gets its turn."""
    server.get(f"{server.peer.legacy}/hello", timeout=30.0)
    time.sleep(1.5)


def write_files(folder: Path) -> None:
    """Write the files that the download cases serve; that leaves them in the page cache."""
    piece = os.urandom(MB)
    for megabytes in (1, 100, 200):
        with (folder / f"{megabytes}.bin").open("wb") as file:
            for _ in range(megabytes):
                file.write(piece)


_PLAIN_PEERS = ("ours", "fastapi")


def _native_500(name: str, title: str, routes: Literal["flat", "nested"], path: str) -> Case:
    return Case(
        name, title, "native", "fastapi", small, Request(path), routes=routes, peers=_PLAIN_PEERS
    )


CASES: tuple[Case, ...] = (
    Case("legacy-hello", "Legacy hello", "legacy", "gunicorn", small, Request("/hello")),
    Case("legacy-json", "Legacy JSON POST", "legacy", "gunicorn", small, Request("/echo", _ECHO)),
    Case("native-hello", "Native hello", "native", "fastapi", small, Request("/native/only")),
    Case(
        "moved-hello",
        "Native hello on a path that Flask has too (moved by a rule)",
        "native",
        "fastapi",
        small,
        Request("/native/hello"),
    ),
    _native_500("flat-first", "Native, first of 500 flat routes", "flat", flat_path(0)),
    _native_500("flat-last", "Native, last of 500 flat routes", "flat", flat_path(COUNT - 1)),
    _native_500("nested-first", "Native, first of 500 nested routes", "nested", nested_path(0)),
    _native_500(
        "nested-last", "Native, last of 500 nested routes", "nested", nested_path(COUNT - 1)
    ),
    Case(
        "download",
        "100 MB send_file download",
        "legacy",
        "gunicorn",
        download,
        Request("/download/100"),
    ),
    Case("upload", "200 MB upload", "legacy", "gunicorn", upload, Request("/upload"), blocks=1),
    Case(
        "stalled",
        "200 MB download by a client that stops reading",
        "legacy",
        "gunicorn",
        stalled,
        Request("/download/200"),
        blocks=1,
    ),
    Case(
        "contended",
        "Native latency, idle and beside 45 legacy requests of 1 s",
        "both",
        "a2wsgi",
        contended,
        Request("/sleep"),
        blocks=5,
    ),
)
