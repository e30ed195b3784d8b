"""Sessions: open connections to Postgres, bounded in time, and given up without a word.

The driver answers a time-out or a cancelled task with a CancelRequest. Sent to a backend that waits
for its standby, that request makes a commit visible which only one server holds. So nothing here
uses the driver's time-outs, and no statement's task is ever cancelled while its socket lives: when
the answer does not come in time, the socket is aborted, and the server alone decides what became of
the statement.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import asyncpg

from payments.defects import ContentDefect, InvariantViolation
from runtime.faults import Fault, StorageUnavailable

T = TypeVar("T")

STORE = "postgres"

# A statement takes milliseconds. One that is silent for this long met a dead server, a dead network
# or a frozen standby; from here on its fate is unknown.
ANSWER_TIMEOUT_S = 5.0

# After its socket is gone a statement's task ends within a turn or two of the loop.
ABORT_GRACE_S = 0.5

# How long a session may take to say goodbye; a server that is slower notices the closed socket.
CLOSE_TIMEOUT_S = 1.0

# Error classes that mean that our statement or our rows were wrong: feature, data, integrity, syntax
# or rights, a limit such as a row too large for its page.
_DEFECT_CLASSES = frozenset({"0A", "22", "23", "42", "54"})
# Of these, what a value was wrong about: data and limits; NOT NULL and CHECK. A conflict of identities is
# about the books.
_CONTENT_CLASSES = frozenset({"22", "54"})
_CONTENT_STATES = frozenset({"23502", "23514"})


class StatementUnanswered(Fault):
    """The server was silent for too long: the socket is gone, the statement's fate unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A server process beyond doubt: pids are used again, a pid with its start time is not."""

    pid: int
    started_at: datetime


class Session:
    """One open connection. Not for use by two tasks at once."""

    def __init__(
        self,
        connection: asyncpg.Connection[asyncpg.Record],
        backend: Backend,
        *,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self._connection = connection
        self._answer_timeout_s = answer_timeout_s
        self._warnings: list[str] = []
        self.backend = backend
        connection.add_log_listener(self._on_notice)

    @property
    def is_open(self) -> bool:
        return not self._connection.is_closed()

    def take_warnings(self) -> list[str]:
        """Return the server's warnings since the last call, such as a standby's wait cut short."""
        warnings, self._warnings = self._warnings, []
        return warnings

    async def execute(self, sql: str) -> str:
        """Run statements without parameters; return the last command's tag, such as ``COMMIT``."""
        return await self._answered(self._connection.execute(sql))

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        return await self._answered(self._connection.fetch(sql, *arguments))

    async def fetchrow(self, sql: str, *arguments: object) -> asyncpg.Record | None:
        return await self._answered(self._connection.fetchrow(sql, *arguments))

    async def send_rows(self, sql: str, *arguments: object) -> asyncpg.Record:
        """Run a statement that takes arrays of rows and returns one row.

        A row is a tuple, its members in the order of its composite type. Raises InvariantViolation
        for a value that its member can't hold.
        """
        try:
            row = await self.fetchrow(sql, *arguments)
        except AttributeError as error:
            # The driver turns other values that don't fit into errors of its own.
            raise ContentDefect(f"a row can't be stored: {error}") from error
        if row is None:
            raise InvariantViolation("a SELECT without FROM returned no row")
        return row

    async def take_as_bytes(self, domain: str) -> None:
        """Have values of a domain sent as the bytes they are given as: its binary form, packed by us."""
        await self._answered(
            self._connection.set_builtin_type_codec(domain, codec_name="bytea", format="binary")
        )

    async def copy(self, table: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Copy rows, fields in the order of the table's columns, into a table.

        Raises InvariantViolation for a value that its column can't hold.
        """
        copying = self._connection.copy_records_to_table(table, records=rows)
        try:
            await self._answered(copying)
        except (ValueError, TypeError, OverflowError, AttributeError) as error:
            raise InvariantViolation(f"a row can't be stored in {table}: {error}") from error

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work on this session to its end, however the caller fares.

        A caller that is cancelled aborts the socket; the server is never asked to cancel anything.
        """
        task = asyncio.ensure_future(work)
        try:
            # wait() leaves the task alone when the caller is cancelled, unlike await.
            await asyncio.wait({task})
        except asyncio.CancelledError:
            self.abort()
            await _end(task)
            raise
        return task.result()

    def abort(self) -> None:
        """Drop the socket now, with no word to the server. Waiting statements fail at once."""
        self._connection.terminate()

    async def close(self) -> None:
        """Say goodbye, for a second at most."""
        with contextlib.suppress(
            OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError
        ):
            await self._connection.close(timeout=1.0)

    async def _answered(self, statement: Awaitable[T]) -> T:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        expired = False

        def expire() -> None:
            nonlocal expired
            expired = True
            self.abort()
            if task is not None:
                # Only a COPY held up by a full socket buffer does not notice the abort. With the
                # socket gone the driver can't send a CancelRequest any more.
                task.cancel()

        deadline = loop.call_later(self._answer_timeout_s, expire)
        try:
            return await statement
        except (Exception, asyncio.CancelledError) as fault:
            if not expired:
                raise
            if task is not None:
                task.uncancel()
            raise StatementUnanswered(f"no answer within {self._answer_timeout_s} s") from fault
        finally:
            deadline.cancel()

    def _on_notice(self, _connection: object, message: asyncpg.PostgresLogMessage) -> None:
        if (message.severity_en or message.severity) == "WARNING":
            self._warnings.append(str(message.message))


async def _end(task: asyncio.Task[Any]) -> None:
    """Let a task whose socket is gone come to its end, and take note of its failure."""
    done, _ = await asyncio.wait({task}, timeout=ABORT_GRACE_S)
    if not done:
        task.cancel()
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await task


@contextlib.contextmanager
def postgres_faults() -> Iterator[None]:
    """Turn the driver's errors into StorageUnavailable, or InvariantViolation for our own bugs.

    For work that changed nothing unless it was answered. A commit in doubt is the caller's own
    case.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        sqlstate = error.sqlstate or ""
        if sqlstate[:2] in _CONTENT_CLASSES or sqlstate in _CONTENT_STATES:
            raise ContentDefect(f"Postgres refused a value: {sqlstate}") from error
        if sqlstate[:2] in _DEFECT_CLASSES:
            raise InvariantViolation(f"Postgres refused a statement: {sqlstate} {error}") from error
        raise StorageUnavailable(STORE, f"{sqlstate} {error}") from error
    except (
        StatementUnanswered,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OSError,
    ) as fault:
        raise StorageUnavailable(STORE, f"{type(fault).__name__}: {fault}") from fault
