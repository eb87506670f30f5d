"""Watches the config file, and says when its content has changed.

The folder is watched, not the file: editors write a new one and rename it, and Kubernetes swaps a
ConfigMap's `..data` link. Whatever an event may mean, the content decides. It is also looked at
every few seconds without any event, for file systems that tell nothing.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import watchfiles

from gateway.loading import digest_of_file
from gateway.logs import logger_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator
    from pathlib import Path

    from gateway.loading import Loaded

logger = logger_for("gateway.reload")

#: Events that come this close to each other are one, in milliseconds.
DEBOUNCE_MS = 200
#: The content is looked at after so long without an event, in milliseconds.
LOOK_MS = 2_000
#: How long to wait where the folder itself can't be watched, in seconds.
RETRY_SECONDS = 1.0


async def watch(loaded: Loaded, changed: Callable[[], Awaitable[object]]) -> None:
    """Await `changed` after each change of the file's content, for ever; also when it vanishes.

    The first content is the one that `loaded` was read from. One call at a time: what changes
    meanwhile is seen afterwards. Returns at once where there is no file.
    """
    file, seen = loaded.file, loaded.digest
    if file is None:
        return
    stop = threading.Event()
    # A thread of our own: anyio's are for the user's `def` handlers.
    threads = ThreadPoolExecutor(1, "gateway-reload")
    loop = asyncio.get_running_loop()
    failure: str | None = None
    try:
        while True:
            seen = await _look(file, seen, changed)
            events = _events(file.parent, stop)
            try:
                while await loop.run_in_executor(threads, next, events, None) is not None:
                    seen, failure = await _look(file, seen, changed), None
            except (OSError, RuntimeError) as error:
                if str(error) != failure:
                    logger.warning("%s can't be watched, only looked at: %s", file.parent, error)
                failure = str(error)
            await asyncio.sleep(RETRY_SECONDS)
    finally:
        stop.set()
        threads.shutdown(wait=False)


def _events(folder: Path, stop: threading.Event) -> Iterator[object]:
    """Yield whenever something may have changed; raises where the folder can't be watched."""
    yield from watchfiles.watch(
        folder,
        watch_filter=None,
        debounce=DEBOUNCE_MS,
        step=50,
        rust_timeout=LOOK_MS,
        yield_on_timeout=True,
        recursive=False,
        stop_event=stop,
        raise_interrupt=False,
    )


async def _look(
    file: Path, seen: bytes | None, changed: Callable[[], Awaitable[object]]
) -> bytes | None:
    found = await asyncio.to_thread(digest_of_file, file)
    if found == seen:
        return seen
    try:
        await changed()
    except Exception:
        logger.exception("reloading %s failed", file)
    return found


class OnHangup:
    """Reloads on SIGHUP, where that is ours to decide.

    A worker leaves it to its server, which restarts its workers on it. At a terminal SIGHUP means
    that the terminal has gone, and ends the process as ever; and where it is ignored (`nohup`), it
    stays ignored.
    """

    def __init__(self, reload: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self._reload = reload
        self._tasks: set[asyncio.Task[object]] = set()
        self._installed = False

    def install(self) -> None:
        """Listen to the signal, if it is ours."""
        if (
            not hasattr(signal, "SIGHUP")  # Windows
            or threading.current_thread() is not threading.main_thread()
            or multiprocessing.parent_process() is not None
            or signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
            or os.isatty(0)
        ):
            return
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._begin)
        self._installed = True

    def remove(self) -> None:
        """Give the signal back."""
        if self._installed:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
            self._installed = False

    def _begin(self) -> None:
        task = asyncio.ensure_future(self._reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
