"""What never appears in a log: values whose name says that they are secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.secrecy import HIDDEN, is_secret_pair, secret_members, without_secrets

_DEPTH = 4
_LONGEST = 500


def redacted(value: Any, depth: int = _DEPTH) -> Any:
    """Return `value` as plain JSON values, without secrets, not too deep and not too long."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth and isinstance(value, Mapping):
        hidden = secret_members(value)
        return {
            without_secrets(str(key)): HIDDEN if key in hidden else redacted(each, depth - 1)
            for key, each in value.items()
        }
    if depth and isinstance(value, list | tuple | set | frozenset):
        if isinstance(value, list | tuple) and is_secret_pair(value):
            return [value[0], HIDDEN]
        return [redacted(each, depth - 1) for each in value]
    text = without_secrets(value if isinstance(value, str) else f"{type(value).__name__} {value}")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
