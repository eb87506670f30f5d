"""From a file to a tree of YAML: whatever stands there, a tree or one error comes of it."""

from __future__ import annotations

import errno
import os
import stat
from io import StringIO
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import ConstructorError, RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.reader import ReaderError

from gateway.exceptions import GatewayError

if TYPE_CHECKING:
    from pathlib import Path

#: Largest config, in bytes: twice what a ConfigMap of Kubernetes can hold, twenty seconds to read.
MAX_BYTES = 2_000_000
#: How deep values may lie in each other; a config needs six.
MAX_DEPTH = 40
_CORE = "tag:yaml.org,2002:"
#: Tags whose values a config can hold (YAML 1.2.2, chapter 10, with dates).
_TAGS = frozenset(
    _CORE + name
    for name in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "merge")
)
#: What ruamel lets through from Python's own conversions and from its own slips.
_SLIPS = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,  # RecursionError, and NotImplementedError for comments in odd places
)


class NotYaml(GatewayError):
    """The text can't be read as YAML; `line` (from 1) is where, 0 where that isn't known."""

    def __init__(self, what: str, line: int = 0, next_: str = "is the file complete?") -> None:
        super().__init__(what)
        self.line, self.next = line, next_


def read_bytes(file: Path) -> bytes:
    """Return the content of a regular file of MAX_BYTES at most. Raises OSError.

    Anything else isn't opened: a FIFO would be waited for.
    """
    mode = file.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "no regular file")
    with file.open("rb") as opened:
        data = opened.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"larger than {MAX_BYTES:,} bytes")
    return data


def parse(text: str) -> Any:
    """Return ruamel's tree, which knows its lines; None for an empty text. Raises NotYaml."""
    reader = YAML(typ="rt")
    reader.Composer, reader.Constructor = _Composer, _Constructor
    try:
        return reader.load(StringIO(text, newline=None))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # Only the key of a duplicate: its value could be a secret.
        what = " ".join((error.problem or "not valid YAML").partition(" with value ")[0].split())
        line = mark.line + 1 if mark else 0
        if isinstance(error, _Refused):
            raise NotYaml(what, line, error.hint) from None
        if "duplicate" in what:
            raise NotYaml(what, line, "keep one of them") from None
        raise NotYaml(what, line) from None
    except ReaderError as error:
        what = f"unacceptable character #x{error.character:04x}"
        at = text.find(chr(error.character))
        raise NotYaml(what, text.count("\n", 0, at) + 1, "remove it") from None
    except YAMLError as error:
        raise NotYaml(" ".join(str(error).split()) or "not valid YAML") from None
    except _SLIPS:
        # The last edge: what its own classes below don't give a line, must still be a problem of
        # the file and never end the process that reads it. The text could be a secret.
        raise NotYaml("not valid YAML") from None


class _Refused(MarkedYAMLError):
    """A node that no config can hold, and what to do about it."""

    def __init__(self, what: str, mark: Any, hint: str) -> None:
        super().__init__(None, None, what, mark)
        self.hint = hint


class _Composer(Composer):
    """Holds each node to what a config can mean, where its line is known."""

    _level = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose one node. Raises ComposerError and _Refused."""
        event = self.parser.peek_event()
        if isinstance(event, AliasEvent):
            return super().compose_node(parent, index)
        if self._level > MAX_DEPTH:
            raise _Refused("nested too deeply", event.start_mark, "is a bracket missing?")
        if event.anchor is not None and event.anchor in self.anchors:
            what = f"the anchor {event.anchor!r} stands for another value already"
            raise _Refused(what, event.start_mark, "give it another name")
        self._level += 1
        node = super().compose_node(parent, index)
        self._level -= 1
        if node.tag not in _TAGS:
            what = f"the tag {_written(node.tag)} has no meaning here"
            raise _Refused(what, event.start_mark, "write a plain value")
        return node


class _Constructor(RoundTripConstructor):
    """Gives what goes wrong with a value the line of that value."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Construct one value. Raises ConstructorError and _Refused."""
        try:
            return super().construct_object(node, deep)
        except (ConstructorError, *_SLIPS) as error:
            if isinstance(error, ConstructorError) and not isinstance(node, ScalarNode):
                raise
            # Never the value itself: it could be a secret.
            what = f"this can't be read as {_written(node.tag)}"
            raise _Refused(what, node.start_mark, "is it text? Then put it in quotes") from None


def _written(tag: str) -> str:
    """Return a tag as it is written in a file."""
    return f"!!{tag.removeprefix(_CORE)}" if tag.startswith(_CORE) else tag
