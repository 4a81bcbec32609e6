"""The SQLite database of an embedded broker: one file for several processes, or one in memory for several threads.

It holds transport only, so it is made for speed: no fsync. If the file is deleted or damaged it is made anew, and the
log publishes again what was in it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time_ns
from typing import Any

from messaging.core.errors import BrokerUnavailable

logger = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS exchange (name TEXT PRIMARY KEY, type TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS queue (
    name TEXT PRIMARY KEY, dead_letter_exchange TEXT, delivery_limit INTEGER, max_length INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS binding (
    exchange TEXT NOT NULL, queue TEXT NOT NULL, pattern TEXT NOT NULL, PRIMARY KEY (exchange, queue, pattern)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    routing_key TEXT NOT NULL,
    content_type TEXT NOT NULL,
    headers BLOB NOT NULL,
    body BLOB NOT NULL,
    deliveries INTEGER NOT NULL DEFAULT 0,
    claimed_by TEXT,
    claimed_at REAL
);
CREATE INDEX IF NOT EXISTS message_ready ON message (queue, id) WHERE claimed_by IS NULL;
CREATE INDEX IF NOT EXISTS message_claimed ON message (claimed_by) WHERE claimed_by IS NOT NULL;
"""

_BUSY_TIMEOUT = 5.0  # seconds that a write waits for the writes of other processes


def _create_tables(connection: sqlite3.Connection) -> None:
    connection.executescript(_SCHEMA)
    # Numbers are never used twice, not even by a file made anew: a late acknowledgement must not hit another message.
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('message', ?)", (time_ns(),))


class Store(ABC):
    """A database with the broker's tables. Safe to share between threads."""

    @abstractmethod
    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection in autocommit mode. SQLite's errors come out as BrokerUnavailable."""

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside a write transaction, which commits at the end."""
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:  # SQLite rolls back by itself after some errors
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @staticmethod
    def changes(connection: sqlite3.Connection) -> Any:
        """Return a value that is another one after anybody changed the database."""
        return connection.execute("PRAGMA data_version").fetchone(), connection.total_changes

    @abstractmethod
    def close(self) -> None:
        """Close this thread's connection, where it has one of its own."""


class EmbeddedMemoryStore(Store):
    """A database in the memory of this process: one connection, lent to one thread at a time."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        _create_tables(self._connection)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            yield self._connection

    def close(self) -> None:
        pass  # other threads use the connection too


class _Opened(threading.local):
    process: int = 0
    file: int = 0
    connection: sqlite3.Connection | None = None


_left_to_parent: list[sqlite3.Connection] = []
"""Connections inherited over a fork: closing them would checkpoint and unlock what the parent uses."""


def _means_damage(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR) or "no such table" in str(
        error
    )


class FileStore(Store):
    """A database in a file, opened once by each thread that uses it.

    Args:
        path: the file; its folder is made if it is missing.
        on_create: called after the tables were made, to declare what belongs in them.
    """

    def __init__(self, path: Path, on_create: Callable[[sqlite3.Connection], None]) -> None:
        self.path = path
        self._on_create = on_create
        self._local = _Opened()

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._open()
        except sqlite3.DatabaseError as error:
            if _means_damage(error):
                self._replace(error)
                problem = f"was damaged ({error}) and is made anew; try again"
            elif isinstance(error, sqlite3.OperationalError):
                problem = f"cannot be used now ({error}); is the disk full, or another process writing all the time?"
            else:
                raise
            raise BrokerUnavailable(f"broker file {self.path} {problem}") from error
        except OSError as error:
            raise BrokerUnavailable(
                f"broker file {self.path} cannot be opened ({error}); is its folder writable?"
            ) from error

    def _open(self) -> sqlite3.Connection:
        local = self._local
        file = self._file_number()
        if local.connection is not None:
            if local.process == os.getpid() and local.file == file:
                return local.connection
            self.close()
        if not file:
            self._create()
        connection = self._connect()
        local.process, local.file, local.connection = os.getpid(), self._file_number(), connection
        return connection

    def _file_number(self) -> int:
        try:
            return self.path.stat().st_ino
        except FileNotFoundError:
            return 0

    def _connect(self, path: Path | None = None) -> sqlite3.Connection:
        connection = sqlite3.connect(path or self.path, isolation_level=None, timeout=_BUSY_TIMEOUT)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    def _create(self) -> None:
        """Make the file under another name and move it into place, so that nobody ever sees half of it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if self._file_number():
                return
            for suffix in ("-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
            fresh = self.path.with_name(f"{self.path.name}.new")
            for suffix in ("", "-wal", "-shm"):
                Path(f"{fresh}{suffix}").unlink(missing_ok=True)
            connection = self._connect(fresh)
            try:
                _create_tables(connection)
                self._on_create(connection)
                connection.execute("PRAGMA journal_mode=WAL")
            finally:
                connection.close()
            fresh.rename(self.path)

    def _replace(self, error: sqlite3.Error) -> None:
        damaged = self._local.file
        self.close()
        with self._alone():
            if damaged in (0, self._file_number()):
                logger.error(
                    "broker file %s is damaged (%s); making it anew, the log publishes again", self.path, error
                )
                self.path.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with Path(f"{self.path}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def close(self) -> None:
        local = self._local
        connection, local.connection = local.connection, None
        if connection is None:
            return
        if local.process != os.getpid():
            _left_to_parent.append(connection)
            return
        connection.close()
