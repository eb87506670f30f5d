"""Sizes and durations as people write them: `100MB`, `64KiB`, `5s`, `2m`, `1h30m`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, ByteSize, Field, WithJsonSchema

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def parse_duration(value: Any) -> Any:
    """Turn `5s`, `2m`, `1h30m` or a plain number into seconds; leave the rest to Pydantic.

    Raises ValueError for text that is no duration. A bare number counts as seconds.
    """
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not _WHOLE.fullmatch(text):
        message = f"{value!r} is no duration, write for instance 500ms, 5s, 2m or 1h30m"
        raise ValueError(message)
    return sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(text))


#: Seconds, as a float above 0; accepts `5s`, `2m`, `1h30m`, `500ms`.
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(gt=0),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$"},
            ]
        }
    ),
]

#: Bytes, as an int of 0 or more; accepts `100MB` (decimal) and `64KiB` (binary).
Size = Annotated[
    ByteSize,
    Field(ge=0),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^\d+(\.\d+)?\s*([kKMGTP]i?)?[bB]$"},
            ]
        }
    ),
]
