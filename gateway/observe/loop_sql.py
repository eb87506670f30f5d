"""SQL that runs on the event loop's own thread, found and named.

A query in an `async def` handler, or in a dependency of one, stops every other request while it
runs; and where it waits for a connection of a pool that other coroutines hold, it stops them for
ever. SQLAlchemy tells us of each statement (its `before_cursor_execute` event), on the thread that
runs it.
"""

from __future__ import annotations

import sys
import sysconfig
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.logs import logger_for

if TYPE_CHECKING:
    from types import FrameType

logger = logger_for("gateway.loop")

#: Where installed packages and the standard library lie; what lies elsewhere is the user's own.
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")})
_HERE = Path(__file__).parents[1]
#: Our own code; the demo is a user's.
_OURS = tuple(str(each) for each in _HERE.iterdir() if each.name != "demo")


class LoopSql:
    """Warns, once for each place in the user's code, of SQL on the thread that made this.

    Does nothing in a process that hasn't imported SQLAlchemy. Engines of asyncio dialects are
    welcome on the loop: they don't block it.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._seen: set[str] = set()

    def start(self) -> None:
        """Listen to every engine of the process."""
        event, engine = _sqlalchemy()
        if event is not None:
            event.listen(engine, "before_cursor_execute", self._note)

    def stop(self) -> None:
        """Listen no more."""
        event, engine = _sqlalchemy()
        if event is not None and event.contains(engine, "before_cursor_execute", self._note):
            event.remove(engine, "before_cursor_execute", self._note)

    def _note(self, connection: Any, *_: Any) -> None:
        if threading.get_ident() != self._thread or connection.dialect.is_async:
            return
        where = culprit(sys._getframe(1))  # noqa: SLF001 - documented, for CPython
        if where in self._seen:
            return
        self._seen.add(where)
        logger.warning(
            "%s runs SQL on the event loop: every request waits for it, and a pool that is used up "
            "freezes the process. Write the handler as `def`, or use an asyncio engine",
            where,
        )


def _sqlalchemy() -> tuple[Any, Any]:
    """Return SQLAlchemy's event module and Engine class, where the process has imported them."""
    engines = sys.modules.get("sqlalchemy.engine")
    return sys.modules.get("sqlalchemy.event"), getattr(engines, "Engine", None)


def culprit(frame: FrameType | None) -> str:
    """Name the innermost of the user's own functions below `frame`, with its file and line."""
    while frame is not None:
        path = frame.f_code.co_filename
        if is_users(path):
            module = frame.f_globals.get("__name__", "")
            return f"{module}.{frame.f_code.co_qualname} ({path}:{frame.f_lineno})"
        frame = frame.f_back
    return "a library"


def is_users(path: str) -> bool:
    """Tell whether a file is the user's own: no installed package, and not ours."""
    return not path.startswith((*_LIBRARIES, *_OURS, "<"))
