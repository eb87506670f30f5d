"""Tracebacks for people: the frames of their own code, those of libraries as a number. Pure."""

from __future__ import annotations

import re
from pathlib import Path

_FRAME = re.compile(r'  File "(?P<file>[^"\n]*)", line \d+.*\n(?:    .*\n|\n)*')
_LIBRARY = re.compile(r"[/\\](?:site-packages|dist-packages|lib[/\\]python3\.\d+)[/\\]|^<frozen ")
_OURS = f"{Path(__file__).parents[1]}/"
_DEMO = f"{_OURS}demo/"


def shortened(text: str, most: int) -> str:
    """Leave out frames of libraries, but the last one: it has raised; and what is above `most`.

    Characters go from the front, by whole lines where there are several.
    """
    found = list(_FRAME.finditer(text if text.endswith("\n") else f"{text}\n"))
    kept: list[str] = []
    at = skipped = 0
    for number, frame in enumerate(found):
        follows = number + 1 < len(found) and found[number + 1].start() == frame.end()
        if frame.start() != at:
            kept += [_dots(skipped), text[at : frame.start()]]
            skipped = 0
        at = frame.end()
        if follows and _is_library(frame["file"]):
            skipped += 1
        else:
            kept += [_dots(skipped), frame[0]]
            skipped = 0
    short = "".join([*kept, text[at:]])
    if len(short) <= most:
        return short
    cut = short[-most:]
    first, end, rest = cut.partition("\n")
    return f"…\n{rest}" if end and rest else first


def _is_library(file: str) -> bool:
    """Tell whether its reader hasn't written it; the gateway is a library, its demo an app."""
    if file.startswith(_DEMO):
        return False
    return file.startswith(_OURS) or _LIBRARY.search(file) is not None


def _dots(skipped: int) -> str:
    if not skipped:
        return ""
    return f"  … {skipped} frame{'s' * (skipped != 1)} of libraries\n"
