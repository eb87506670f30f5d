"""What a process tree uses, as the kernel counts it (Linux)."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: The kernel's CPUCLOCK_SCHED: user and system time of all threads of one process.
_CPUCLOCK_SCHED = 2
_PAGE = os.sysconf("SC_PAGE_SIZE")


def tree(roots: Iterable[int]) -> list[int]:
    """List the living processes among `roots` and all their descendants."""
    found: list[int] = []
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        tasks = Path(f"/proc/{pid}/task")
        try:
            children = [
                int(child)
                for task in tasks.iterdir()
                for child in (task / "children").read_text().split()
            ]
        except OSError:
            continue
        found.append(pid)
        waiting.extend(children)
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU seconds (user and system, ended threads included) that `pids` have used.

    The clock is that of clock_getcpuclockid(3): the times of /proc/PID/stat, but in nanoseconds
    where that file counts in ticks of 10 ms.
    """
    total = 0.0
    for pid in pids:
        try:
            total += time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
        except OSError:
            continue
    return total


def rss_bytes(pids: Iterable[int]) -> int:
    """Return the resident memory of `pids` in bytes; shared pages count in each of them."""
    total = 0
    for pid in pids:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        except OSError:
            continue
    return total


class PeakRss:
    """The highest resident memory while the `with` block runs, sampled every 10 ms."""

    def __init__(self, pids: Callable[[], list[int]]) -> None:
        self._pids = pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.bytes = max(self.bytes, rss_bytes(self._pids()))
            if self._stop.wait(0.01):
                return
