"""The books at one moment, for whoever verifies them: a read-only snapshot on the primary, in one session or two.

Knows sessions, statements and their faults; what is checked, and what it means, is told in
storage/sql/verify*.sql and ops/verify/. Only the session's own temporary tables are written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

import asyncpg

from payments.defects import InvariantViolation
from runtime.config import Config
from runtime.faults import Fault, StorageUnavailable
from storage.connections import Connector, is_server_marked
from storage.sessions import Session, StatementUnanswered
from storage.sql_files import load_statements

T = TypeVar("T")

# A check of 100 million orders takes minutes; one that takes longer than this has met a frozen server.
STATEMENT_S_MAX = 1_800

# Rows of a stream in our memory at a time: about 3 MB.
ROWS_PER_FETCH = 10_000

_SETTINGS: Mapping[str, str] = {
    "statement_timeout": f"{STATEMENT_S_MAX}s",
    # A verifier that stopped must not hold back vacuum for ever.
    "idle_in_transaction_session_timeout": "10min",
    # Joins of whole tables: child by child, each in memory up to some ten million orders. The
    # server's memory for a session, beside its shared buffers, is at most this times two a join, and two workers.
    "work_mem": "64MB",
    "enable_partitionwise_join": "on",
    "enable_partitionwise_aggregate": "on",
}

_SQL = load_statements("verify.sql")
_CHECKS = {
    **load_statements("verify_orders.sql"),
    **load_statements("verify_operations.sql"),
    **load_statements("verify_money.sql"),
    **load_statements("verify_evidence.sql"),
    **load_statements("verify_oracle.sql"),
}
_STORY = load_statements("verify_story.sql")

Plain = str | int | bool | None
"""What a value of a row is told as: everything that JSON and people can read alike."""


class Unreadable(Fault):
    """Something of the books can't be read: nothing is known about it, least of all that it is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What one check found. ``first`` is the first row with a finding, by place."""

    checked: int
    violations: int
    first: Mapping[str, Plain] | None


class Identity(NamedTuple):
    """An identity, and the text that it has to derive from: ``merchant|mode|key``, or ``payment|kind|key``."""

    partition_index: int
    order_no: int
    order_uuid: bytes
    name: str
    payment_uuid: bytes | None
    """Of an operation its payment's identity, from which the partition derives; None for an order."""


class InFlight(NamedTuple):
    """How many charges are of orders that are open in the snapshot, and of such that are newer."""

    of_open_orders: int = 0
    of_newer_orders: int = 0


class Snapshot:
    """One REPEATABLE READ transaction. Every method raises Unreadable.

    A statement that fails leaves the snapshot as it was, unless the connection is gone.
    """

    def __init__(
        self, connector: Connector, session: Session, summary: Mapping[str, Plain]
    ) -> None:
        self._connector = connector
        self._session = session
        self._is_recomputed = False
        self.summary = summary
        """Which books, and of what moment."""

    @property
    def partition_count(self) -> int:
        return int(self.summary["partition_count"] or 0)

    @classmethod
    async def open(cls, config: Config) -> Snapshot:
        """Take the snapshot of the deployment's shard, with the rights of the reader."""
        shards = config.postgres.shards
        if len(shards) != 1:
            raise Unreadable(f"{len(shards)} shards: only the books of one can be compared so far")
        connector = Connector(
            config.postgres_dsn(shards[0], "reader"),
            application_name="tally verify",
            answer_timeout_s=STATEMENT_S_MAX,
        )
        with _as_unreadable():
            async with _begun(connector) as session:
                summary = await session.fetchrow(_SQL["summary"])
                if summary is None:
                    raise Unreadable("the books name no deployment")
                return cls(connector, session, _plain_row(summary))

    async def beside(self) -> Snapshot:
        """Open another session on the very same moment, with temporary tables of its own.

        Two look at it at once: what joins with a temporary table is not shared among the server's parallel workers,
        and a cursor has none.
        """
        with _as_unreadable():
            exported = await self._session.fetchrow(_SQL["export"])
            assert exported is not None, "a SELECT without FROM has a row"
            async with _begun(self._connector) as session:
                await session.execute(f"SET TRANSACTION SNAPSHOT '{exported['snapshot_id']}'")
                return Snapshot(self._connector, session, self.summary)

    async def recompute_accounts(self) -> None:
        """Sum up what the transfers come to, unless that was done: checks of accounts need it."""
        if not self._is_recomputed:
            await self._rows(_SQL["recompute_accounts"])
            self._is_recomputed = True

    async def examine(self, check: str, *arguments: object) -> Examined:
        """Run one check over everything it looks at."""
        counts = (await self._rows(_around("counted", check), *arguments))[0]
        first = None
        if counts["violations"]:
            rows = await self._rows(_around("first_found", check), *arguments)
            first = _plain_row(rows[0])
        return Examined(checked=counts["checked"], violations=counts["violations"], first=first)

    async def identities(self) -> AsyncIterator[Sequence[Identity]]:
        """Yield the parts of every order's identity, some thousand orders at a time."""
        await self._rows(f"DECLARE streamed NO SCROLL CURSOR FOR {_CHECKS['order_identities']}")
        while rows := await self._rows(f"FETCH {ROWS_PER_FETCH} FROM streamed"):
            yield [Identity(*row) for row in rows]
        await self._rows("CLOSE streamed")

    async def copy_charges(self, rows: Sequence[tuple[object, ...]]) -> None:
        """Add rows to ``oracle_charge``, fields in the order of its columns (verify.sql)."""
        try:
            await self._alone(lambda session: session.copy("oracle_charge", rows))
        except InvariantViolation as unfit:
            # Not a defect of ours here: the values came from outside.
            raise Unreadable(str(unfit)) from unfit

    async def examine_charges(
        self, psp: str, charges_before: int, changes_before: int
    ) -> tuple[Examined, InFlight]:
        """Hold one PSP's charges against the books.

        So many charges, and changes of charges, it had made before the snapshot.
        """
        check, asked = "charges_are_booked", (psp, charges_before, changes_before)
        await self._rows(_SQL["analyze_charges"])
        row = (await self._rows(_around("counted_charges", check), *asked))[0]
        first = None
        if row["violations"]:
            rows = await self._rows(_around("first_found", check), *asked)
            first = _plain_row(rows[0])
        examined = Examined(checked=row["checked"], violations=row["violations"], first=first)
        return examined, InFlight(row["of_open_orders"], row["of_newer_orders"])

    async def tell(self, part: str, *arguments: object) -> Sequence[Mapping[str, Plain]]:
        """Return the rows of one part of a story (verify_story.sql)."""
        return [_plain_row(row) for row in await self._rows(_STORY[part], *arguments)]

    async def close(self) -> None:
        """Let the moment go."""
        await self._session.close()

    async def _rows(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        return await self._alone(lambda session: session.fetch(sql, *arguments))

    async def _alone(self, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        """Do work so that its failure does not take the snapshot with it."""
        session = self._session
        with _as_unreadable():
            await session.execute("SAVEPOINT alone")
            try:
                result = await session.finish(work(session))
            except (asyncpg.PostgresError, InvariantViolation):
                await session.execute("ROLLBACK TO alone")
                raise
            await session.execute("RELEASE alone")
            return result


@asynccontextmanager
async def _begun(connector: Connector) -> AsyncIterator[Session]:
    """A session with its temporary tables, in a transaction without a snapshot yet. It stays open unless this fails."""
    session = await connector.open(_SETTINGS)
    try:
        if not await session.finish(is_server_marked(session)):
            raise Unreadable("no owner has marked this server's start yet")
        await session.execute("SET default_transaction_read_only = off")
        await session.execute(_SQL["prepare"])
        await session.execute(_SQL["begin"])
        yield session
    except BaseException:
        session.abort()
        raise


def _around(wrapper: str, check: str) -> str:
    return _SQL[wrapper].replace("{check}", _CHECKS[check])


def _plain_row(row: asyncpg.Record) -> Mapping[str, Plain]:
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: object) -> Plain:
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)


@contextmanager
def _as_unreadable() -> Iterator[None]:
    """Whatever keeps us from reading says the same: nothing is known."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise Unreadable(f"Postgres: {error.sqlstate or ''} {error}") from error
    except StorageUnavailable as unavailable:
        raise Unreadable(str(unavailable)) from unavailable
    except (
        StatementUnanswered,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OSError,
    ) as fault:
        raise Unreadable(f"Postgres: {type(fault).__name__}: {fault}") from fault
