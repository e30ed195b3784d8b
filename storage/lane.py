"""A lane: one connection on which an owner's flushes follow each other, whole or not at all.

Shape of a flush: BEGIN; one statement that brings all rows, passes the fence, and writes; COMMIT. The
server has every row before it takes a lock, so an owner frozen while it sends holds up nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

import asyncpg

from payments.defects import InvariantViolation
from payments.rows import ProgressRow, SliceDeltaRow, TimerRow
from runtime.clock import SystemClock
from runtime.faults import StorageUnavailable
from storage.connections import INDEX_LOOPS, Connector
from storage.flush_laps import BEGIN, COMMIT, WRITE, FlushLaps
from storage.flush_packing import FlushPacking, FlushRows, packing_for
from storage.ports import (
    PSP_EVENTS_WAITING_MAX,
    CommitUnknown,
    Flush,
    FlushReceipt,
    LaneReplaced,
    PartitionFenced,
)
from storage.sessions import Backend, Session, StatementUnanswered, postgres_faults
from storage.sql_files import load_statements

_SQL = load_statements("flush.sql")

OpenRow = TypeVar("OpenRow", ProgressRow, TimerRow)


def no_probe(_point: str) -> None:
    """The probe of production: does nothing."""


class PostgresLane:
    """Writes flushes on a connection of its own; opens it at the first use and after it broke.

    A partition may be appended to only while the connection that its claim recorded is the present
    one (``pledge``). So whoever takes the partition over knows every backend that may still write.

    ``probe`` is called inside a flush at ``flush_begun`` (nothing is sent but BEGIN),
    ``flush_before_commit`` and ``flush_committed``; tests freeze or end the process there.
    """

    def __init__(self, connector: Connector, *, probe: Callable[[str], None] = no_probe) -> None:
        self._connector = connector
        self._probe = probe
        self._session: Session | None = None
        self._packing: FlushPacking
        """For the database of the session; there since a session was first opened."""
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
            self._packing = await session.finish(packing_for(session))
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
        posted, new_slices = _parted_slices(flush)
        await session.execute("BEGIN")
        self._laps.lap(BEGIN)
        self._probe("flush_begun")
        rows = FlushRows(
            heads=flush.heads,
            orders=flush.orders,
            personal=flush.personal,
            attempts=flush.attempts,
            progress=progress,
            timers=_last_of_open(flush.timers, ended),
            outcomes=flush.outcomes,
            transfers=flush.transfers,
            accounts=flush.accounts,
            posted=posted,
            new_slices=new_slices,
            events=flush.events,
            refused=flush.refused,
        )
        row = await session.send_rows(
            _SQL["write_flush"],
            [head.partition_index for head in flush.heads],
            self._packing.pack(rows),
        )
        if fenced_out := partition_indexes.difference(row["passed"]):
            raise PartitionFenced(fenced_out)
        found = (row["progressed_count"], row["sliced_count"], row["closed_count"])
        # What was refused at its intake was never open.
        never_open = sum(not operation.is_open for operation in flush.operations)
        expected = (len(progress), len(posted), len(flush.outcomes) - never_open)
        if found != expected:
            raise InvariantViolation(
                f"(progress, slices, outcomes) {found} met the books as they are, of {expected}:"
                " an order is not open, or a slice is at another version"
            )
        if flush.splits:
            await session.send_rows(_SQL["write_splits"], flush.splits)
        if flush.operations or flush.standings:
            await session.send_rows(_SQL["write_operations"], flush.operations, flush.standings)
        if flush.disputes:
            await session.send_rows(_SQL["write_disputes"], flush.disputes)
        if flush.dead_letters or flush.letter_results:
            await session.send_rows(_SQL["write_letters"], flush.dead_letters, flush.letter_results)
        if flush.evidence_results:
            await session.send_rows(_SQL["write_evidence_results"], flush.evidence_results)
        if flush.psp_events or flush.psp_event_results:
            await session.send_rows(
                _SQL["write_psp_events"],
                *(flush.psp_events, flush.psp_event_results, PSP_EVENTS_WAITING_MAX),
            )
        if flush.checkouts:
            await session.send_rows(_SQL["write_checkouts"], flush.checkouts, flush.checkout_orders)
        recorded_at: datetime = row["recorded_at"]
        return recorded_at


def _parted_slices(flush: Flush) -> tuple[Sequence[SliceDeltaRow], Sequence[SliceDeltaRow]]:
    """Return what is posted to slices that exist, and the first slices of new accounts."""
    if not flush.accounts:
        return flush.slices, ()
    new = {(row.partition_index, row.account_no) for row in flush.accounts}
    first = {
        (index, account_no): SliceDeltaRow(index, account_no, 0, 0, 0, 0)
        for index, account_no in new
    }
    posted: list[SliceDeltaRow] = []
    for row in flush.slices:
        key = (row.partition_index, row.account_no)
        if key not in new:
            posted.append(row)
        elif row.version_before == 0:
            first[key] = row
        else:
            raise InvariantViolation(f"the new account {key} starts at {row.version_before}")
    return posted, list(first.values())


def _last_of_open(rows: Sequence[OpenRow], ended: set[tuple[int, int]]) -> Sequence[OpenRow]:
    """Keep the last row of each order, and none of orders that end in the same flush."""
    if not rows:
        return rows
    last = {(row.partition_index, row.order_no): row for row in rows}
    return [row for key, row in last.items() if key not in ended]


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
