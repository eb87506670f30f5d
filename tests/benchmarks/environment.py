"""On what a run was made: machine, versions, and how busy the machine was."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.benchmarks import load
from tests.benchmarks.peers import PEERS, find_program

_ALWAYS = ("a2wsgi", "httptools", "starlette", "uvloop", "werkzeug")


def now() -> str:
    """Return the time in UTC as ISO 8601, to the minute."""
    return datetime.now(UTC).isoformat(timespec="minutes")


def machine() -> dict[str, str]:
    """Describe the machine; `load` is its one-minute load average as the run begins."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "date": now(),
        "cpu": model,
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load generator": load.generator(),
        "load": f"{os.getloadavg()[0]:.2f}",
    }


def versions() -> dict[str, str]:
    """List the installed versions of every peer's packages, and of nginx."""
    names = {name for peer in PEERS for name in peer.needs}.union(_ALWAYS)
    found = {}
    for name in sorted(names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    found["nginx"] = _nginx_version()
    return found


def _nginx_version() -> str:
    program = find_program("nginx")
    if program is None:
        return "not installed"
    out = subprocess.run([program, "-v"], capture_output=True, text=True, check=False, timeout=10)
    return out.stderr.strip().rpartition("/")[2]
