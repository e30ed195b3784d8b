"""Idempotency keys that outlive the process: kept under a name of the caller's before anything is sent.

A storefront names what it pays for, such as a cart's id. Whoever asks for the key of a name gets the one
that is kept, so a second process, or the same one after a crash, goes on with the same payment.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import UUID

from tallystick.errors import KeyStoreFailed

T = TypeVar("T")

# A cart's id and what is done with it; more is somebody's text, not a name.
NAME_CHARACTERS_MAX = 500

# Another process may hold the file while its disk is slow.
BUSY_TIMEOUT_S = 10.0

_CREATE = """
CREATE TABLE IF NOT EXISTS idempotency_key (
    name    TEXT PRIMARY KEY,
    key     TEXT NOT NULL,
    kept_at REAL NOT NULL
) WITHOUT ROWID
"""


class KeyStore(Protocol):
    """Where keys are kept. Called from several threads, and by the async client in a thread of its own."""

    def keep(self, name: str, key: UUID) -> UUID:
        """Keep the key under the name unless there is one; return the one that is kept.

        Returns only once it is durable. Raises KeyStoreFailed; then nothing is sent.
        """
        ...

    def forget(self, name: str, key: UUID) -> None:
        """Forget the key of a name if it is this one: the next call begins a new payment."""
        ...


class MemoryKeyStore:
    """Keys for as long as the process lives: for tests, and where nothing outlives it anyway."""

    def __init__(self) -> None:
        self._keys: dict[str, UUID] = {}
        self._turn = threading.Lock()

    def keep(self, name: str, key: UUID) -> UUID:
        """See ``KeyStore``."""
        with self._turn:
            return self._keys.setdefault(name, key)

    def forget(self, name: str, key: UUID) -> None:
        """See ``KeyStore``."""
        with self._turn:
            if self._keys.get(name) == key:
                del self._keys[name]


class FileKeyStore:
    """Keys in an SQLite file on a local disk. Processes of one machine may share it."""

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.time) -> None:
        """Raises KeyStoreFailed when the file can't be used. ``clock``: seconds since 1970."""
        self._path = Path(path)
        self._clock = clock
        self._turn = threading.Lock()
        self._owner = 0
        self._connection: sqlite3.Connection | None = None
        self._of_parent: sqlite3.Connection | None = None
        self._run(lambda connection: connection.execute(_CREATE))

    def keep(self, name: str, key: UUID) -> UUID:
        """See ``KeyStore``."""

        def insert(connection: sqlite3.Connection) -> UUID:
            connection.execute(
                "INSERT INTO idempotency_key VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (name, str(key), self._clock()),
            )
            found = connection.execute("SELECT key FROM idempotency_key WHERE name = ?", (name,))
            ((kept,),) = found.fetchall()
            return UUID(kept)

        return self._run(insert)

    def forget(self, name: str, key: UUID) -> None:
        """See ``KeyStore``."""
        self._run(
            lambda connection: connection.execute(
                "DELETE FROM idempotency_key WHERE name = ? AND key = ?", (name, str(key))
            )
        )

    def forget_older(self, age_s: float) -> int:
        """Forget keys kept longer ago than that; return how many.

        Only for names that nobody pays any more: the next call under such a name is a new payment.
        """
        until = self._clock() - age_s
        return self._run(
            lambda connection: (
                connection.execute(
                    "DELETE FROM idempotency_key WHERE kept_at < ?", (until,)
                ).rowcount
            )
        )

    def close(self) -> None:
        """Close the file. What is kept stays."""
        with self._turn:
            if self._connection is not None and self._owner == os.getpid():
                self._connection.close()
            self._connection = None

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do work in a transaction of its own, durable when this returns."""
        with self._turn:
            try:
                connection = self._opened()
                with connection:
                    return work(connection)
            except sqlite3.Error as error:
                raise KeyStoreFailed(f"{self._path}: {error}") from error

    def _made(self) -> None:
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600))
        except OSError as error:
            raise KeyStoreFailed(f"{self._path}: {error.strerror}") from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and self._owner == os.getpid():
            return self._connection
        # What was opened before a fork must neither be used nor closed after it: it is the parent's.
        self._of_parent = self._connection
        if not self._path.exists():
            # Names of carts are nobody else's business.
            self._made()
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
        # Each commit is on the disk when it returns, also through a loss of power: the key is there before the
        # first send. The rollback journal, as switching to another kind fails while others have the file open.
        connection.execute("PRAGMA synchronous = EXTRA")
        self._connection, self._owner = connection, os.getpid()
        return connection
