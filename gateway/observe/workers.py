"""What the worker processes of one server tell each other: a small file each, once a second.

Any of them may be asked for metrics or status, and answers for all. A counter must never go back:
so the file of a worker that has ended stays, for as long as its server runs.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from gateway.folders import private_folder
from gateway.observe.tally import totals

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

logger = logging.getLogger("gateway.observe")

#: Files of ended workers are put into one when there are more than these.
MOST_ENDED = 8


def server_pid() -> int | None:
    """Return the process that started this worker beside others; None for a server by itself."""
    if multiprocessing.parent_process() is not None or "gunicorn.arbiter" in sys.modules:
        return os.getppid()
    return None


class Workers:
    """The files of one server's workers, in a folder that only this user may read.

    Does nothing in a server of one process. Where the folder can't be used, this worker answers
    for itself alone, and says so once.
    """

    def __init__(self, server: int | None = None) -> None:
        self._server = server
        self._folder: Path | None = None
        self._file: Path | None = None

    @property
    def shared(self) -> bool:
        """Whether there are neighbours to tell."""
        return self._file is not None

    def start(self) -> None:
        """Make the folder, and remove those of servers that have ended."""
        if self._server is None:
            return
        try:
            base = private_folder()
            folder = base / str(self._server)
            for other in base.iterdir():
                if other.name.isdigit() and not _alive(int(other.name)):
                    _remove(other)
            folder.mkdir(mode=0o700, exist_ok=True)
            _put_together(folder)
        except OSError as error:
            logger.warning("workers can't share their metrics: %s", error)
            return
        self._folder, self._file = folder, folder / f"{os.getpid()}.json"

    def tell(self, data: dict[str, Any]) -> None:
        """Write this worker's counts for the others; may be called on any thread."""
        if self._file is None:
            return
        fresh = self._file.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(data))
            fresh.replace(self._file)
        except OSError as error:
            logger.warning("workers can't share their metrics: %s", error)
            self._file = None

    def others(self) -> list[dict[str, Any]]:
        """Return what the other workers have told last; `alive` says whether they still run."""
        if self._folder is None:
            return []
        found = []
        for file in self._folder.glob("*.json"):
            if file != self._file:
                with contextlib.suppress(OSError, ValueError):
                    data = json.loads(file.read_text())
                    found.append({**data, "alive": _is_running(file)})
        return found


def _put_together(folder: Path) -> None:
    """Add up the files of ended workers into one: a server may replace its workers for ever."""
    import fcntl  # noqa: PLC0415 - Windows has none, and no servers with several workers

    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = [file for file in folder.glob("*.json") if not _is_running(file)]
        if len(ended) <= MOST_ENDED:
            return
        parts = [json.loads(file.read_text()) for file in ended]
        whole = {
            "tally": totals(part["tally"] for part in parts).as_json(),
            "counters": dict(sum((Counter(part["counters"]) for part in parts), Counter())),
            "blocks": dict(sum((Counter(part.get("blocks", {})) for part in parts), Counter())),
            "mirrors": _mirrors_of(parts),
            "moves": _summed(part.get("moves", ()) for part in parts),
            "gauges": {},
        }
        fresh = folder / "ended.new"
        fresh.write_text(json.dumps(whole))
        # A reader in between counts some of them twice, which is better than a counter that falls.
        fresh.replace(folder / "ended.json")
        for file in ended:
            if file.name != "ended.json":
                file.unlink(missing_ok=True)


def _summed(tables: Iterable[Iterable[list[Any]]]) -> list[list[Any]]:
    """Add up rows that end in a number, by what stands before it."""
    whole: Counter[tuple[Any, ...]] = Counter()
    for table in tables:
        for *key, number in table:
            whole[tuple(key)] += number
    return [[*key, number] for key, number in whole.items()]


def _mirrors_of(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up what the mirrors of several workers have come to."""
    mirrors = [part["mirrors"] for part in parts if "mirrors" in part]
    verdicts: dict[tuple[str, str], tuple[Counter[str], Counter[str]]] = {}
    for each in mirrors:
        for method, label, by_verdict, by_field in each["verdicts"]:
            counts = verdicts.setdefault((method, label), (Counter(), Counter()))
            counts[0].update(by_verdict)
            counts[1].update(by_field)
    return {
        "outcomes": _summed(each["outcomes"] for each in mirrors),
        "suspended": {},
        "verdicts": [[*key, dict(one), dict(two)] for key, (one, two) in verdicts.items()],
    }


def _is_running(file: Path) -> bool:
    return file.stem.isdigit() and _alive(int(file.stem))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            file.unlink(missing_ok=True)
        folder.rmdir()
