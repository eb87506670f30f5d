"""From a path to the routes that may match it, in registration order.

The index only leaves out what can't match; whether a candidate does match is for the real route
to say. So a mistake of FastAPI's regexes (`$` matches before a last newline) stays FastAPI's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Generic, TypeVar

from starlette.convertors import (
    Convertor,
    FloatConvertor,
    IntegerConvertor,
    StringConvertor,
    UUIDConvertor,
)
from starlette.routing import compile_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from re import Pattern

T = TypeVar("T")

#: A template by segments: text, None for a segment with parameters. `open`: more may follow.
Shape = tuple[tuple[str | None, ...], bool]

_ONE_SEGMENT = (StringConvertor, IntegerConvertor, FloatConvertor, UUIDConvertor)


@lru_cache(maxsize=4096)
def _compiled(path: str) -> tuple[Pattern[str], Shape]:
    regex, _, convertors = compile_path(path)
    segments: list[str | None] = []
    rest = dict(convertors)
    for segment in path.split("/"):
        names = [name for name in rest if f"{{{name}}}" in segment or f"{{{name}:" in segment]
        if any(not _one_segment(rest.pop(name)) for name in names):
            return regex, (tuple(segments), True)
        segments.append(None if names else segment)
    return regex, (tuple(segments), False)


def _one_segment(convertor: Convertor[object]) -> bool:
    return type(convertor) in _ONE_SEGMENT


def shape_of(path: str, regex: object) -> Shape | None:
    """Return the shape of a template, or None if `regex` isn't the one that it compiles to."""
    if not path.startswith("/"):
        return None
    compiled, shape = _compiled(path)
    return shape if compiled == regex else None


class _Node(Generic[T]):
    __slots__ = ("any", "here", "literal", "open")

    def __init__(self) -> None:
        self.literal: dict[str, _Node[T]] = {}
        self.any: _Node[T] | None = None
        self.here: list[T] = []
        self.open: list[T] = []


class PathIndex(Generic[T]):
    """Entries by the shape of their template; those without a shape are candidates for all paths.

    `order` is the position of an entry in the app's own order.
    """

    def __init__(
        self, entries: Iterable[tuple[T, Shape | None]], order: Callable[[T], int]
    ) -> None:
        self._order = order
        self._root: _Node[T] = _Node()
        self._always: list[T] = []
        self._all: list[T] = []
        static: set[str] = set()
        for entry, shape in entries:
            self._all.append(entry)
            if shape is None:
                self._always.append(entry)
                continue
            segments, is_open = shape
            self._add(entry, segments, is_open=is_open)
            if not is_open and None not in segments:
                static.add("/".join(segment or "" for segment in segments))
        self._static = {path: self._walk(path) for path in static}

    def candidates(self, path: str) -> Sequence[T]:
        """List the entries that may match `path`, in order."""
        found = self._static.get(path)
        if found is not None:
            return found
        if "\n" in path:
            return self._all
        return self._walk(path)

    def _add(self, entry: T, segments: tuple[str | None, ...], *, is_open: bool) -> None:
        node = self._root
        for segment in segments:
            if segment is None:
                if node.any is None:
                    node.any = _Node()
                node = node.any
            else:
                node = node.literal.setdefault(segment, _Node())
        (node.open if is_open else node.here).append(entry)

    def _walk(self, path: str) -> list[T]:
        found = list(self._always)
        nodes = [self._root]
        for segment in path.split("/"):
            below: list[_Node[T]] = []
            for node in nodes:
                if node.open:
                    found += node.open
                child = node.literal.get(segment)
                if child is not None:
                    below.append(child)
                if node.any is not None:
                    below.append(node.any)
            nodes = below
            if not nodes:
                break
        for node in nodes:
            found += node.here
        if len(found) > 1:
            found.sort(key=self._order)
        return found
