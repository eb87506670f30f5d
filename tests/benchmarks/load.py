"""Many small requests from another process, whose own CPU time is never counted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("wrk.lua")
_MARK = "RESULT "
#: Seconds beyond its duration that a load process may take to end.
_GRACE = 40


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked again and again; `body` is JSON text and makes it a POST."""

    path: str
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What came back: counts, the window in seconds, latencies in milliseconds."""

    requests: int
    seconds: float
    errors: int
    p50_ms: float
    p99_ms: float


class LoadError(Exception):
    """The load generator itself failed."""


def generator() -> str:
    """Name the load generator: `wrk` where it is installed, else our own client."""
    return "wrk" if shutil.which("wrk") else "python"


class Running:
    """A load that runs beside others; `finish` waits for its end."""

    def __init__(self, port: int, request: Request, *, connections: int, seconds: int) -> None:
        url = f"http://127.0.0.1:{port}{request.path}"
        if generator() == "wrk":
            command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
            command += ["-s", str(_SCRIPT), url]
        else:
            command = [sys.executable, "-m", "tests.benchmarks.client"]
            command += [str(port), request.path, str(connections), str(seconds)]
        environment = {**os.environ}
        if request.body is not None:
            environment |= {"BENCH_METHOD": "POST", "BENCH_BODY": request.body}
        self._seconds = seconds
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> Load:
        """Wait for the end and return the counts. Raises LoadError where there are none."""
        try:
            out, err = self._process.communicate(timeout=self._seconds + _GRACE)
        except BaseException as exc:
            self._process.kill()
            self._process.communicate()
            if isinstance(exc, subprocess.TimeoutExpired):
                raise LoadError("the load generator did not end in time") from exc
            raise
        for line in out.splitlines():
            if line.startswith(_MARK):
                return Load(**json.loads(line.removeprefix(_MARK)))
        raise LoadError(f"the load generator gave no result: {err.strip()[-300:]}")


def run(port: int, request: Request, *, connections: int, seconds: int) -> Load:
    """Send `request` over kept-alive connections, one at a time on each, for whole `seconds`."""
    return Running(port, request, connections=connections, seconds=seconds).finish()
