"""Leases, claims and takeovers in one shard: leases decide who tries, epochs decide who may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg

from payments.standing import PaymentStanding
from payments.state import OpenOrderRecord, PartitionHead, PartitionState
from runtime.faults import StorageUnavailable
from storage.connections import INDEX_LOOPS, Connector
from storage.ledger import PostgresLedger, Reader
from storage.open_orders import Meets, Row, fetch_open_operations, fetch_open_orders, meets_nothing
from storage.ports import STALLS_BEFORE_CARE, CommitUnknown, LeaseView, PartitionView
from storage.sessions import Backend, Session, StatementUnanswered, postgres_faults
from storage.sql_files import load_statements

# Claims run side by side, so that one held up by a transaction in doubt does not hold up the rest;
# more than a few only wait for the same disk.
CLAIM_SESSIONS_MAX = 4

# A terminated backend is gone within milliseconds, unless its process is frozen; then the claim
# goes on and waits for what that backend has locked, if anything.
BACKENDS_GONE_WAIT_S = 1.0
BACKENDS_GONE_POLL_S = 0.01

# Leases say who seems alive. A lost beat costs nothing, so beats don't wait for a standby.
LEASE_SETTINGS = {"synchronous_commit": "local"}

_SQL = load_statements("ownership.sql")


Tried = Callable[[PartitionHead, Sequence[Row]], Coroutine[Any, Any, Sequence[bool]]]
"""Returns for each row of a partition whether a process survives to rebuild it."""


class PostgresOwnership:
    """Implements ``storage.ports.Ownership``; claims are tied to the lanes of ``ledger``."""

    def __init__(
        self,
        connector: Connector,
        ledger: PostgresLedger,
        *,
        tried: Tried | None = None,
        meets: Meets = meets_nothing,
    ) -> None:
        """``tried`` rebuilds rows of suspicious partitions elsewhere first (actors/careful.py)."""
        self._connector = connector
        self._ledger = ledger
        self._tried = tried
        self._meets = meets
        self._lease_reader = Reader(connector, LEASE_SETTINGS)
        self._claim_turns = asyncio.Semaphore(CLAIM_SESSIONS_MAX)
        self._idle: list[Session] = []

    async def register(
        self,
        *,
        incarnation: UUID,
        host_name: str,
        node: str,
        pid: int,
        metrics_address: str | None = None,
    ) -> None:
        """Write a lease, and forget those that nobody needs any more. Raises StorageUnavailable."""
        await self._lease_reader.fetch(_SQL["forget_old_leases"])
        await self._lease_reader.fetch(
            _SQL["register_lease"], incarnation, host_name, node, pid, metrics_address
        )

    async def beat(self, incarnation: UUID) -> bool:
        """See ``storage.ports.Ownership``. Raises StorageUnavailable."""
        return bool(await self._lease_reader.fetch(_SQL["beat_lease"], incarnation))

    async def leases(self) -> Sequence[LeaseView]:
        """Return all leases, oldest first; released ones for an hour. Raises StorageUnavailable."""
        rows = await self._lease_reader.fetch(_SQL["leases"])
        return [
            LeaseView(
                incarnation=row["incarnation"],
                host_name=row["host_name"],
                pid=row["pid"],
                counter=row["counter"],
                is_released=row["is_released"],
            )
            for row in rows
        ]

    async def partitions(self) -> Sequence[PartitionView]:
        """Return who owns which partition, by index. Raises StorageUnavailable."""
        rows = await self._lease_reader.fetch(_SQL["partitions"])
        return [
            PartitionView(
                partition_index=row["partition_index"], epoch=row["epoch"], owner=row["owner"]
            )
            for row in rows
        ]

    async def release_lease(self, incarnation: UUID) -> None:
        """See ``storage.ports.Ownership``. Raises StorageUnavailable."""
        await self._lease_reader.fetch(_SQL["release_lease"], incarnation)

    async def claim(
        self,
        *,
        partition_index: int,
        epoch_seen: int,
        incarnation: UUID,
        lane_index: int,
        has_waiting: bool = False,
    ) -> PartitionState | None:
        """See ``storage.ports.Ownership``. Raises StorageUnavailable and CommitUnknown."""
        lane = self._ledger.lanes[lane_index]
        backend = await lane.ready()
        async with self._claim_session() as session:
            claimed = await session.finish(
                self._take_over(
                    session, partition_index, epoch_seen, incarnation, backend, has_waiting
                )
            )
            if claimed is None:
                return None
            for other in self._ledger.lanes:
                other.withdraw(partition_index)
            with postgres_faults():
                open_orders, standings = await session.finish(
                    self._open_orders(session, partition_index, claimed)
                )
            lane.pledge(partition_index, backend)
            return PartitionState(
                head=_head(partition_index, claimed),
                open_orders=open_orders,
                standings=standings,
                recorded_at=claimed["recorded_at"],
                stall_count=claimed["stall_count"],
            )

    async def note_progress(self, partition_index: int, epoch: int) -> None:
        """See ``storage.ports.Ownership``. Raises StorageUnavailable."""
        await self._lease_reader.fetch(_SQL["note_progress"], partition_index, epoch)

    async def park(
        self, partition_index: int, epoch: int, order_no: int, *, reason: str, detail: str
    ) -> None:
        """See ``storage.ports.Ownership``. Raises StorageUnavailable."""
        async with self._claim_session() as session:
            with postgres_faults():
                await session.finish(
                    session.fetch(_SQL["park"], partition_index, epoch, [order_no], reason, detail)
                )

    async def _open_orders(
        self, session: Session, partition_index: int, claimed: asyncpg.Record
    ) -> tuple[list[OpenOrderRecord], list[PaymentStanding]]:
        """Rebuild what is open; of a suspicious partition only the orders that a child survives."""
        tried = self._tried if claimed["stall_count"] >= STALLS_BEFORE_CARE else None
        records, deadly = await fetch_open_orders(
            session,
            partition_index,
            meets=self._meets,
            tried=None if tried is None else partial(tried, _head(partition_index, claimed)),
        )
        if deadly:
            await session.fetch(
                _SQL["park"],
                *(partition_index, claimed["epoch"], deadly),
                *("kills_host", "a child process ended over its row, or gave no answer in time"),
            )
        operations, standings = await fetch_open_operations(session, partition_index)
        return [*records, *operations], standings

    async def hand_over(self, *, partition_indexes: Sequence[int], incarnation: UUID) -> None:
        """See ``storage.ports.Ownership``. After StorageUnavailable they may still be owned."""
        for partition_index in partition_indexes:
            for lane in self._ledger.lanes:
                lane.withdraw(partition_index)
        async with self._claim_session() as session:
            with postgres_faults():
                await session.finish(
                    session.fetch(_SQL["hand_over"], list(partition_indexes), incarnation)
                )

    async def close(self) -> None:
        """End all connections. The ledger's are its own."""
        await self._lease_reader.close()
        for session in self._idle:
            await session.close()
        self._idle.clear()

    @asynccontextmanager
    async def _claim_session(self) -> AsyncIterator[Session]:
        """Lend a session for one claim; it is kept for the next one unless anything went wrong."""
        async with self._claim_turns:
            session = self._idle.pop() if self._idle else None
            if session is None or not session.is_open:
                session = await self._connector.open_marked(INDEX_LOOPS)
            try:
                yield session
            except BaseException:
                session.abort()
                raise
            self._idle.append(session)

    async def _take_over(
        self,
        session: Session,
        partition_index: int,
        epoch_seen: int,
        incarnation: UUID,
        backend: Backend,
        has_waiting: bool,
    ) -> asyncpg.Record | None:
        with postgres_faults():
            seen = await session.fetchrow(_SQL["partition_seen"], partition_index)
            if seen is None:
                raise StorageUnavailable(
                    "postgres", f"no partition {partition_index} in this shard"
                )
            if seen["epoch"] != epoch_seen:
                return None
            await self._end_backends(session, seen["backend_pids"], seen["backend_starts"])
        return await _bump_epoch(
            session, partition_index, epoch_seen, incarnation, backend, has_waiting
        )

    async def _end_backends(
        self, session: Session, pids: Sequence[int], starts: Sequence[datetime]
    ) -> None:
        """Terminate the recorded backends, but not our own open lanes, and wait a moment for it.

        An owner frozen in the middle of a COPY holds a transaction, and no time-out ends it.
        """
        own = {lane.backend for lane in self._ledger.lanes}
        recorded = {
            Backend(pid=pid, started_at=start) for pid, start in zip(pids, starts, strict=True)
        } - own
        if not recorded:
            return
        names = [item.pid for item in recorded], [item.started_at for item in recorded]
        await session.fetch(_SQL["terminate_backends"], *names)
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + BACKENDS_GONE_WAIT_S
        while loop.time() < give_up_at:
            row = await session.fetchrow(_SQL["backends_left"], *names)
            if row is None or row[0] == 0:
                return
            await asyncio.sleep(BACKENDS_GONE_POLL_S)


def _head(partition_index: int, claimed: asyncpg.Record) -> PartitionHead:
    return PartitionHead(
        partition_index=partition_index,
        epoch=claimed["epoch"],
        batch_seq=claimed["batch_seq"],
        order_no_last=claimed["order_no_last"],
        account_no_last=claimed["account_no_last"],
        chain_hash=claimed["chain_hash"],
    )


async def _bump_epoch(
    session: Session,
    partition_index: int,
    epoch_seen: int,
    incarnation: UUID,
    backend: Backend,
    has_waiting: bool,
) -> asyncpg.Record | None:
    """Raise the epoch and record the lane's backend; decided, standby included, when it returns."""
    session.take_warnings()
    in_doubt = frozenset({partition_index})
    try:
        row = await session.fetchrow(
            _SQL["claim"],
            *(partition_index, epoch_seen, incarnation),
            *(backend.pid, backend.started_at, has_waiting),
        )
    except (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError) as fault:
        raise CommitUnknown(in_doubt, f"{type(fault).__name__}: {fault}") from fault
    except asyncpg.PostgresError:
        # An error in answer to the only statement of a transaction: surely undone.
        with postgres_faults():
            raise
    except (asyncpg.InterfaceError, StatementUnanswered, OSError) as fault:
        raise CommitUnknown(in_doubt, f"{type(fault).__name__}: {fault}") from fault
    if warnings := session.take_warnings():
        raise CommitUnknown(in_doubt, warnings[0])
    return row
