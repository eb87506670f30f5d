"""Handlers and dependencies that look right and can't work: refused where they are declared."""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi.dependencies.models import Dependant

_CONTEXTS = frozenset({"app_context", "request_context", "test_request_context"})


def check_endpoint(endpoint: Callable[..., Any]) -> None:
    """Refuse a decorator made for views around an `async def`; raises TypeError.

    `login_required`, `cached` and their like call the function and take what it returns for the
    answer. An `async def` returns a coroutine, which they can't await: nobody would be logged in,
    or a coroutine be cached.
    """
    inner = endpoint
    while hasattr(inner, "__wrapped__"):
        outer, inner = inner, inner.__wrapped__
        if inspect.iscoroutinefunction(inner) and not inspect.iscoroutinefunction(outer):
            message = (
                f"{_name(inner)} is an `async def` inside {_decorator(outer)}, which is made for "
                "plain functions; write `def`, or make the decorator a FastAPI dependency"
            )
            raise TypeError(message)


def check_dependencies(dependant: Dependant) -> None:
    """Refuse a `def` dependency whose effect is lost with its thread; raises TypeError."""
    for found in misused(dependant):
        raise TypeError(found)


def misused(dependant: Any) -> Iterator[str]:
    """Yield what is wrong with the dependencies below `dependant`, and how to mend it.

    FastAPI runs each plain `def` dependency in a worker thread, in a copy of the context: a
    context variable that it sets, or a Flask context that it pushes, is gone when it returns.
    """
    for dependency in getattr(dependant, "dependencies", ()):
        call = dependency.call
        if call is not None and _is_threaded(call):
            variable = _sets_variable(call)
            if variable:
                yield (
                    f"the dependency {_name(call)} is a plain `def` and sets the context variable "
                    f"{variable}: it runs in a thread, and the variable is lost; write `async def`"
                )
            elif _pushes_context(call):
                yield (
                    f"the dependency {_name(call)} is a plain `def` and enters a Flask context: it "
                    "runs in a thread, and the context is lost; use FlaskRoute"
                )
        yield from misused(dependency)


def _is_threaded(call: Callable[..., Any]) -> bool:
    function = inspect.unwrap(call)
    return (
        inspect.isfunction(function)
        and not inspect.iscoroutinefunction(function)
        and not inspect.isasyncgenfunction(function)
    )


def _sets_variable(call: Callable[..., Any]) -> str | None:
    function = inspect.unwrap(call)
    names = function.__code__.co_names
    if "set" not in names:
        return None
    known = function.__globals__
    return next((n for n in names if isinstance(known.get(n), ContextVar)), None)


def _pushes_context(call: Callable[..., Any]) -> bool:
    function = inspect.unwrap(call)
    # Only what stays entered while the dependency is suspended is lost.
    return inspect.isgeneratorfunction(function) and any(
        name in _CONTEXTS for name in function.__code__.co_names
    )


def _name(call: Callable[..., Any]) -> str:
    function = inspect.unwrap(call)
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"


def _decorator(wrapper: Callable[..., Any]) -> str:
    """Name the decorator that made `wrapper`; functools.wraps leaves its name in the code only."""
    code = getattr(wrapper, "__code__", None)
    if code is None:
        return type(wrapper).__qualname__
    name: str = code.co_qualname
    return name.partition(".<locals>")[0]
