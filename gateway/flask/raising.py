"""Could a dependency raise? Then it may be a guard, whatever its name. It is read, never run."""

from __future__ import annotations

import ast
import contextlib
import inspect
import sys
from functools import cache
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from gateway.flask.reading import code_of, globals_of, module_of, run_by, static, tree_of

if TYPE_CHECKING:
    from collections.abc import Callable

#: How many functions deep calls are followed.
MAX_DEPTH = 3
_CACHED = type(cache(len))


def may_raise(function: Callable[..., Any]) -> bool:
    """Tell whether a dependency, or what it calls, could raise; True where that can't be read.

    Libraries count where a function of theirs is called: `jwt.decode` raises for a bad token. What
    they have made doesn't, so that a `get_db` which opens a session is no guard.
    """
    while isinstance(function, _CACHED):
        function = function.__wrapped__
    return _may_raise(run_by(function), 0)


def _may_raise(function: Any, depth: int) -> bool:
    function = function.__func__ if isinstance(function, MethodType) else function
    code = code_of(function)
    if code is None or static(function, "__wrapped__") is not None:
        return function is not object.__init__
    tree = tree_of(function)
    if tree is None or depth >= MAX_DEPTH:
        return tree is None
    names = {**globals_of(function), **_closure(function)}
    return any(_raises(node, names, function, depth) for node in ast.walk(tree))


def _raises(node: ast.AST, names: dict[str, Any], function: Any, depth: int) -> bool:
    if isinstance(node, ast.Raise):
        return node.exc is not None  # what only passes on was raised by the handler
    if not isinstance(node, ast.Call):
        return isinstance(node, ast.Assert)
    called = _called(node.func, names)
    if called is None or called is function:
        return False
    home = module_of(called, code_of(called)).partition(".")[0]
    if home == str(globals_of(function).get("__name__", "")).partition(".")[0]:
        return _may_raise(called, depth + 1)
    return home not in sys.stdlib_module_names


def _called(node: ast.AST, names: dict[str, Any]) -> FunctionType | None:
    """Find the function that a call runs: by its name, a module's, or a method of an object."""
    found: Any = None
    if isinstance(node, ast.Name):
        found = names.get(node.id)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        owner = names.get(node.value.id)
        if inspect.ismodule(owner) or isinstance(owner, type):
            found = static(owner, node.attr)
        elif owner is not None:
            return _own(static(type(owner), node.attr), names)
    found = found.__func__ if isinstance(found, MethodType) else found
    if found is not None and not isinstance(found, FunctionType | type):
        return _own(static(type(found), "__call__"), names)
    return found if isinstance(found, FunctionType) else None


def _own(method: Any, names: dict[str, Any]) -> FunctionType | None:
    """Return a method of the team's own code; what libraries have made raises for other reasons."""
    if not isinstance(method, FunctionType):
        return None
    home = str(names.get("__name__", "")).partition(".")[0]
    return method if module_of(method, method.__code__).partition(".")[0] == home else None


def _closure(function: Any) -> dict[str, Any]:
    held = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):
            held[name] = cell.cell_contents
    return held
