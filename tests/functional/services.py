"""Real services for tests: started on a free loopback port, ended with the test."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def required(program: str) -> str:
    """Return the program's path; skip the test without it, unless CI requires all services."""
    found = shutil.which(program)
    if found is not None:
        return found
    if os.environ.get("GATEWAY_REQUIRE_SERVICES"):
        pytest.fail(f"{program} is not installed")
    pytest.skip(f"{program} is not installed")


@contextlib.contextmanager
def redis_server(folder: Path, port: int = 0) -> Iterator[str]:
    """Run Debian's redis-server, on a free port unless one is named; yield its URL."""
    program = required("redis-server")
    with socket.create_server(("127.0.0.1", port)) as probe:
        port = probe.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir"]
    with subprocess.Popen([*command, str(folder)], stdout=subprocess.DEVNULL) as server:
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.terminate()
