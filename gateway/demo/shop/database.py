"""The one SQLite file of both sides, opened on first use and not before.

Importing the shop or making either app opens nothing: servers import apps before they fork.
"""

from __future__ import annotations

import atexit
import os
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Engine, create_engine, event, func, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from gateway.demo.shop.models import Base, User
from gateway.demo.shop.seed import seed

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

#: Seconds that a writer waits for another one.
_BUSY_TIMEOUT = 15


class Database:
    """A database file; `session` and `prepare` create and fill it where that wasn't done yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    def prepare(self) -> None:
        """Create the tables and the seed data unless they are there. Safe to call at any time."""
        self._prepared()

    def session(self) -> Session:
        """Return a new session; the caller closes it."""
        return Session(self._prepared())

    def _prepared(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                engine = _engine(self.path)
                _create(engine)
                self._engine = engine
            return self._engine


def _engine(path: Path) -> Engine:
    # No pool: a file opens in microseconds, and a pool would only be a place to queue for the
    # threads of two servers. Nor does any connection outlive its session.
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        # FastAPI may open a session in one thread and use it in another, never in two at once.
        connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT},
    )
    event.listen(engine, "connect", _on_connect)
    return engine


def _on_connect(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    del record
    with closing(connection.cursor()) as cursor:
        # Readers never wait for a writer. The file remembers the mode; asking again is free.
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")


def _create(engine: Engine) -> None:
    with engine.connect() as connection:
        # Several workers may start at once: the first one creates, the others wait and find it.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        Base.metadata.create_all(connection)
        with Session(connection) as session:
            if not session.scalar(select(func.count()).select_from(User)):
                seed(session)
            session.commit()
        connection.commit()


_lock = threading.Lock()
_databases: dict[Path, Database] = {}
_scratch: list[Path] = []


def database() -> Database:
    """Return this process's database: the file that GATEWAY_DEMO_DB names, else a temporary one."""
    named = os.environ.get("GATEWAY_DEMO_DB")
    with _lock:
        path = Path(named).absolute() if named else _scratch_file()
        return _databases.setdefault(path, Database(path))


def folder() -> Path:
    """Return the folder that the demo keeps its files in; it may not exist yet."""
    return database().path.parent


def prepare() -> None:
    """Create and fill the database now, not at the first request."""
    database().prepare()


def _scratch_file() -> Path:
    if not _scratch:
        folder = tempfile.TemporaryDirectory(prefix="gateway-demo-", ignore_cleanup_errors=True)
        atexit.register(folder.cleanup)
        _scratch.append(Path(folder.name) / "shop.db")
    return _scratch[0]
