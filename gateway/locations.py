"""Where something stands in an answer, as people write it: `$.items[*].price`, `headers.location`.

For JSON bodies a subset of RFC 9535 (JSONPath): names, indexes, wildcards and descendants; no
filters, slices, unions or negative indexes. Beside it `status`, `headers.NAME`, `cookies.NAME` and
`body`, the whole of it, also where it is no JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Wild(Enum):
    """One step that fits more than one key or index."""

    ELEMENT = "[*]"
    """Written for any element of a list; as in RFC 9535 it fits the members of objects, too."""
    MEMBER = ".*"
    """Written for any member of an object; fits the elements of lists, too."""
    NUMBERED = ".*0"
    """A member whose key has a digit in it, as generated keys have. Learned, never written."""

    def fits(self, key: str | int) -> bool:
        """Tell whether a key or index is meant."""
        return self is not Wild.NUMBERED or (type(key) is str and numbered(key))


Location = tuple[str | int, ...]
"""One place: the root (`$`, `status`, `headers`, `cookies`, `body`), then keys and indexes."""
Parts = tuple[str | int | Wild, ...]
"""Like a Location, where steps may be wildcards."""

ROOTS = ("$", "status", "headers", "cookies", "body")
_NAMED_ROOTS = frozenset({"headers", "cookies"})
_NAME = r"[^\W\d][\w-]*"
_PLAIN = re.compile(r"[^\W\d]\w*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STEP = re.compile(
    rf"""
    (?P<below>\.\.)?
    (?: (?P<dot>\.)? (?P<name>{_NAME}) | (?P<star>(?:\.)?\*)
      | \[ \s* (?: (?P<index>0|[1-9]\d{{0,15}}) | (?P<any>\*)
             | '(?P<single>(?:[^'\\]|\\.)*)' | "(?P<double>(?:[^"\\]|\\.)*)" ) \s* \]
    )
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "/": "/", "\\": "\\"}
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a pattern; `below`: at any depth."""

    selector: str | int | Wild
    below: bool = False

    def fits(self, key: str | int) -> bool:
        """Tell whether the step goes to this key or index."""
        return self.selector.fits(key) if isinstance(self.selector, Wild) else self.selector == key


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern. Its first step is the root."""

    text: str
    steps: tuple[Step, ...]

    @property
    def root(self) -> str:
        """What it speaks of: `$`, `status`, `headers`, `cookies` or `body`."""
        return str(self.steps[0].selector)

    def matches(self, location: Location) -> bool:
        """Tell whether the pattern means exactly this place (not what lies below it)."""
        reached = {0}
        for key in location:
            nearer = set()
            for position in reached:
                if position < len(self.steps):
                    step = self.steps[position]
                    if step.below:
                        nearer.add(position)
                    if step.fits(key):
                        nearer.add(position + 1)
            reached = nearer
        return len(self.steps) in reached


def parse(text: str) -> Pattern:
    """Compile a pattern; raises ValueError with what is wrong and how to write it."""
    root = next((each for each in ROOTS if text.startswith(each)), None)
    rest = text[len(root) :] if root else ""
    if root is None or (root != "$" and rest[:1] not in ("", ".", "[")):
        message = f"{text!r} must start with $, or be status, headers.NAME, cookies.NAME or body"
        raise ValueError(message)
    if root in _NAMED_ROOTS:
        return Pattern(text, (Step(root), _named(text, root, rest)))
    if root != "$" and rest:
        message = f"{text!r}: nothing can follow {root}; fields of a JSON body start with $"
        raise ValueError(message)
    return Pattern(text, (Step(root), *_steps(text, rest)))


def _named(text: str, root: str, rest: str) -> Step:
    bare = rest[1:]
    if rest == ".*":
        return Step(Wild.MEMBER)
    if rest[:1] == "." and _HEADER.fullmatch(bare):
        return Step(bare.lower() if root == "headers" else bare)
    message = f"{text!r}: write {root}.NAME or {root}.*"
    raise ValueError(message)


def _steps(text: str, rest: str) -> list[Step]:
    steps: list[Step] = []
    at = 0
    while at < len(rest):
        found = _STEP.match(rest, at)
        if found is None or not _well_led(found):
            here = rest[at : at + 20]
            message = (
                f"{text!r}: can't read {here!r}; write .name, ['a name'], [0], [*], .* or ..name"
            )
            raise ValueError(message)
        steps.append(Step(_selector(found), below=found["below"] is not None))
        at = found.end()
    return steps


def _well_led(found: re.Match[str]) -> bool:
    """`.name` and `..name`, never `name` alone or three points."""
    if found["name"] is not None:
        return (found["dot"] is None) is (found["below"] is not None)
    if found["star"] is not None:
        return (found["star"] == "*") is (found["below"] is not None)
    return True


def _selector(found: re.Match[str]) -> str | int | Wild:
    if found["name"] is not None:
        return found["name"]
    if found["star"] is not None:
        return Wild.MEMBER
    if found["any"] is not None:
        return Wild.ELEMENT
    if found["index"] is not None:
        return int(found["index"])
    quoted = found["single"] if found["single"] is not None else found["double"]
    units = _ESCAPE.sub(_unescaped, quoted).encode("utf-16", "surrogatepass")
    return units.decode("utf-16", "surrogatepass")


def _unescaped(found: re.Match[str]) -> str:
    if found[1]:
        return chr(int(found[1], 16))
    return _ESCAPES.get(found[2], found[2])


def written(parts: Parts) -> str:
    """Write a location, or parts with wildcards, so that `parse` reads it; 500 characters at most.

    What a terminal or UTF-8 can't take is escaped.
    """
    text = str(parts[0])
    for part in parts[1:]:
        text += _step_text(part, text in _NAMED_ROOTS)
        if len(text) > _LONGEST:
            return f"{text[:_LONGEST]}…"
    return text


def _step_text(part: str | int | Wild, plain: bool) -> str:
    if isinstance(part, Wild):
        return ".*" if part is Wild.NUMBERED else part.value
    if isinstance(part, int):
        return f"[{part}]"
    if plain or (_PLAIN.fullmatch(part) and part.isprintable()):
        return f".{part}"
    return f"['{''.join(_escaped(each) for each in part[:_LONGEST])}']"


def _escaped(character: str) -> str:
    if character in "'\\":
        return f"\\{character}"
    if character.isprintable():
        return character
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def generalised(location: Iterable[str | int | Wild]) -> str:
    """Write a location with every index as `[*]`: the field that it belongs to."""
    return written(field_of(location))


def field_of(location: Iterable[str | int | Wild]) -> Parts:
    """Return a location with every index as a wildcard."""
    return tuple(Wild.ELEMENT if isinstance(part, int) else part for part in location)


@lru_cache(maxsize=1024)
def numbered(key: str) -> bool:
    """Tell whether a key has a digit in it, as generated ones have."""
    return any(character.isdigit() for character in key)
