"""Runs a coroutine as it is, and tells when it keeps the event loop to itself for too long."""

from __future__ import annotations

import time
import types
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

T = TypeVar("T")


@types.coroutine
def in_steps(
    awaitable: Awaitable[T],
    limit: float,
    blocked: Callable[[float], None],
    waits: Callable[[], object] = lambda: None,
) -> Generator[Any, Any, T]:
    """Await `awaitable`; call `blocked` with the seconds of every step that took over `limit`.

    A step is what runs between two waits; before the first wait `waits` is called. Only this
    task's own steps are seen, not those of tasks that it starts.
    """
    steps = awaitable.__await__()
    value: Any = None
    error: BaseException | None = None
    first = True
    while True:
        began = time.perf_counter()
        try:
            waits_for = steps.send(value) if error is None else steps.throw(error)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            error = None  # its frames lead back here: no circle shall keep them alive
            took = time.perf_counter() - began
            if took > limit:
                blocked(took)
        if first:
            first = False
            waits()
        value = None
        try:
            value = yield waits_for
        except GeneratorExit:
            steps.close()
            raise
        except BaseException as raised:  # noqa: BLE001 - it is the coroutine's to deal with
            error = raised
        del waits_for  # a future that has failed leads to its error, and that one back here
