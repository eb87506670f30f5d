"""What an unknown object's attribute may be: whatever loaded code has under that name.

An object that can't be resolved is the team's or a library's. So `thing.save()` runs one of the
team's functions named `save`, or a library's. Those of the team are read, each of them. Where a
name isn't the name of a function that can be looked at, the call stays unresolved.
"""

from __future__ import annotations

import re
import sys
from functools import cached_property, partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from flask.views import View

from gateway.guards import source
from gateway.guards.known import ALARMING, REFUSES, is_of_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

#: Flask alone calls these methods of views.
_OF_VIEWS = frozenset({
    "get", "post", "put", "patch", "delete", "head", "options", "trace", "dispatch_request",
})  # fmt: skip
_DEFINED = re.compile(r"\bdef\s+(\w+)")


class Namesakes:
    """The team's classes and functions by name, as the modules that are loaded now have them."""

    def __init__(self, may_refuse: Callable[[str], bool]) -> None:
        #: Attributes of classes: the class, and the attribute as it is there.
        self.attributes: dict[str, list[tuple[type, Any]]] = {}
        #: Functions and classes of modules.
        self.globals: dict[str, list[Any]] = {}
        #: Names of what may be called, but can't be listed: it is stored while code runs, or is
        #: from a library that may refuse, or from a module of the team's that isn't loaded yet.
        self.unlisted: set[str] = set(ALARMING)
        loaded = set()
        for module in list(sys.modules.values()):
            file = source.plain_dict(module).get("__file__")
            if not isinstance(file, str):
                continue
            if source.own_file(file):
                loaded.add(str(Path(file).absolute()))
                self._enter_module(module)
                self.unlisted |= source.callables(file)
            elif not is_of_python(_root(module)) and may_refuse(module.__name__):
                self.unlisted |= set(_names_in(module))
        for name in REFUSES:
            if name.partition(".")[0] in sys.modules:
                self.unlisted.add(name.rpartition(".")[2])
        for file in source.unloaded(loaded):
            self.unlisted |= _defined_in(file)

    def _enter_module(self, module: ModuleType) -> None:
        for name, held in list(vars(module).items()):
            if isinstance(held, type):
                if source.home(held) == module.__name__:
                    self._enter_class(held)
                    self._enter_global(name, held)
            elif isinstance(held, FunctionType | MethodType | partial) or (
                callable(held) and source.is_own(type(held))
            ):
                self._enter_global(name, held)

    def _enter_global(self, name: str, held: Any) -> None:
        known = self.globals.setdefault(name, [])
        if not any(each is held for each in known):
            known.append(held)

    def _enter_class(self, kind: type) -> None:
        for name, held in vars(kind).items():
            if issubclass(kind, View) and name in _OF_VIEWS:
                continue
            if isinstance(held, type):
                if held.__qualname__.startswith(f"{kind.__qualname__}."):
                    self._enter_class(held)
                    self._enter_global(name, held)
            elif _runs(held):
                self.attributes.setdefault(name, []).append((kind, held))


def _runs(held: Any) -> bool:
    """Tell whether an attribute of a class is, or may run, a function."""
    if isinstance(held, FunctionType | property | cached_property | classmethod | staticmethod):
        return True
    return callable(held) or source.static(type(held), "__get__") is not None


def _names_in(module: ModuleType) -> Iterator[str]:
    for name, held in vars(module).items():
        if isinstance(held, FunctionType) and source.home(held) == module.__name__:
            yield name
        elif isinstance(held, type) and source.home(held) == module.__name__:
            yield name
            for base in held.__mro__[:-1]:
                yield from (key for key, one in vars(base).items() if _runs(one))


def _root(module: ModuleType) -> str:
    return module.__name__.partition(".")[0]


def _defined_in(file: Path) -> set[str]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    return set(_DEFINED.findall(text))
