"""User code looked at without touching it: no property, descriptor or function of it is run."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any


def static(owner: Any, name: str) -> Any:
    """Read an attribute without running a property or `__getattr__`."""
    found = inspect.getattr_static(owner, name, None)
    return found.__func__ if isinstance(found, (staticmethod, classmethod)) else found


def is_function(value: Any) -> bool:
    """Tell whether a value is a function, bound or partial ones included."""
    return isinstance(value, (FunctionType, partial, MethodType))


def globals_of(function: Any) -> dict[str, Any]:
    """Return the names that a function sees in its module."""
    return function.__globals__ if isinstance(function, FunctionType) else {}


def code_of(function: Any) -> CodeType | None:
    """Return a function's code; None for anything else."""
    code = getattr(function, "__code__", None) if isinstance(function, FunctionType) else None
    return code if isinstance(code, CodeType) else None


def module_of(function: Any, code: CodeType | None) -> str:
    """Name the module that the code is in: functools.wraps copies `__module__` from the view."""
    if code is not None:
        return str(globals_of(function).get("__name__", ""))
    return str(getattr(type(function), "__module__", ""))


def tree_of(function: Any) -> ast.AST | None:
    """Parse a function's source; None where there is none to read."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None


def run_by(function: Any) -> Any:
    """Return the function that runs when an object or class is called."""
    while isinstance(function, partial):
        function = function.func
    if isinstance(function, type):
        return static(function, "__init__")
    return function if is_function(function) else static(type(function), "__call__")
