"""Which names make their value a secret, and text without the secrets that stand in it."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

#: Stands in a secret's place.
HIDDEN = "***"
_REST = r"secret|token|api[-_]?key|authorization|cookie|credential|private|session|jwt|signature"
#: Part of a name that makes its value a secret.
_SECRET = re.compile(
    rf"pass(?:word|wd|phrase|code)|(?:^|[^a-z])(?:pass|pwd|otp)$|{_REST}", re.IGNORECASE
)
#: Headers that only speak of secrets (Fetch, section 3.2.3).
_SPOKEN_OF = frozenset({"access-control-allow-credentials"})
_NAMES = rf"pass(?:word|wd|phrase|code)|\bpass\b|\bpwd\b|\botp\b|{_REST}"
_VALUE = r"""b?(?:"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[^\s"'&<>;}}]+)"""
#: `token=…`, `"password": "…"`, `user[password]=…`, `('authorization', 'Bearer …')` within a text.
_IN_TEXT = re.compile(
    rf"""((?:{_NAMES})[\w-]{{0,40}}["'\]]{{0,2}}\s{{0,4}}[=:,]\s{{0,4}})"""
    rf"""(?:(?:bearer|basic|token|digest)\s+)?{_VALUE}""",
    re.IGNORECASE,
)
#: Header lines whose values have several parts.
_LINES = re.compile(r"((?:authorization|cookie)\s{0,4}:\s{0,4})[^\n]+", re.IGNORECASE)
#: `scheme://user:password@host`.
_IN_URL = re.compile(r"(://[^\s/:@]{0,200}:)[^\s/@]{1,200}@")
#: A path's segment behind one that names a secret: `/reset-password/…`.
_IN_PATH = re.compile(rf"(/[\w-]{{0,40}}(?:{_NAMES})[\w-]{{0,40}}/)[^/?\s]+", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Tell whether a value of this name must not be shown."""
    return _SECRET.search(name) is not None and name.lower() not in _SPOKEN_OF


def without_secrets(text: str) -> str:
    """Hide what stands behind a secret's name, as in a query, a header line, a URL or JSON."""
    text = _IN_URL.sub(rf"\g<1>{HIDDEN}@", text)
    text = _LINES.sub(rf"\g<1>{HIDDEN}", text)
    return _IN_TEXT.sub(rf"\g<1>{HIDDEN}", text)


def path_without_secrets(path: str) -> str:
    """Hide the segments of a request's path that stand behind a secret's name."""
    return without_secrets(_IN_PATH.sub(rf"\g<1>{HIDDEN}", path))


def query_without_secrets(query: bytes) -> str:
    """Hide the values of a request's query whose names, however they are written, are secret."""
    return without_secrets(unquote_plus(query.decode("latin-1")))
