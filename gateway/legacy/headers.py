"""Response headers from WSGI's strings to ASGI's bytes, checked on the way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_CACHED_NAMES = 1024
MAX_CACHED_NAME_CHARS = 64

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110, section 5.5
_DROPPED = b""
# RFC 9110, section 7.6.1: the connection is the server's; PEP 3333 forbids apps to send these.
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
    }
)

_names: dict[str, bytes] = {}


def encode_headers(
    headers: Iterable[tuple[Any, Any]],
) -> tuple[list[tuple[bytes, bytes]], int | None]:
    """Return the headers in their order, lower-case and latin-1, and Content-Length in bytes.

    Hop-by-hop headers are left out, and so is Content-Length, which the caller puts back where it
    belongs. Raises TypeError for values that are no str, ValueError for a name or value that
    would break the message apart, and for a Content-Length that is no number or told twice.
    """
    encoded: list[tuple[bytes, bytes]] = []
    length: int | None = None
    for name, value in headers:
        key = _names.get(name)
        if key is None:
            key = _encode_name(name)
        if not isinstance(value, str):
            message = f"the value of header {name} must be a str, got {value!r}"
            raise TypeError(message)
        if not (value.isascii() and value.isprintable()) and _BAD_VALUE.search(value):
            message = f"the value of header {name} has control characters: {value!r}"
            raise ValueError(message)
        if key == b"content-length":
            length = _parse_length(value, length)
        elif key is not _DROPPED:
            encoded.append((key, value.strip(" \t").encode("latin-1")))
    return encoded, length


def _encode_name(name: object) -> bytes:
    if not isinstance(name, str):
        message = f"a header name must be a str, got {name!r}"
        raise TypeError(message)
    if not _TOKEN.fullmatch(name):
        message = f"{name!r} is no header name"
        raise ValueError(message)
    key = name.lower().encode("ascii")
    if key in _HOP_BY_HOP:
        key = _DROPPED
    if len(_names) < MAX_CACHED_NAMES and len(name) <= MAX_CACHED_NAME_CHARS:
        _names[name] = key
    return key


def _parse_length(value: str, before: int | None) -> int:
    text = value.strip(" \t")
    if not (text.isascii() and text.isdigit()):
        message = f"Content-Length must be a number of bytes, got {value!r}"
        raise ValueError(message)
    length = int(text)
    if before is not None and before != length:
        message = f"two different Content-Length headers: {before} and {length}"
        raise ValueError(message)
    return length
