"""What a mirror costs the client in latency: `python -m tests.benchmarks.mirrored`.

One server, asked at a steady rate well below what it could serve; slices of one second for the
same view unmirrored and mirrored take turns in random order, so that the machine's moods fall on
both, and the p99 is that of a slice, the median of them: a hiccup of the machine spoils but a
few. Server and client have a processor each. `again` is the unmirrored view under another name:
it shows what chance alone does.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from tests.benchmarks import environment, stats
from tests.benchmarks.peers import Peer
from tests.benchmarks.report import embed
from tests.benchmarks.server import Server

MARK = "bench:mirrored"
FORMS = {
    "again": "not mirrored, under another name",
    "same": "answers the same",
    "sleeps": "awaits 30 s",
    "sleeps-def": "a `def` that sleeps 30 s",
    "raises": "raises",
    "breaks": "breaks its connection off",
    "long": "answers 50 MB",
}
_CONNECTIONS = 4
_ANSWER = b'{"hello":"world"}\n'
_RESAMPLES = 1000
#: What the slice before has left running is not this one's, in seconds.
_LEAD = 0.1
_COMMAND = [sys.executable, "-m", "uvicorn", "tests.benchmarks.apps.mirrored:app"]
_COMMAND += ["--no-access-log", "--log-level", "critical"]
PEER = Peer(
    "mirrored",
    "gateway",
    lambda place: [[*_COMMAND, "--port", str(place.port)]],
    legacy="",
    native="",
)


class Client:
    """Asks at a steady rate, over connections that stay open."""

    def __init__(self, port: int, rate: float) -> None:
        self._rate = rate
        self._links = [socket.create_connection(("127.0.0.1", port)) for _ in range(_CONNECTIONS)]
        for link in self._links:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wrong = 0

    def ask(self, path: str) -> list[float]:
        """Ask for a second; return the latencies in milliseconds."""
        found: list[float] = []
        start = time.perf_counter()

        def run(number: int) -> None:
            for turn in range(number, int(self._rate), _CONNECTIONS):
                at = start + turn / self._rate
                time.sleep(max(0.0, at - time.perf_counter()))
                took = self._one(self._links[number], path)
                if at > start + _LEAD:
                    found.append(took * 1000)

        threads = [threading.Thread(target=run, args=(n,)) for n in range(_CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    def _one(self, link: socket.socket, path: str) -> float:
        began = time.perf_counter()
        link.sendall(f"GET /{path} HTTP/1.1\r\nhost: bench\r\n\r\n".encode())
        said = b""
        while not said.endswith(_ANSWER):
            part = link.recv(65_536)
            if not part:
                raise typer.BadParameter(f"/{path}: the server has closed the connection")
            said += part
        self.wrong += not said.startswith(b"HTTP/1.1 200 ")
        return time.perf_counter() - began


def _ratio(mirrored: list[float], plain: list[float]) -> stats.Interval:
    """Return the ratio of both medians with its bootstrap interval over slices."""
    dice = random.Random(2026)
    draws = sorted(
        median(dice.choices(mirrored, k=len(mirrored))) / median(dice.choices(plain, k=len(plain)))
        for _ in range(_RESAMPLES)
    )
    low, high = stats.percentile(draws, 0.025), stats.percentile(draws, 0.975)
    return stats.Interval(median(mirrored) / median(plain), low, high)


def measure_form(client: Client, form: str, slices: int) -> str:
    """Return one form's row of the table."""
    found: dict[str, tuple[list[float], list[float]]] = {"hello": ([], []), form: ([], [])}
    for _ in range(slices):
        for name in random.sample(list(found), 2):
            latencies = sorted(client.ask(name))
            for share, into in zip((0.99, 0.5), found[name], strict=True):
                into.append(stats.percentile(latencies, share))
    p99, p50 = (_ratio(*pair) for pair in zip(found[form], found["hello"], strict=True))
    return (
        f"| {FORMS[form]} | {median(found['hello'][0]):.2f} | {median(found[form][0]):.2f} "
        f"| {p99.value:.2f} [{p99.low:.2f}, {p99.high:.2f}] "
        f"| {p50.value:.2f} [{p50.low:.2f}, {p50.high:.2f}] |"
    )


def main(
    rate: Annotated[int, typer.Option(min=8, help="Requests per second.")] = 400,
    slices: Annotated[int, typer.Option(min=2, help="Seconds for each of the two.")] = 60,
    only: Annotated[str, typer.Option(help="Only these forms, by commas.")] = "",
    readme: Annotated[Path | None, typer.Option(help="File whose table is redrawn.")] = None,
) -> None:
    """Measure, print, and write the table where asked."""
    processors = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        # A processor each: a client that wakes up where the server goes on with its mirror would
        # wait for it, as no client on another machine does.
        os.sched_setaffinity(0, processors[:1])
        server = stack.enter_context(Server(PEER, routes="hello", files=Path(folder)))
        os.sched_setaffinity(0, processors[-1:])
        client = Client(server.port, rate)
        for _ in range(3):
            client.ask("hello")
        rows = []
        for form in FORMS:
            if not only or form in only.split(","):
                rows.append(measure_form(client, form, slices))
                typer.echo(rows[-1])
    how = f"{rate} requests per second, {slices} slices of one second each, in ms"
    text = "\n".join(
        [
            f"{environment.now()}, {how}; {client.wrong} wrong answers.",
            "",
            "| the mirrored handler | p99 alone | p99 mirrored | ratio [95%] | of medians |",
            "|---|---:|---:|---:|---:|",
            *rows,
        ]
    )
    if readme is not None:
        content = readme.read_text(encoding="utf-8")
        readme.write_text(embed(content, MARK, text), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
