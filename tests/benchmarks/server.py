"""One peer's processes: started on a free loopback port, awaited, and always ended."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from tests.benchmarks import measure
from tests.benchmarks.peers import Place

if TYPE_CHECKING:
    from tests.benchmarks.peers import Command, Peer

ROOT = Path(__file__).parents[2]
_START = 30.0
_STOP = 5.0


class ServerError(Exception):
    """A peer did not start, or did not answer as expected; the message ends with its log."""


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


class Server:
    """A running peer, for a `with` block. `idle_rss` (bytes) is set by whoever measures growth."""

    def __init__(self, peer: Peer, *, routes: str, files: Path) -> None:
        self.peer = peer
        self.idle_rss = 0
        self._routes = routes
        self._files = files
        self._processes: list[subprocess.Popen[bytes]] = []
        self._cleanup = ExitStack()
        self.port = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
            folder.chmod(0o711)  # started by root, nginx works as another user
            stack.callback(self._end)
            self.port, inner = _free_ports(2)
            log = stack.enter_context((folder / "log").open("wb"))
            for command in self.peer.commands(Place(self.port, inner, folder)):
                self._processes.append(self._start(command, folder, log.fileno()))
            self._wait(folder / "log")
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._cleanup.close()

    def pids(self) -> list[int]:
        """List the living processes of the peer."""
        return measure.tree(process.pid for process in self._processes)

    def cpu_seconds(self) -> float:
        """Return the CPU seconds that all processes of the peer have used so far."""
        return measure.cpu_seconds(self.pids())

    def get(self, path: str, timeout: float = 10.0) -> tuple[int, bytes]:
        """Fetch `path` once and return status and body. Raises OSError or HTTPException."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)) as link:
            link.request("GET", path)
            response = link.getresponse()
            return response.status, response.read()

    def _start(self, command: Command, folder: Path, log: int) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "BENCH_ROUTES": self._routes,
            "BENCH_FILES": str(self._files),
            "XDG_RUNTIME_DIR": str(folder),  # gunicorn puts its control socket there
        }
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def _wait(self, log: Path) -> None:
        """Wait until the peer answers 200; behind a proxy that means both do."""
        prefix = self.peer.legacy
        path = f"{prefix}/hello" if prefix is not None else f"{self.peer.native}/native/hello"
        deadline = time.monotonic() + _START
        answer = "nothing"
        while time.monotonic() < deadline:
            if any(process.poll() is not None for process in self._processes):
                answer = "the end of a process"
                break
            with suppress(OSError, http.client.HTTPException):
                status, _ = self.get(path, timeout=2.0)
                if status == 200:
                    return
                answer = f"status {status}"
            time.sleep(0.05)
        tail = log.read_text(errors="replace").strip()[-500:]
        raise ServerError(f"{path} gave {answer}; its log ends: {tail}")

    def _end(self) -> None:
        """Ask every process to end, then make it; children of its own sessions included."""
        known = self.pids()
        for process in self._processes:
            _signal(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        for process in self._processes:
            _signal(process.pid, signal.SIGKILL)
            process.wait()
        for pid in measure.tree(known):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)
