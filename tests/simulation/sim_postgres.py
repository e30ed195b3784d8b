"""Postgres simulated: a primary whose commits wait for a standby, as processes with row locks and a log.

A transaction locks the rows of its partitions. Its COMMIT is durable here after the flush of the log,
visible once the standby has it, and goes through even if its client is gone. After a restart in place
what was only here is visible at once: so whoever reads needs a marker on the standby first. After a
promotion it is as if it had never been.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from payments.defects import InvariantViolation
from payments.state import PartitionHead
from runtime.clock import Clock
from storage.ports import Flush
from tests.fakes.fake_books import FakeBooks
from tests.simulation.loop import Cell
from tests.simulation.net import Net, Wire, WireBroken
from tests.simulation.ports import Time

# One write and fsync of the log; every commit pays it here and at the standby.
WAL_S = 0.0005
# How long a new standby needs for its first whole copy.
RESYNC_S = 2.0


@dataclass(slots=True, eq=False)
class PgSession:
    """One connection as the server knows it: its backend."""

    wire: Wire
    locks: list[int] = field(default_factory=list)
    flush: Flush | None = None
    began_at: datetime | None = None
    is_committing: bool = False
    is_ended: bool = False


@dataclass(slots=True, eq=False)
class _Entry:
    """One commit in the log."""

    lsn: int
    apply: Callable[[FakeBooks], None]


def _nothing(_books: FakeBooks) -> None:
    """What a marker changes for whoever reads."""


class SimPostgres:
    """The books, the primary that serves them and its standby. Handlers run in the primary's process."""

    def __init__(
        self, time: Time, net: Net, clock: Clock, seed: object, *, partition_count: int
    ) -> None:
        self._time = time
        self._net = net
        self.clock = clock
        self._random = random.Random(f"{seed}:postgres")
        self.books = FakeBooks.empty(partition_count, clock.now)
        self.lsn = 0
        self._standby_lsn = 0
        self._standby_arrives_s = 0.0
        self.is_standby_frozen = False
        self.is_standby_whole = True
        self._log: list[_Entry] = []
        """Durable here, not yet confirmed by the standby, and so not visible."""
        self._snapshot: FakeBooks | None = None
        """After a restart: the books without ``_early``, until the standby has all of it."""
        self._early: list[_Entry] = []
        """Visible here since a restart, although the standby may lack it."""
        self.undone_count = 0
        """Of these, what a promotion undid; markers, which show nothing, left out."""
        self.do_takeovers_terminate = True
        self.incarnation = 0
        self.fences: list[tuple[float, int, int, UUID | None]] = []
        """Every commit that named a partition: time, partition, epoch, and for claims the new owner."""
        self._fence_count = 0
        """Those of ``_snapshot``: a promotion undoes the others, which nobody was told of, with the books."""
        self._start()

    def _start(self) -> None:
        self.incarnation += 1
        self.cell: Cell = self._time.cell(f"postgres-{self.incarnation}")
        self._locks: dict[int, PgSession] = {}
        self._lock_waiters: dict[int, deque[asyncio.Future[None]]] = {}
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    # --- the log and the standby ------------------------------------------------------------------------

    async def _commit(self, apply: Callable[[FakeBooks], None]) -> None:
        """Make a change durable here, then there, then visible."""
        await asyncio.sleep(WAL_S * (0.5 + self._random.random()))
        self.lsn += 1
        lsn = self.lsn
        self._log.append(_Entry(lsn, apply))
        self._ship()
        await self._confirmed(lsn)

    async def _confirmed(self, lsn: int) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiters.append((lsn, future))
        await future

    def _ship(self) -> None:
        arrives_s = self._net.arrival_s("postgres-standby", self._time.time())
        self._standby_arrives_s = max(self._standby_arrives_s, arrives_s) + WAL_S
        self._time.world.call_at(
            self._standby_arrives_s, self._standby_gets, self.lsn, self.incarnation
        )

    def _standby_gets(self, lsn: int, incarnation: int) -> None:
        if incarnation != self.incarnation or self.is_standby_frozen or not self.is_standby_whole:
            return
        self._standby_lsn = max(self._standby_lsn, lsn)
        self.cell.call_at(
            self._net.arrival_s("postgres-standby", self._time.time()), self._acked, lsn
        )

    def _acked(self, lsn: int) -> None:
        while self._log and self._log[0].lsn <= lsn:
            self._log.pop(0).apply(self.books)
        if self._early and self._early[-1].lsn <= lsn:
            self._early, self._snapshot = [], None
        for waiter in list(self._waiters):
            if waiter[0] <= lsn:
                self._waiters.remove(waiter)
                if not waiter[1].done():
                    waiter[1].set_result(None)

    @property
    def is_all_confirmed(self) -> bool:
        """Whether the standby has everything that the books show."""
        return self._snapshot is None

    # --- sessions and locks -----------------------------------------------------------------------------

    async def run_marker(self) -> None:
        """What a new session begins with: what it will read is on the standby."""
        await self._commit(_nothing)

    def end(self, session: PgSession) -> None:
        """The backend notices that its client is gone. A COMMIT under way goes on."""
        session.is_ended = True
        if not session.is_committing:
            self._release(session)

    def _check(self, session: PgSession) -> None:
        if session.is_ended:
            raise WireBroken("the backend was terminated")

    async def _lock(
        self, session: PgSession, partition_index: int, *, heeds_client: bool = True
    ) -> None:
        """Wait for a row. A statement that commits by itself runs on when its client is gone."""
        while (holder := self._locks.get(partition_index)) is not None and holder is not session:
            future = asyncio.get_running_loop().create_future()
            self._lock_waiters.setdefault(partition_index, deque()).append(future)
            await future
        if heeds_client:
            self._check(session)
        if partition_index not in session.locks:
            self._locks[partition_index] = session
            session.locks.append(partition_index)

    def _release(self, session: PgSession) -> None:
        session.flush = None
        locks, session.locks = session.locks, []
        for partition_index in locks:
            if self._locks.get(partition_index) is not session:
                continue  # of a server that is gone
            del self._locks[partition_index]
            for future in self._lock_waiters.pop(partition_index, ()):
                if not future.done():
                    future.set_result(None)

    # --- a flush ----------------------------------------------------------------------------------------

    async def run_write(self, session: PgSession, flush: Flush) -> frozenset[int]:
        """BEGIN and the statement. Returns the partitions that the fence refused."""
        self._check(session)
        session.began_at = self.books.now()
        for partition_index in sorted(head.partition_index for head in flush.heads):
            await self._lock(session, partition_index)
        fenced_out = self.books.fenced_out(flush)
        if not fenced_out:
            self.books.check(flush)
            session.flush = flush
        return fenced_out

    def run_rollback(self, session: PgSession) -> None:
        self._check(session)
        self._release(session)

    async def run_commit(self, session: PgSession) -> datetime:
        """COMMIT: from here on it happens, whoever still listens."""
        self._check(session)
        flush, at = session.flush, session.began_at
        if flush is None or at is None:
            raise InvariantViolation("COMMIT without a transaction")
        session.is_committing = True
        now_s = self._time.time()
        claims = [(now_s, row.partition_index, row.epoch, None) for row in flush.heads]

        def apply(books: FakeBooks) -> None:
            books.write(flush, at=at)
            self.fences.extend(claims)
            self._time.effect(
                f"postgres commits {[tuple(row[:3]) for row in flush.heads]}"
                f" orders {len(flush.orders)} outcomes {len(flush.outcomes)}"
            )

        await self._commit(apply)
        session.is_committing = False
        self._release(session)
        return at

    # --- claims -----------------------------------------------------------------------------------------

    def run_terminate(self, partition_index: int, spared: list[object]) -> None:
        """End the backend that the last claim recorded, unless it waits for the standby."""
        if not self.do_takeovers_terminate:
            return
        backend = self.books.partitions[partition_index].backend
        if not isinstance(backend, PgSession) or any(backend is kept for kept in spared):
            return
        if not backend.is_committing and not backend.is_ended:
            self.end(backend)
            backend.wire.close_by_server("terminated by a takeover")

    async def run_claim(
        self,
        session: PgSession,
        partition_index: int,
        epoch_seen: int,
        incarnation: UUID,
        backend: object,
        has_waiting: bool,
    ) -> PartitionHead | None:
        """The statement that takes a partition over: waits for whoever holds the row."""
        self._check(session)
        await self._lock(session, partition_index, heeds_client=False)
        if self.books.partitions[partition_index].head.epoch != epoch_seen:
            self._release(session)
            return None
        session.is_committing = True
        now_s = self._time.time()

        def apply(books: FakeBooks) -> None:
            books.take_over(partition_index, incarnation, backend, has_waiting=has_waiting)
            self.fences.append((now_s, partition_index, epoch_seen + 1, incarnation))
            self._time.effect(f"postgres claims {partition_index} at {epoch_seen + 1}")

        await self._commit(apply)
        session.is_committing = False
        self._release(session)
        return self.books.partitions[partition_index].head

    async def run_update(
        self, session: PgSession, partition_index: int, apply: Callable[[FakeBooks], None]
    ) -> None:
        """A statement that changes something of one partition, and commits by itself."""
        self._check(session)
        await self._lock(session, partition_index, heeds_client=False)
        session.is_committing = True
        await self._commit(apply)
        session.is_committing = False
        self._release(session)

    async def run_hand_over(
        self, session: PgSession, partition_indexes: list[int], incarnation: UUID
    ) -> None:
        """The statement that gives partitions up, as far as they are this host's."""
        self._check(session)
        for partition_index in sorted(partition_indexes):
            await self._lock(session, partition_index, heeds_client=False)
        session.is_committing = True

        def apply(books: FakeBooks) -> None:
            for partition_index in partition_indexes:
                held = books.partitions[partition_index]
                if held.owner == incarnation:
                    held.owner = held.backend = None

        await self._commit(apply)
        session.is_committing = False
        self._release(session)

    # --- faults -----------------------------------------------------------------------------------------

    def freeze_standby(self) -> None:
        self.is_standby_frozen = True

    def thaw_standby(self) -> None:
        self.is_standby_frozen = False
        if not self.cell.is_dead:
            self._ship()

    def crash(self) -> None:
        """Kill the primary: transactions and locks are gone, the log stays."""
        self.cell.kill()

    def restart(self) -> None:
        """Start in place: what is in the log is visible from now on, also what the standby lacks."""
        if not self.cell.is_dead:
            return
        self._apply_log(lambda entry: entry.lsn <= self._standby_lsn)
        if self._log:
            if self._snapshot is None:
                self._snapshot = self.books.copy()
                self._fence_count = len(self.fences)
            self._early += self._log
            self._apply_log(lambda _entry: True)
        self._start()
        self._time.effect(f"postgres restarts at {self.lsn}")
        if self.is_standby_whole:
            self._ship()
        else:
            self.cell.call_at(self._time.time() + RESYNC_S, self._resync)

    def promote(self) -> None:
        """Make the standby the primary, with what it has: all that was ever confirmed, perhaps no more."""
        self.crash()
        if not self.is_standby_whole:
            self.restart()
            return
        self.is_standby_frozen = False
        if self._snapshot is not None:
            self.books, early = self._snapshot, self._early
            lost = [entry for entry in early if entry.lsn > self._standby_lsn]
            self.undone_count += sum(entry.apply is not _nothing for entry in lost)
            del self.fences[self._fence_count :]
            self._log = early + self._log
            self._snapshot, self._early = None, []
        self._apply_log(lambda entry: entry.lsn <= self._standby_lsn)
        lost_count = len(self._log)
        self._log.clear()
        self.lsn = self._standby_lsn
        self._start()
        self.is_standby_whole = False
        self.cell.call_at(self._time.time() + RESYNC_S, self._resync)
        self._time.effect(f"postgres promotes its standby; {lost_count} commits are lost")

    def _apply_log(self, is_wanted: Callable[[_Entry], bool]) -> None:
        while self._log and is_wanted(self._log[0]):
            self._log.pop(0).apply(self.books)

    def _resync(self) -> None:
        self.is_standby_whole = True
        self._ship()
