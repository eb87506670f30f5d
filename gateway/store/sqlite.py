"""The embedded store: one SQLite file for all worker processes of a host.

The file is made by the first write; until then there is nothing to hold. WAL lets the workers read
while one of them writes.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from gateway.overrides import Held, Override
from gateway.store.base import Change, Entry, StoreConflict, StoreDown, after, entry_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: How often other processes' changes are looked for, in seconds.
POLL_SECONDS = 0.2
#: How long a write waits for another process's write, in seconds.
BUSY_SECONDS = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS held (one INTEGER PRIMARY KEY CHECK (one = 1),
                                 sequence INTEGER NOT NULL, overrides TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS audit (number INTEGER PRIMARY KEY AUTOINCREMENT,
                                  route TEXT NOT NULL, entry TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS audit_is_kept BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit trail is never changed'); END;
CREATE TRIGGER IF NOT EXISTS audit_is_as_written BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit trail is never changed'); END;
"""


class SqliteStore:
    """Overrides in the file at `path`; its folder is made where it is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._over = threading.Event()

    def twin(self) -> SqliteStore:
        """Return another object for another thread."""
        return SqliteStore(self.path)

    def read(self) -> Held:
        """Return what is held; nothing where there is no file yet."""
        with self._reading() as connection:
            return Held() if connection is None else _read(connection)

    def wait(self, sequence: int, seconds: float) -> bool:
        """Look again and again for another sequence."""
        deadline = time.monotonic() + seconds
        while True:
            with self._reading() as connection:
                found = _sequence(connection) if connection is not None else 0
            if found != sequence:
                return True
            left = deadline - time.monotonic()
            if left <= 0 or self._over.wait(min(POLL_SECONDS, left)):
                return False

    def interrupt(self) -> None:
        """End a wait."""
        self._over.set()

    def write(self, change: Change, expected: int | None = None) -> Held:
        """Carry out a change in one transaction."""
        with self._writing() as connection:
            held = _read(connection)
            if expected is not None and expected != held.sequence:
                raise StoreConflict(f"the overrides are at {held.sequence}, not at {expected}")
            held = after(held, change)
            _keep(connection, held, change.entries)
            return held

    def restore(self, held: Held, entry: Entry) -> Held:
        """Put back what the file has lost: somebody has deleted it, or put an old one there."""
        with self._writing() as connection:
            found = _read(connection)
            if found.sequence >= held.sequence:
                return found
            held = replace(held, sequence=held.sequence + 1)
            _keep(connection, held, [entry])
            return held

    def note(self, entry: Entry) -> None:
        """Add a line to the audit trail."""
        with self._writing() as connection:
            _write_down(connection, [entry], _sequence(connection))

    def audit(self, limit: int, route: str | None = None) -> list[Entry]:
        """Return the last entries."""
        with self._reading() as connection:
            if connection is None:
                return []
            rows = connection.execute(
                "SELECT entry FROM audit WHERE ?1 IS NULL OR route = ?1"
                " ORDER BY number DESC LIMIT ?2",
                (route, limit),
            ).fetchall()
        return [entry_of(json.loads(row[0])) for row in rows]

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        with self._translated():
            yield self._connect(make=False)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._translated():
            connection = self._connect(make=True)
            assert connection is not None  # noqa: S101 - `make` makes it
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            with contextlib.suppress(sqlite3.Error):
                self.close()
            raise StoreDown(f"{self.url}: {error}") from error

    def _connect(self, *, make: bool) -> sqlite3.Connection | None:
        """Return the connection to the file that is there now, which may be another than before."""
        try:
            found = self.path.stat()
            inode = (found.st_dev, found.st_ino)
        except FileNotFoundError:
            self.close()
            if not make:
                return None
            self.path.parent.mkdir(parents=True, exist_ok=True)
            inode = None
        if self._connection is not None and inode == self._inode:
            return self._connection
        self.close()
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            if make or inode is not None:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        found = self.path.stat()
        self._connection, self._inode = connection, (found.st_dev, found.st_ino)
        return connection


def _sequence(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT sequence FROM held").fetchone()
    return int(row[0]) if row is not None else 0


def _read(connection: sqlite3.Connection) -> Held:
    row = connection.execute("SELECT sequence, overrides FROM held").fetchone()
    if row is None:
        return Held()
    return Held(int(row[0]), tuple(Override.of_json(each) for each in json.loads(row[1])))


def _keep(connection: sqlite3.Connection, held: Held, entries: Sequence[Entry]) -> None:
    overrides = json.dumps([each.as_json() for each in held.overrides])
    connection.execute("INSERT OR REPLACE INTO held VALUES (1, ?, ?)", (held.sequence, overrides))
    _write_down(connection, entries, held.sequence)


def _write_down(connection: sqlite3.Connection, entries: Sequence[Entry], sequence: int) -> None:
    connection.executemany(
        "INSERT INTO audit (route, entry) VALUES (?, ?)",
        [(each.route, json.dumps(asdict(replace(each, sequence=sequence)))) for each in entries],
    )
