"""A lane: one connection on which an owner's flushes follow each other, whole or not at all.

Shape of a flush: BEGIN; COPY into the connection's staging tables (no row locks); the fence, the
first statement that locks anything; staged rows into the books; COMMIT. An owner frozen before the
fence holds up nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

import asyncpg

from payments.defects import InvariantViolation
from payments.rows import HeadRow, ProgressRow, TimerRow
from runtime.clock import SystemClock
from runtime.faults import StorageUnavailable
from storage.connections import INDEX_LOOPS, Connector
from storage.flush_laps import COMMIT, FENCE, STAGE, WRITE, FlushLaps
from storage.ports import CommitUnknown, Flush, FlushReceipt, LaneReplaced, PartitionFenced
from storage.sessions import Backend, Session, StatementUnanswered, postgres_faults
from storage.sql_files import load_statements

# Metadata of more characters, and envelopes of more bytes, may not fit in a page of 8 KiB beside the
# rest of their row (a character takes up to 4 bytes): they take the slower way over the wide tables.
NARROW_LENGTH_MAX = 1_500

_SQL = load_statements("flush.sql")

StagedTable = tuple[str, Sequence[tuple[object, ...]]]

OpenRow = TypeVar("OpenRow", ProgressRow, TimerRow)


def no_probe(_point: str) -> None:
    """The probe of production: does nothing."""


class PostgresLane:
    """Writes flushes on a connection of its own; opens it at the first use and after it broke.

    A partition may be appended to only while the connection that its claim recorded is the present
    one (``pledge``). So whoever takes the partition over knows every backend that may still write.

    ``probe`` is called inside a flush at ``flush_copying`` (the first COPY has sent one row of
    several), ``flush_copied``, ``flush_before_commit`` and ``flush_committed``; tests freeze or end
    the process there.
    """

    def __init__(self, connector: Connector, *, probe: Callable[[str], None] = no_probe) -> None:
        self._connector = connector
        self._probe = probe
        self._session: Session | None = None
        self._wide_session: Session | None = None
        """The session that has the wide staging tables, if any has."""
        self._turn = asyncio.Lock()
        self._laps = FlushLaps(SystemClock())
        self._pledged: dict[int, Backend] = {}

    @property
    def backend(self) -> Backend | None:
        """The server process behind the open connection, or None while there is none."""
        session = self._session
        return session.backend if session is not None and session.is_open else None

    async def ready(self) -> Backend:
        """Return the connection's backend, connecting if need be. Raises StorageUnavailable."""
        # Not behind a flush in flight: if its connection breaks, the claim is made again anyway.
        if (backend := self.backend) is not None:
            return backend
        async with self._turn:
            return (await self._open()).backend

    def pledge(self, partition_index: int, backend: Backend) -> None:
        """Note that a claim recorded ``backend`` as the one that may write for this partition."""
        self._pledged[partition_index] = backend

    def withdraw(self, partition_index: int) -> None:
        """Forget the partition: it was handed over, or belongs to another lane now."""
        self._pledged.pop(partition_index, None)

    async def append(self, flush: Flush) -> FlushReceipt:
        """Write one flush. See ``storage.ports.Lane``."""
        partition_indexes = frozenset(head.partition_index for head in flush.heads)
        if len(partition_indexes) != len(flush.heads) or not flush.heads:
            raise InvariantViolation("a flush needs one head for each of its partitions")
        async with self._turn:
            session = await self._open()
            stale = frozenset(
                index for index in partition_indexes if self._pledged.get(index) != session.backend
            )
            if stale:
                raise LaneReplaced(stale)
            return await session.finish(self._write(session, flush, partition_indexes))

    async def close(self) -> None:
        """End the connection, after the flush in flight."""
        async with self._turn:
            if self._session is not None:
                await self._session.close()
                self._session = None

    async def _open(self) -> Session:
        if self._session is not None and self._session.is_open:
            return self._session
        self._session = None
        session = await self._connector.open_marked(INDEX_LOOPS)
        try:
            with postgres_faults():
                await session.finish(session.execute(_SQL["create_staging"]))
        except BaseException:
            session.abort()
            raise
        self._session = session
        return session

    async def _write(
        self, session: Session, flush: Flush, partition_indexes: frozenset[int]
    ) -> FlushReceipt:
        self._laps.start()
        try:
            with postgres_faults():
                recorded_at = await self._until_commit(session, flush, partition_indexes)
        except (InvariantViolation, PartitionFenced, StorageUnavailable) as reason:
            await _roll_back(session)
            if isinstance(reason.__cause__, StatementUnanswered):
                raise CommitUnknown(partition_indexes, str(reason)) from reason
            raise
        except BaseException:
            session.abort()
            raise
        self._laps.lap(WRITE)
        self._probe("flush_before_commit")
        await _commit(session, partition_indexes)
        self._laps.lap(COMMIT)
        self._probe("flush_committed")
        return FlushReceipt(recorded_at=recorded_at, laps_s=self._laps.take())

    async def _until_commit(
        self, session: Session, flush: Flush, partition_indexes: frozenset[int]
    ) -> datetime:
        ended = {(row.partition_index, row.order_no) for row in flush.outcomes}
        progress = _last_of_open(flush.progress, ended)
        timers = _last_of_open(flush.timers, ended)
        narrow, wide = _staged_tables(flush, progress, timers)
        if wide and self._wide_session is not session:
            await session.execute(_SQL["create_wide_staging"])
            self._wide_session = session
        await session.execute("BEGIN")
        await self._stage(session, narrow + wide)
        self._laps.lap(STAGE)
        self._probe("flush_copied")
        await _pass_fence(session, flush.heads, partition_indexes)
        self._laps.lap(FENCE)
        recorded_at = await _insert_rows(session, flush.heads)
        if wide:
            await session.fetch(_SQL["insert_wide_rows"])
        if progress or timers or flush.outcomes or flush.slices:
            await _update_rows(session, flush, progress)
        return recorded_at

    async def _stage(self, session: Session, tables: Sequence[StagedTable]) -> None:
        for position, (table, rows) in enumerate(tables):
            await session.copy(table, self._probed(rows) if position == 0 else rows)

    def _probed(self, rows: Iterable[tuple[object, ...]]) -> Iterator[tuple[object, ...]]:
        iterator = iter(rows)
        yield next(iterator)
        self._probe("flush_copying")
        yield from iterator


def _staged_tables(
    flush: Flush, progress: Sequence[ProgressRow], timers: Sequence[TimerRow]
) -> tuple[list[StagedTable], list[StagedTable]]:
    """Return what is copied where: the narrow tables that get rows, and the wide ones."""
    orders = [row for row in flush.orders if len(row.metadata_json or "") <= NARROW_LENGTH_MAX]
    personal = [row for row in flush.personal if len(row.envelope) <= NARROW_LENGTH_MAX]
    narrow: list[StagedTable] = [
        ("staging_order", orders),
        ("staging_personal", personal),
        ("staging_attempt", flush.attempts),
        ("staging_event", flush.events),
        ("staging_outcome", flush.outcomes),
        ("staging_transfer", flush.transfers),
        ("staging_account", flush.accounts),
        ("staging_slice", flush.slices),
        ("staging_progress", progress),
        ("staging_timer", timers),
        ("staging_refused", flush.refused),
    ]
    wide: list[StagedTable] = [("staging_dead_letter", flush.dead_letters)]
    if len(orders) < len(flush.orders):
        large = [row for row in flush.orders if len(row.metadata_json or "") > NARROW_LENGTH_MAX]
        wide.append(("staging_wide_order", large))
    if len(personal) < len(flush.personal):
        kept = [row for row in flush.personal if len(row.envelope) > NARROW_LENGTH_MAX]
        wide.append(("staging_wide_personal", kept))
    return [table for table in narrow if table[1]], [table for table in wide if table[1]]


def _last_of_open(rows: Sequence[OpenRow], ended: set[tuple[int, int]]) -> list[OpenRow]:
    """Keep the last row of each order, and none of orders that end in the same flush."""
    last = {(row.partition_index, row.order_no): row for row in rows}
    return [row for key, row in last.items() if key not in ended]


async def _pass_fence(
    session: Session, heads: Sequence[HeadRow], partition_indexes: frozenset[int]
) -> None:
    passed = await session.fetch(
        _SQL["fence"],
        [head.partition_index for head in heads],
        [head.epoch for head in heads],
        [head.batch_seq_before for head in heads],
        [head.order_no_last for head in heads],
        [head.account_no_last for head in heads],
        [head.chain_hash for head in heads],
    )
    if len(passed) != len(heads):
        raise PartitionFenced(partition_indexes - {row["partition_index"] for row in passed})


async def _insert_rows(session: Session, heads: Sequence[HeadRow]) -> datetime:
    """Carry staged additions into the books, with the line of ``ledger_batch`` if there is one."""
    with_books = [head for head in heads if head.outcome_count or head.transfer_count]
    row = await session.fetchrow(
        _SQL["insert_rows"],
        [head.partition_index for head in with_books],
        [head.epoch for head in with_books],
        [head.batch_seq_before + 1 for head in with_books],
        [head.outcome_count for head in with_books],
        [head.transfer_count for head in with_books],
        [head.chain_hash for head in with_books],
    )
    if row is None:
        raise InvariantViolation("a SELECT without FROM returned no row")
    recorded_at: datetime = row["recorded_at"]
    return recorded_at


async def _update_rows(session: Session, flush: Flush, progress: Sequence[ProgressRow]) -> None:
    row = await session.fetchrow(_SQL["update_rows"])
    expected = (len(progress), len(flush.slices), len(flush.outcomes))
    found = None if row is None else tuple(row)
    if found != expected:
        raise InvariantViolation(
            f"(progress, slices, outcomes) {found} met the books as they are, of {expected}:"
            " an order is not open, or a slice is at another version"
        )


async def _commit(session: Session, partition_indexes: frozenset[int]) -> None:
    """COMMIT, and be sure of it; any other end closes the connection and raises CommitUnknown."""
    session.take_warnings()
    try:
        tag = await session.execute("COMMIT")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as fault:
        session.abort()
        raise CommitUnknown(partition_indexes, f"{type(fault).__name__}: {fault}") from fault
    except (StatementUnanswered, OSError) as fault:
        session.abort()
        raise CommitUnknown(partition_indexes, str(fault)) from fault
    except BaseException:
        session.abort()
        raise
    warnings = session.take_warnings()
    if warnings:
        # The wait for the standby was cut short: committed here, perhaps on no other server.
        session.abort()
        raise CommitUnknown(partition_indexes, warnings[0])
    if tag != "COMMIT":
        session.abort()
        raise InvariantViolation(f"COMMIT of a flush was answered {tag}")


async def _roll_back(session: Session) -> None:
    """Leave no transaction behind: neither here nor, through the closed socket, on the server."""
    if not session.is_open:
        return
    try:
        await session.execute("ROLLBACK")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, StatementUnanswered, OSError):
        session.abort()
