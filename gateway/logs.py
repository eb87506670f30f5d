"""The gateway's loggers: nothing that others wrote can begin a log line or steer a terminal.

Paths, methods, headers, ids and the texts of exceptions come from clients and apps. A line end in
one of them would forge a log line, an escape would move a terminal's cursor. So every logger of
the gateway comes from `logger_for`, which escapes them in each record, before any handler sees it;
no call has to remember. Line ends that are meant stay: those of a message's literal, of `Lines`,
and of a traceback, where what an exception says is indented from its second line on.

They stay on when an app sets up logging: `dictConfig` and `fileConfig` disable every logger that
they don't name, and a rollback would go unheard.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway.printable import Lines, shown, shown_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

_BETWEEN = ("Traceback (most recent call last):", "\n")
_INDENT = "    "


def logger_for(name: str) -> logging.Logger:
    """Return the logger of this name, which escapes what others wrote, and can't be disabled.

    Its level and its handlers are set as any logger's.
    """
    logger = logging.getLogger(name)
    logger.addFilter(_ESCAPING)  # is added once
    if not isinstance(logger, _Enabled):
        logger.__class__ = _enabled(type(logger))
    return logger


class _Enabled(logging.Logger):
    """A logger that whoever sets up logging for others can't turn off."""

    @property
    def disabled(self) -> bool:
        """Never."""
        return False

    @disabled.setter
    def disabled(self, _: bool) -> None:
        """Change nothing: `dictConfig` sets it for each logger that it wasn't told of."""


def _enabled(cls: type[logging.Logger]) -> type[logging.Logger]:
    """Return a class of enabled loggers; `cls` may be an app's own, by `setLoggerClass`."""
    return type(cls.__name__, (_Enabled, cls), {})


def escape_exceptions_of(name: str) -> None:
    """Escape the request's path in a line that Flask itself logs, where its app fails.

    It logs what native has raised inside of it as well. What the app logs is left as it is.
    """
    logging.getLogger(name).addFilter(_FLASKS_OWN)


class Tracebacks(logging.Filter):
    """Lets every record through; what an exception says in its traceback begins no line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Write the traceback; formatters take it as it is."""
        if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
            # What reads `exc_info`, an error tracker, has all of it.
            record.exc_text = traceback_of(record.exc_info[1])
        return True


class _Escaping(Tracebacks):
    """Lets every record through, with its foreign texts escaped."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Escape the arguments, a message without any, and what the traceback tells."""
        if not record.args:
            record.msg = _escaped(record.msg)
        elif isinstance(record.args, Mapping):
            record.args = {key: _escaped(each) for key, each in record.args.items()}
        else:
            record.args = tuple(_escaped(each) for each in record.args)
        return super().filter(record)


class _FlasksOwn(_Escaping):
    """Escapes what `Flask.log_exception` writes: no API tells it, a test pins its first words."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Escape such a record alone."""
        if record.exc_info and str(record.msg).startswith("Exception on /"):
            super().filter(record)
        return True


_ESCAPING = _Escaping()
_FLASKS_OWN = _FlasksOwn()


def _escaped(value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Lines):
        first, *others = shown_lines(value).split("\n")
        return "\n".join([first, *map(_indented, others)])
    return shown(value) if isinstance(value, str) else _Foreign(value)


class _Foreign:
    """Any value of others: its text is made, and escaped, when the line is written."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __str__(self) -> str:
        return shown(str(self.value))

    def __repr__(self) -> str:
        return shown(repr(self.value))


def traceback_of(error: BaseException) -> str:
    """Write an exception as Python does, where only Python's own lines begin at a line's start."""
    return "\n".join(_lines(traceback.TracebackException.from_exception(error).format()))


def _lines(chunks: Iterator[str]) -> Iterator[str]:
    """Indent what an exception says: its message from the second line on, and its notes."""
    said = False
    for chunk in chunks:
        first, *others = shown_lines(chunk.rstrip("\n")).split("\n")
        if chunk.startswith(_BETWEEN):
            # Between two exceptions of a chain, or before the first.
            yield from (first, *others)
            if chunk.startswith("\n"):
                yield ""
            said = False
            continue
        yield _indented(first) if said else first
        yield from map(_indented, others)
        said = not first.startswith(" ")


def _indented(line: str) -> str:
    return line if not line or line[0] == " " else f"{_INDENT}{line}"
