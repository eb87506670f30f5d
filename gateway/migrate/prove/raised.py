"""What the apps and the user's functions raised: a 500 alone doesn't tell what a handler misses."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from flask import Flask, got_request_exception

from gateway.importing import own_frame

if TYPE_CHECKING:
    from types import TracebackType

#: So much of an exception's message is told, in characters: it may hold a whole page.
_MOST = 200


def told(error: BaseException) -> str:
    """Return kind and message in one line, and where in the user's code it was raised."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    short = said if len(said) <= _MOST else f"{said[: _MOST - 1]}…"
    frame = own_frame(error)
    return short if frame is None else f"{short} ({Path(frame.filename).name}:{frame.lineno})"


class Raised(logging.Handler):
    """Collects while it is entered what Flask has handled, and what the gateway has logged.

    Native's exceptions are logged by the gateway, where Flask's hooks ran around the handler.
    """

    def __init__(self, legacy: object) -> None:
        super().__init__()
        self._flask = legacy if isinstance(legacy, Flask) else None
        self._found: list[str] = []

    def __enter__(self) -> Self:
        logging.getLogger("gateway").addHandler(self)
        if self._flask is not None:
            got_request_exception.connect(self._note, self._flask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        got_request_exception.disconnect(self._note)
        logging.getLogger("gateway").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of a record's exception."""
        if record.exc_info and record.exc_info[1] is not None:
            self._found.append(told(record.exc_info[1]))

    def taken(self) -> str:
        """Return what was raised first since the last call, and forget all."""
        found, self._found = self._found, []
        return found[0] if found else ""

    def _note(self, _: Flask, exception: BaseException, **__: Any) -> None:
        self._found.append(told(exception))
