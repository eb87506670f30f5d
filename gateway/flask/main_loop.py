"""Asynchronous Flask views on the server's own event loop (`legacy.async_views: main`).

Flask runs each one on a new loop of its own, so that a connection pool that belongs to a loop (an
asynchronous database driver, an HTTP client) can't be shared with native handlers. Here all of
them share the loop that the native side runs on; the worker waits, as it would for its own loop.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextvars import copy_context
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from flask import Flask

_UNSET = object()


class MainLoop:
    """Takes the place of `app.async_to_sync`, which Flask documents as one to override."""

    def __init__(self, app: Flask) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        """The server's loop while it serves; without one Flask's own way applies."""
        self._original = app.async_to_sync
        setattr(app, "async_to_sync", self.async_to_sync)  # noqa: B010 - mypy: it's a method

    def async_to_sync(self, func: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        """Return a function that runs `func` on the loop and waits; context variables included."""

        @wraps(func)
        def run(*args: Any, **kwargs: Any) -> Any:
            if self.loop is None:
                return self._original(func)(*args, **kwargs)
            return _run_on(self.loop, func, args, kwargs)

        return run


def _run_on(
    loop: asyncio.AbstractEventLoop,
    func: Callable[..., Coroutine[Any, Any, Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    context = copy_context()
    done: Future[Any] = Future()

    def start() -> None:
        task = loop.create_task(func(*args, **kwargs), context=context)
        task.add_done_callback(finish)

    def finish(task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            done.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            done.set_exception(error)
        else:
            done.set_result(task.result())

    loop.call_soon_threadsafe(start)
    try:
        return done.result()
    finally:
        for variable, value in context.items():
            if variable.get(_UNSET) is not value:
                variable.set(value)
