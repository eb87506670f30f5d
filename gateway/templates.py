"""Path templates of both frameworks as one value, compared by segment.

Flask writes `/users/<int:id>`, FastAPI `/users/{id}` or `/users/{id:int}`. Two templates pair
when their static text and the positions of their parameters agree; names and converters don't
matter, except that a parameter which spans several segments only pairs with another such.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: What a parameter of one segment, and one that spans several, look like in a pairing key.
ONE, MANY = "{}", "{*}"

# Werkzeug, "Rule Format": <converter(arguments):name>; Starlette, "Path Parameters": {name:conv}.
_FLASK = re.compile(r"<(?:(?P<conv>[a-zA-Z_]\w*)(?:\((?P<args>.*?)\))?:)?(?P<name>[a-zA-Z_]\w*)>")
_FASTAPI = re.compile(r"{(?P<name>[a-zA-Z_]\w*)(?::(?P<conv>[a-zA-Z_]\w*))?}")
_SLASHES = re.compile(r"/{2,}")


@dataclass(frozen=True)
class Template:
    """A path template.

    `source` is as written, `label` the same in one syntax for both sides (`/users/{id}`).
    `segments` hold ONE or MANY in place of parameters and leave out the trailing slash: two
    templates with equal segments pair. `converters` and `names` go by the parameters' positions.
    """

    source: str
    label: str
    segments: tuple[str, ...]
    converters: tuple[str, ...]
    slash: bool
    names: tuple[str, ...] = ()

    @cached_property
    def static(self) -> bool:
        """True where the template has no parameters, so that it is one concrete path."""
        return not self.converters

    @cached_property
    def open(self) -> bool:
        """True where a parameter spans segments: `/files/<path:p>`."""
        return any(MANY in segment for segment in self.segments)

    @cached_property
    def catch_all(self) -> bool:
        """True for a template without any static text before an open parameter: `/<path:p>`."""
        return bool(self.segments) and self.segments[0] == MANY

    @cached_property
    def rank(self) -> tuple[int, ...]:
        """Specificity, smaller first: per segment static, mixed, one parameter, open."""
        return tuple(
            3 if MANY in segment else 2 if segment == ONE else 1 if ONE in segment else 0
            for segment in self.segments
        )

    def below(self, prefix: Template) -> bool:
        """Tell whether this template lies under `prefix`, by whole segments."""
        return self.segments[: len(prefix.segments)] == prefix.segments

    def fit(self, path: str) -> str:
        """Spell `path` as this template does: one leading slash, its own trailing slash."""
        path = "/" + path.lstrip("/")
        if self.segments and MANY in self.segments[-1]:
            return path
        if self.slash:
            return path if path.endswith("/") else path + "/"
        return path.rstrip("/") or "/"

    def overlaps(self, other: Template) -> bool:
        """Tell whether some path could match both, converters aside."""
        return _overlap(self.segments, other.segments)

    def sample(self, value: str) -> str:
        """Return a concrete path with `value` for every parameter."""
        filled = [segment.replace(MANY, value).replace(ONE, value) for segment in self.segments]
        return "/" + "/".join(filled) + ("/" if self.slash and filled else "")

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """Match paths that `normalise` has folded, for apps whose routes can't be asked."""
        return re.compile(self._pattern() + r"\Z", re.IGNORECASE)

    @cached_property
    def prefix_regex(self) -> re.Pattern[str]:
        """Match folded paths that lie below this template."""
        return re.compile(self._pattern() + r"(?:/.*)?\Z", re.DOTALL | re.IGNORECASE)

    def _pattern(self) -> str:
        pattern = ""
        for segment in self.segments:
            text = (
                re.escape(segment).replace(re.escape(MANY), ".+").replace(re.escape(ONE), "[^/]+")
            )
            pattern += "/" + text
        return pattern


def parse_flask(rule: str, open_converters: frozenset[str] = frozenset({"path"})) -> Template:
    """Parse a Werkzeug rule; `open_converters` are those that may match a slash."""
    return _parse(rule, _FLASK, open_converters)


def flask_pattern(rule: str, converter_regex: Callable[[str, str, str], str]) -> str:
    """Return a regex that reads a Werkzeug rule's parameters out of a path, as raw text.

    `converter_regex` is asked with a parameter's name, converter and the converter's arguments.
    The path is spelled as `Template.fit` spells it.
    """
    pattern, end = "", 0
    for match in _FLASK.finditer(rule):
        regex = converter_regex(match["name"], match["conv"] or "default", match["args"] or "")
        pattern += f"{re.escape(rule[end : match.start()])}(?P<{match['name']}>{regex})"
        end = match.end()
    rest = rule[end:]
    if rest.endswith("/"):
        # As Werkzeug does it: a last parameter that spans segments doesn't take the last slash.
        return rf"{pattern}{re.escape(rest[:-1])}(?<!/)/?\Z"
    return rf"{pattern}{re.escape(rest)}\Z"


def label_pattern(label: str) -> str:
    """Return a regex that reads a label's parameters out of a path, or out of one below it.

    For apps whose own reading isn't known: a parameter is one whole segment, or all that follows.
    """
    pattern, end = "", 0
    for match in _FASTAPI.finditer(label):
        regex = ".+" if match["conv"] == "path" else "[^/]+"
        pattern += f"{re.escape(label[end : match.start()])}(?P<{match['name']}>{regex})"
        end = match.end()
    return rf"{pattern}{re.escape(label[end:].rstrip('/'))}(?:/.*)?\Z"


def parse_native(path: str) -> Template:
    """Parse a Starlette or FastAPI path."""
    return _parse(path, _FASTAPI, frozenset({"path"}))


def parse_any(template: str, open_converters: frozenset[str] = frozenset({"path"})) -> Template:
    """Parse a template from the config, in whichever of the two syntaxes it is written."""
    if _FLASK.search(template):
        return parse_flask(template, open_converters)
    return parse_native(template)


def normalise(path: str) -> str:
    """Fold what a lenient app may read as the same path: case, `//`, `.` and `..`, last slash."""
    kept: list[str] = []
    for segment in _SLASHES.sub("/", path.casefold()).split("/"):
        if segment == "..":
            if kept:
                kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    return "".join(f"/{segment}" for segment in kept)


def _overlap(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    if not left or not right:
        return not left and not right
    if MANY in left[0] or MANY in right[0]:
        return True
    if ONE not in left[0] and ONE not in right[0] and left[0] != right[0]:
        return False
    return _overlap(left[1:], right[1:])


def _parse(source: str, syntax: re.Pattern[str], open_converters: frozenset[str]) -> Template:
    converters: list[str] = []
    names: list[str] = []

    def replace(match: re.Match[str]) -> str:
        converter = match["conv"] or "str"
        converters.append(converter)
        names.append(match["name"])
        return MANY if converter in open_converters else ONE

    def name(match: re.Match[str]) -> str:
        spans = match["conv"] in open_converters
        return f"{{{match['name']}:path}}" if spans else f"{{{match['name']}}}"

    flat, label = syntax.sub(replace, source), syntax.sub(name, source)
    segments = flat.split("/")[1:] if flat.startswith("/") else flat.split("/")
    slash = bool(segments) and segments[-1] == ""
    if slash:
        segments.pop()
    return Template(source, label, tuple(segments), tuple(converters), slash, tuple(names))
