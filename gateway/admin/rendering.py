"""JSON of whatever the store, the file or an error may hold: an answer, never a 500."""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.responses import JSONResponse


class Json(JSONResponse):
    """JSON in ASCII, so that half a surrogate pair is an escape; what is no number is null."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        try:
            return _dumped(content)
        except ValueError:  # rare: so that thousands of routes aren't walked for nothing
            return _dumped(finite(content))


def _dumped(content: Any) -> bytes:
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def finite(value: Any) -> Any:
    """Put null in the place of numbers that JSON doesn't know (RFC 8259, section 6)."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return value
