"""Who is calling, as the shared auth dependency said. Pure: knows neither framework."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.exceptions import GatewayError

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller: `id` tells one from another, `scopes` say what it may do.

    `value` is what the dependency returned, as it was; it may be a secret, so it is never shown.
    """

    id: str
    scopes: frozenset[str] = frozenset()
    value: Any = field(default=None, repr=False, compare=False)

    def missing(self, required: Iterable[str]) -> tuple[str, ...]:
        """Return those of the `required` scopes that the caller doesn't have, sorted."""
        return tuple(sorted(set(required) - self.scopes))


def read_principal(
    value: Any, id_path: str | None = None, scopes_path: str | None = None
) -> Principal | None:
    """Read id and scopes from what a dependency returned; None where it returned None (nobody).

    A path such as `user.id` is followed step by step: a mapping's key, a sequence's index, else an
    attribute. Without `id_path` a str or int is its own id. Scopes are a string split at blanks
    (RFC 6749, section 3.3), or any iterable of str; missing ones are none.

    Raises GatewayError, which names the setting and never the value, where there is no id.
    """
    if value is None:
        return None
    found = value if id_path is None else _follow(value, id_path)
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        where = f"auth.id ({id_path})" if id_path else "auth.id (not set)"
        what = "nothing" if found is _MISSING or found is None else type(found).__name__
        hint = suggestion(value, id_path) if found is _MISSING and id_path else ""
        raise GatewayError(f"{where} reads {what} from a {type(value).__name__}, not an id{hint}")
    return Principal(str(found), _scopes(value, scopes_path), value)


def _follow(value: Any, path: str) -> Any:
    for step in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(step, _MISSING)
        elif isinstance(value, Sequence) and step.isdigit():
            value = value[int(step)] if int(step) < len(value) else _MISSING
        else:
            value = getattr(value, step, _MISSING)
        if value is _MISSING:
            return _MISSING
    return value


def suggestion(value: Any, path: str) -> str:
    """Return ` (did you mean sub?)` where `path` finds nothing in `value`, but nearly does.

    It tells the name of a key or attribute, never what it holds; empty where nothing is close, or
    where there is something.
    """
    steps = path.split(".")
    for number, step in enumerate(steps):
        below = _follow(value, step)
        if below is _MISSING:
            close = difflib.get_close_matches(step, _names(value), n=1)
            fitting = ".".join([*steps[:number], *close, *steps[number + 1 :]])
            return f" (did you mean {fitting}?)" if close else ""
        value = below
    return ""


def _names(value: Any) -> list[str]:
    names = value if isinstance(value, Mapping) else dir(value)
    return [name for name in names if isinstance(name, str) and not name.startswith("_")]


def reads_nothing(value: Any, path: str) -> bool:
    """Tell whether `path` leads nowhere in `value`."""
    return _follow(value, path) is _MISSING


def _scopes(value: Any, path: str | None) -> frozenset[str]:
    if path is None:
        return frozenset()
    found = _follow(value, path)
    if found is _MISSING or found is None:
        return frozenset()
    if isinstance(found, str):
        return frozenset(found.split())
    if isinstance(found, Iterable):
        scopes = list(found)
        if all(isinstance(scope, str) for scope in scopes):
            return frozenset(scopes)
    raise GatewayError(f"auth.scopes ({path}) reads {type(found).__name__}, not scopes")
