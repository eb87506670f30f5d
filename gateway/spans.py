"""Where each value stands in a YAML text, to the character: what an editor of text needs to know.

Aliases and merge keys are told as they are written, not as what they stand for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from io import StringIO
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Anchors and tags that stand before a value (YAML 1.2.2, section 6.9).
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")


class Kind(StrEnum):
    """What a node is."""

    SCALAR = "scalar"
    ALIAS = "alias"
    MAPPING = "mapping"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Node:
    """One value: `text[start:end]`, without its anchor and tag.

    `column` is where it begins in its line; for a block list that is the column of its dashes.
    `block` is true for a block scalar and for a collection written by indentation. `value` is a
    scalar's. A block collection ends with its last leaf, an empty value is where its key ends.
    """

    kind: Kind
    start: int
    end: int
    line: int
    column: int
    block: bool = False
    value: str = ""
    items: tuple[Node, ...] = ()
    entries: tuple[tuple[Node, Node], ...] = ()

    def entry(self, key: str) -> tuple[Node, Node] | None:
        """Return the key and the value of a mapping's own entry, None where it has none."""
        return next((each for each in self.entries if each[0].value == key), None)


def spans(text: str) -> Node | None:
    """Return the root of the text's only document, None where it is empty.

    Raises ruamel's YAMLError where the text is no YAML.
    """
    events = iter(YAML().parse(StringIO(text)))
    for event in events:
        if isinstance(event, AliasEvent | ScalarEvent | SequenceStartEvent | MappingStartEvent):
            return _node(event, events, text)
    return None


def _node(event: Any, events: Iterator[Any], text: str) -> Node:
    mark = event.start_mark
    start, end = mark.index, event.end_mark.index
    at = {"line": mark.line + 1, "column": mark.column}
    if isinstance(event, AliasEvent):
        return Node(Kind.ALIAS, start, end, **at)
    behind = _PROPERTIES.match(text, start)
    start = behind.end() if behind is not None else start
    if isinstance(event, ScalarEvent):
        block = event.style in ("|", ">")
        end = start + len(text[start:end].rstrip()) if block else max(start, end)
        return Node(Kind.SCALAR, start, end, **at, block=block, value=event.value)
    block = not event.flow_style
    if isinstance(event, SequenceStartEvent):
        items, last = _items(events, text)
        end = items[-1].end if block and items else last
        return Node(Kind.LIST, start, end, **at, block=block, items=items)
    entries, last = _entries(events, text)
    end = entries[-1][1].end if block and entries else last
    return Node(Kind.MAPPING, start, end, **at, block=block, entries=entries)


def _items(events: Iterator[Any], text: str) -> tuple[tuple[Node, ...], int]:
    items: list[Node] = []
    for event in events:
        if isinstance(event, SequenceEndEvent):
            return tuple(items), event.end_mark.index
        items.append(_node(event, events, text))
    raise AssertionError("the parser ends what it has begun")


def _entries(events: Iterator[Any], text: str) -> tuple[tuple[tuple[Node, Node], ...], int]:
    entries: list[tuple[Node, Node]] = []
    for event in events:
        if isinstance(event, MappingEndEvent):
            return tuple(entries), event.end_mark.index
        key = _node(event, events, text)
        value = _node(next(events), events, text)
        if value.kind is Kind.SCALAR and value.start == value.end:
            value = replace(value, start=key.end, end=key.end)
        entries.append((key, value))
    raise AssertionError("the parser ends what it has begun")
