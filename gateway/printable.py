"""Text for people, whoever wrote it."""

from __future__ import annotations


def shown(text: str) -> str:
    """Return `text` with what could steer a terminal, or can't be written, by its escape."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
