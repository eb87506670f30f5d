"""Which installed packages can turn a caller away: those that know a web framework."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib import metadata
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

from gateway.guards import source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Distributions that have exceptions or answers by which a caller is refused.
_WEB = frozenset({
    "aiohttp", "bottle", "connexion", "django", "falcon", "fastapi", "flask", "pyramid", "quart",
    "sanic", "starlette", "tornado", "werkzeug", "webob",
})  # fmt: skip
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@cache
def is_free_of_web(name: str) -> bool:
    """Tell whether an installed package's module knows no web framework, as far as it says.

    To refuse a caller of Flask's takes an exception or an answer of Werkzeug's. A package that
    doesn't require a web framework has none of these, but for modules that use one where it is
    there, and what is built on them. What a library is given to call back is another matter, and
    so is an exception of its own that has an error handler.
    """
    root = name.partition(".")[0]
    names = _distributions().get(root)
    if not names or _requires_web(names):
        return False
    seen: set[str] = set()
    pending = [name]
    while pending:
        each = pending.pop()
        if each in seen:
            continue
        seen.add(each)
        module = sys.modules.get(each)
        if module is None or _knows_web(each):
            return False
        pending += _used_by(each, root)
    return True


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _requires_web(names: list[str]) -> bool:
    seen: set[str] = set()
    pending = [_normal(each) for each in names]
    while pending:
        name = pending.pop()
        if name in _WEB:
            return True
        if name not in seen:
            seen.add(name)
            pending += _requirements(name)
    return False


@cache
def _requirements(name: str) -> tuple[str, ...]:
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return ()
    found = [_REQUIREMENT.match(each) for each in lines if "extra ==" not in each]
    return tuple(_normal(each.group()) for each in found if each)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def _knows_web(name: str) -> bool:
    """Tell whether a loaded module holds anything of a web framework's, or its code imports it."""
    module = sys.modules[name]
    homes = (each.partition(".")[0] for each in _homes(module))
    return not _WEB.isdisjoint(homes) or bool(_IMPORTS.search(source.text_of(module)))


@cache
def _used_by(name: str, root: str) -> frozenset[str]:
    """Name the loaded modules of the same package from which a module has something."""
    module = sys.modules[name]
    return frozenset(
        each
        for each in _homes(module)
        if each != name and each.partition(".")[0] == root and each in sys.modules
    )


def _homes(module: object) -> Iterator[str]:
    for held in list(source.plain_dict(module).values()):
        if isinstance(held, ModuleType):
            yield held.__name__
        else:
            yield source.home(held if isinstance(held, FunctionType | type) else type(held))


_IMPORTS = re.compile(rf"^[ \t]+(?:from|import)[ \t]+(?:{'|'.join(sorted(_WEB))})\b", re.MULTILINE)
