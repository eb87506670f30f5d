"""What never appears in a log: values whose name says that they are secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: Part of a name that makes its value a secret.
_SECRET = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|api[-_]?key|authorization|cookie|credential|private|session",
    re.IGNORECASE,
)
HIDDEN = "***"
_DEPTH = 4
_LONGEST = 500


def redacted(value: Any, name: str = "", depth: int = _DEPTH) -> Any:
    """Return `value` as plain JSON values, without secrets, not too deep and not too long."""
    if _SECRET.search(name):
        return HIDDEN
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth and isinstance(value, Mapping):
        return {str(key): redacted(each, str(key), depth - 1) for key, each in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [redacted(each, name, depth - 1) for each in value]
    text = value if isinstance(value, str) else f"{type(value).__name__} {value}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
