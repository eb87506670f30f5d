"""What never appears in a log: values whose name says that they are secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.secrecy import HIDDEN, is_secret

_DEPTH = 4
_LONGEST = 500


def redacted(value: Any, name: str = "", depth: int = _DEPTH) -> Any:
    """Return `value` as plain JSON values, without secrets, not too deep and not too long."""
    if is_secret(name):
        return HIDDEN
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth and isinstance(value, Mapping):
        return {str(key): redacted(each, str(key), depth - 1) for key, each in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [redacted(each, name, depth - 1) for each in value]
    text = value if isinstance(value, str) else f"{type(value).__name__} {value}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
