"""Which names make their value a secret, and text without the secrets that stand in it."""

from __future__ import annotations

import re

#: Stands in a secret's place.
HIDDEN = "***"
_REST = r"secret|token|api[-_]?key|authorization|cookie|credential|private|session"
#: Part of a name that makes its value a secret.
_SECRET = re.compile(rf"pass(?:word|wd|phrase)?$|{_REST}", re.IGNORECASE)
#: `token=…`, `"password": "…"`, `Authorization: Bearer …` within a text.
_IN_TEXT = re.compile(
    rf"""((?:pass(?:word|wd|phrase)|{_REST})[\w-]{{0,40}}["']?\s{{0,4}}[=:]\s{{0,4}})"""
    r"""(?:(?:bearer|basic)\s+)?(?:"[^"\n]*"|'[^'\n]*'|[^\s"'&<>,;}]+)""",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Tell whether a value of this name must not be shown."""
    return _SECRET.search(name) is not None


def without_secrets(text: str) -> str:
    """Hide what stands behind a secret's name, as in a query, a header line or JSON."""
    return _IN_TEXT.sub(rf"\g<1>{HIDDEN}", text)
