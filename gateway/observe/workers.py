"""What the worker processes of one server tell each other: a small file each, once a second.

Any of them may be asked for metrics or status, and answers for all. A counter must never go back:
so the file of a worker that has ended stays, for as long as its server runs.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from gateway.folders import private_folder
from gateway.logs import logger_for
from gateway.observe.tally import totals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.folders import Folder

logger = logger_for("gateway.observe")

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
        self._folder: Folder | None = None
        self._name = f"{os.getpid()}.json"

    @property
    def shared(self) -> bool:
        """Whether there are neighbours to tell."""
        return self._folder is not None

    def start(self) -> None:
        """Make the folder, and remove those of servers that have ended."""
        if self._server is None:
            return
        try:
            with private_folder() as base:
                for other in base.names():
                    if other.isdigit() and not _alive(int(other)):
                        with contextlib.suppress(OSError):
                            base.remove_below(other)
                folder = base.below(str(self._server))
            _put_together(folder)
        except OSError as error:
            logger.warning("workers can't share their metrics: %s", error)
            return
        self._folder, self._name = folder, f"{os.getpid()}.json"

    def tell(self, data: dict[str, Any]) -> None:
        """Write this worker's counts for the others; may be called on any thread."""
        if self._folder is None:
            return
        try:
            self._folder.write(self._name, json.dumps(data).encode())
        except OSError as error:
            logger.warning("workers can't share their metrics: %s", error)
            self._folder = None

    def others(self) -> list[dict[str, Any]]:
        """Return what the other workers have told last; `alive` says whether they still run."""
        if self._folder is None:
            return []
        found = []
        for name in _told(self._folder):
            if name != self._name:
                with contextlib.suppress(OSError, ValueError):
                    data = json.loads(self._folder.read(name))
                    found.append({**data, "alive": _is_running(name)})
        return found


def _told(folder: Folder) -> list[str]:
    return [name for name in folder.names() if name.endswith(".json")]


def _put_together(folder: Folder) -> None:
    """Add up the files of ended workers into one: a server may replace its workers for ever."""
    with folder.locked("lock"):
        ended = [name for name in _told(folder) if not _is_running(name)]
        if len(ended) <= MOST_ENDED:
            return
        parts = [json.loads(folder.read(name)) for name in ended]
        whole = {
            "tally": totals(part["tally"] for part in parts).as_json(),
            "counters": dict(sum((Counter(part["counters"]) for part in parts), Counter())),
            "blocks": dict(sum((Counter(part.get("blocks", {})) for part in parts), Counter())),
            "mirrors": _mirrors_of(parts),
            "moves": _summed(part.get("moves", ()) for part in parts),
            "opened": _opened_of(parts),
            "gauges": {},
        }
        # A reader in between counts some of them twice, which is better than a counter that falls.
        folder.write("ended.json", json.dumps(whole).encode())
        for name in ended:
            if name != "ended.json":
                folder.remove(name)


def _summed(tables: Iterable[Iterable[list[Any]]]) -> list[list[Any]]:
    """Add up rows that end in a number, by what stands before it."""
    whole: Counter[tuple[Any, ...]] = Counter()
    for table in tables:
        for *key, number in table:
            whole[tuple(key)] += number
    return [[*key, number] for key, number in whole.items()]


def _opened_of(parts: list[dict[str, Any]]) -> list[list[Any]]:
    """Add up how often routes have opened; what is blocked is for the living to say."""
    counts = _summed(
        ([method, label, number] for method, label, number, _ in part.get("opened", ()))
        for part in parts
    )
    return [[*each, 0] for each in counts]


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


def _is_running(name: str) -> bool:
    pid = name.removesuffix(".json")
    return pid.isdigit() and _alive(int(pid))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
