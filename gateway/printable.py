"""Text for people, whoever wrote it."""

from __future__ import annotations


def shown(text: str) -> str:
    """Return `text` with what could steer a terminal, or can't be written, by its escape."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def shown_lines(text: str) -> str:
    """Return a text whose line ends are meant, each line as `shown` has it but for tabs."""
    return "\n".join(
        "\t".join(shown(part) for part in line.split("\t")) for line in text.split("\n")
    )


class Lines(str):
    """A text of ours whose line ends are meant: a log line goes on below where it has one.

    In its further lines may stand what others wrote, as long as they can't begin one.
    """

    __slots__ = ()
