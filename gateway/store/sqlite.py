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
from typing import TYPE_CHECKING, Any

from gateway.folders import refuse_planted
from gateway.held import Held
from gateway.store.base import Entry, Step, Store, StoreDown, entry_of

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

#: How often other processes' changes are looked for, in seconds.
POLL_SECONDS = 0.2
#: How long a write waits for another process's write, in seconds.
BUSY_SECONDS = 5.0

# One transaction: whoever reads meanwhile finds all of it or nothing.
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS state (one INTEGER PRIMARY KEY CHECK (one = 1),
                                  mark TEXT NOT NULL, held TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS audit (number INTEGER PRIMARY KEY AUTOINCREMENT,
                                  route TEXT NOT NULL, entry TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS documents (kind TEXT NOT NULL, key TEXT NOT NULL,
                                      until REAL NOT NULL, at REAL NOT NULL, value TEXT NOT NULL,
                                      PRIMARY KEY (kind, key));
CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL);
CREATE TRIGGER IF NOT EXISTS audit_is_kept BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit trail is never changed'); END;
CREATE TRIGGER IF NOT EXISTS audit_is_as_written BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit trail is never changed'); END;
COMMIT;
"""
#: A file of an older version has none, until it is written to.
_HAS_DOCUMENTS = "SELECT 1 FROM sqlite_master WHERE name = 'documents'"


class SqliteStore(Store):
    """Overrides in the file at `path`; its folder is made where it is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._whole = False
        self._over = threading.Event()

    def twin(self) -> SqliteStore:
        """Return another object for another thread."""
        return SqliteStore(self.path)

    def read(self) -> Held:
        """Return what is held; nothing where there is no file yet."""
        with self._reading() as connection:
            return Held() if connection is None else _read(connection)

    def wait(self, mark: str, seconds: float) -> bool:
        """Look again and again for another state."""
        deadline = time.monotonic() + seconds
        while True:
            with self._reading() as connection:
                found = _mark(connection) if connection is not None else Held().mark
            if found != mark:
                return True
            left = deadline - time.monotonic()
            if left <= 0 or self._over.wait(min(POLL_SECONDS, left)):
                return False

    def interrupt(self) -> None:
        """End a wait."""
        self._over.set()

    def step(self, take: Step) -> Held:
        """Carry out a change in one transaction."""
        with self._writing() as connection:
            found = _read(connection)
            held, entries = take(found)
            if held is not found:
                connection.execute(
                    "INSERT OR REPLACE INTO state VALUES (1, ?, ?)",
                    (held.mark, json.dumps(held.as_json())),
                )
                _write_down(connection, entries, held.sequence)
            return held

    def note(self, entry: Entry) -> None:
        """Add a line to the audit trail."""
        with self._writing() as connection:
            _write_down(connection, [entry], _read(connection).sequence)

    def audit(self, limit: int, routes: Collection[str] | None = None) -> list[Entry]:
        """Return the last entries."""
        with self._reading() as connection:
            if connection is None:
                return []
            rows = connection.execute(
                "SELECT entry FROM audit"
                " WHERE ?1 IS NULL OR route IN (SELECT value FROM json_each(?1))"
                " ORDER BY number DESC LIMIT ?2",
                (None if routes is None else json.dumps(list(routes)), limit),
            ).fetchall()
            return [entry_of(json.loads(row[0])) for row in rows]

    def put(
        self, kind: str, documents: Mapping[str, Any], seconds: float, most: int = 1000
    ) -> None:
        """Keep documents, and forget those that are over."""
        now = time.time()
        with self._writing() as connection:
            connection.execute("DELETE FROM documents WHERE until <= ?", (now,))
            connection.executemany(
                "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?)",
                [(kind, k, now + seconds, now, json.dumps(v)) for k, v in documents.items()],
            )
            connection.execute(
                "DELETE FROM documents WHERE kind = ?1 AND key NOT IN"
                " (SELECT key FROM documents WHERE kind = ?1 ORDER BY at DESC LIMIT ?2)",
                (kind, most),
            )

    def documents(self, kind: str) -> dict[str, Any]:
        """Return documents."""
        with self._reading() as connection:
            if connection is None or not connection.execute(_HAS_DOCUMENTS).fetchone():
                return {}
            rows = connection.execute(
                "SELECT key, value FROM documents WHERE kind = ? AND until > ?", (kind, time.time())
            ).fetchall()
            return {key: json.loads(value) for key, value in rows}

    def remove(self, kind: str, keys: Collection[str]) -> None:
        """Remove documents."""
        with self._writing() as connection:
            connection.executemany(
                "DELETE FROM documents WHERE kind = ? AND key = ?", [(kind, key) for key in keys]
            )

    def lease(self, name: str, owner: str, seconds: float) -> bool:
        """Take a lease in one transaction."""
        now = time.time()
        with self._writing() as connection:
            row = connection.execute(
                "SELECT owner, until FROM leases WHERE name = ?", (name,)
            ).fetchone()
            if row is not None and row[0] != owner and row[1] > now:
                return False
            connection.execute(
                "INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", (name, owner, now + seconds)
            )
            return True

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
        except (sqlite3.Error, OSError, ValueError, TypeError, RecursionError) as error:
            with contextlib.suppress(sqlite3.Error):
                self.close()
            raise StoreDown(f"{self.url}: {error}") from error

    def _found(self) -> os.stat_result:
        """Look at the file, and at what SQLite puts beside it: nothing of it may be planted."""
        for beside in ("", "-journal", "-wal", "-shm"):
            refuse_planted(self.path.with_name(self.path.name + beside))
        return self.path.stat()

    def _connect(self, *, make: bool) -> sqlite3.Connection | None:
        """Return the connection to the file that is there now, which may be another than before."""
        try:
            found = self._found()
            inode = (found.st_dev, found.st_ino)
        except FileNotFoundError:
            self.close()
            if not make:
                return None
            self.path.parent.mkdir(parents=True, exist_ok=True)
            inode = None
        known = self._connection is not None and inode == self._inode
        # What was opened to be read may be of an older version, or not whole yet.
        if known and (self._whole or not make):
            return self._connection
        self.close()
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            if make:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_SCHEMA)
            elif not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                connection.close()
                return None
        except BaseException:
            connection.close()
            raise
        found = self._found()
        self._connection, self._inode = connection, (found.st_dev, found.st_ino)
        self._whole = make
        return connection


def _mark(connection: sqlite3.Connection) -> str:
    row = connection.execute("SELECT mark FROM state").fetchone()
    return str(row[0]) if row is not None else Held().mark


def _read(connection: sqlite3.Connection) -> Held:
    row = connection.execute("SELECT held FROM state").fetchone()
    return Held.parse(row[0]) if row is not None else Held()


def _write_down(connection: sqlite3.Connection, entries: Sequence[Entry], sequence: int) -> None:
    connection.executemany(
        "INSERT INTO audit (route, entry) VALUES (?, ?)",
        [(each.route, json.dumps(asdict(replace(each, sequence=sequence)))) for each in entries],
    )
