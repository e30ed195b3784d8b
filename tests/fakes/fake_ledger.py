"""Lanes, ledger and ownership in memory: the contract of the real ones, with faults on request.

Several hosts share one ``FakeBooks``; each has a ``FakeLedger`` and a ``FakeOwnership`` of its own::

    books = FakeBooks.empty(partition_count=16, now=clock.now)
    ledger = FakeLedger(books, lane_count=1)
    ownership = FakeOwnership(books, ledger)
    ledger.faults.append(AppendFault.UNKNOWN_PENDING)  # the next append meets it
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto
from uuid import UUID

from payments.accounts import AccountKey
from payments.defects import InvariantViolation
from payments.evidence import Evidence
from payments.psp_events import EventFound
from payments.rows import TimerKind
from payments.state import AccountHead, PartitionState
from runtime.faults import StorageUnavailable
from storage.ports import (
    CommitUnknown,
    DueTimer,
    Flush,
    FlushReceipt,
    KnownOrders,
    LaneReplaced,
    LeaseView,
    OperatedPayments,
    OperationKey,
    PartitionFenced,
    PartitionView,
)
from storage.queue_ports import LetterAction
from tests.fakes.fake_books import FakeBooks, OrderKey
from tests.fakes.fake_operations import operated_payments_in, standings_of_open


class AppendFault(Enum):
    """What can happen to one append. After each of these the lane has lost its connection."""

    UNAVAILABLE = auto()
    """Lost before COMMIT was sent: not written."""
    UNKNOWN_WRITTEN = auto()
    """Lost during COMMIT: written."""
    UNKNOWN_LOST = auto()
    """Lost during COMMIT: not written."""
    UNKNOWN_PENDING = auto()
    """COMMIT waits for a standby: written, and visible, only once a claim has waited for it."""


class FakeLane:
    """Implements ``storage.ports.Lane``. ``probe`` is called where the real lane calls its own."""

    def __init__(
        self, books: FakeBooks, faults: deque[AppendFault], probe: Callable[[str], None]
    ) -> None:
        self._books = books
        self._faults = faults
        self._probe = probe
        self._turn = asyncio.Lock()
        self._connection = object()
        self._pledged: dict[int, object] = {}

    @property
    def backend(self) -> object:
        """The connection of now."""
        return self._connection

    def replace(self) -> None:
        """Lose the connection, as a server's restart does."""
        self._connection = object()

    def pledge(self, partition_index: int, backend: object) -> None:
        self._pledged[partition_index] = backend

    def withdraw(self, partition_index: int) -> None:
        self._pledged.pop(partition_index, None)

    async def append(self, flush: Flush) -> FlushReceipt:
        """See ``storage.ports.Lane``."""
        indexes = frozenset(head.partition_index for head in flush.heads)
        if len(indexes) != len(flush.heads) or not indexes:
            raise InvariantViolation("a flush needs one head for each of its partitions")
        async with self._turn:
            stale = frozenset(i for i in indexes if self._pledged.get(i) is not self._connection)
            if stale:
                raise LaneReplaced(stale)
            try:
                # Other tasks run while the rows travel, as they do with a real server.
                await asyncio.sleep(0)
                return self._write(flush, indexes)
            except asyncio.CancelledError:
                self.replace()
                raise

    def _write(self, flush: Flush, indexes: frozenset[int]) -> FlushReceipt:
        fault = self._faults.popleft() if self._faults else None
        self._probe("flush_begun")
        if fenced_out := self._books.fenced_out(flush):
            raise PartitionFenced(fenced_out)
        if fault is not None:
            self.replace()
        if fault is AppendFault.UNAVAILABLE:
            raise StorageUnavailable("postgres", "connection lost")
        if fault is AppendFault.UNKNOWN_LOST:
            raise CommitUnknown(indexes, "connection lost")
        if fault is AppendFault.UNKNOWN_PENDING:
            self._books.in_doubt.append((indexes, flush))
            raise CommitUnknown(indexes, "no answer")
        self._probe("flush_before_commit")
        recorded_at = self._books.write(flush)
        self._probe("flush_committed")
        if fault is AppendFault.UNKNOWN_WRITTEN:
            raise CommitUnknown(indexes, "connection lost")
        return FlushReceipt(recorded_at=recorded_at)


class FakeLedger:
    """Implements ``storage.ports.OwnerLedger``. ``faults`` are met by appends in turn."""

    def __init__(
        self,
        books: FakeBooks,
        *,
        lane_count: int,
        probe: Callable[[str], None] = lambda _point: None,
    ) -> None:
        self._books = books
        self.faults: deque[AppendFault] = deque()
        self._lanes = [FakeLane(books, self.faults, probe) for _ in range(lane_count)]
        self.is_available = True
        """False: every look-up raises StorageUnavailable."""

    @property
    def lanes(self) -> Sequence[FakeLane]:
        return self._lanes

    async def known_orders(self, keys: Sequence[tuple[int, UUID]]) -> KnownOrders:
        """See ``storage.ports.OwnerLedger``."""
        await self._reach()
        return self.known_in(self._books, keys)

    async def operated_payments(
        self, operations: Sequence[OperationKey], payments: Sequence[tuple[int, int]]
    ) -> OperatedPayments:
        """See ``storage.ports.OwnerLedger``."""
        await self._reach()
        return operated_payments_in(self._books, operations, payments)

    async def pending_actions(
        self, partition_indexes: Sequence[int], *, count_max: int
    ) -> Sequence[LetterAction]:
        """See ``storage.ports.OwnerLedger``."""
        await self._reach()
        return self._books.letters.pending(partition_indexes)[:count_max]

    async def pending_evidence(
        self, partition_indexes: Sequence[int], *, count_max: int
    ) -> Sequence[Evidence]:
        """See ``storage.ports.OwnerLedger``."""
        await self._reach()
        return self._books.evidence.pending(partition_indexes)[:count_max]

    async def due_psp_events(
        self, partition_indexes: Sequence[int], *, count_max: int, wait_s_max: float
    ) -> Sequence[EventFound]:
        """See ``storage.ports.OwnerLedger``."""
        await self._reach()
        return self.due_events_in(self._books, partition_indexes, count_max, wait_s_max)

    async def note_paused(self, partition_indexes: Sequence[int], paused: Sequence[int]) -> None:
        """See ``storage.ports.OwnerLedger``."""
        await self._reach()
        self.note_paused_in(self._books, partition_indexes, paused)

    async def letter_overrides(self) -> frozenset[int]:
        """See ``storage.ports.OwnerLedger``."""
        await self._reach()
        return frozenset(self._books.letters.overrides)

    async def account_heads(
        self, keys: Sequence[tuple[int, AccountKey]]
    ) -> Mapping[tuple[int, AccountKey], AccountHead]:
        """See ``storage.ports.OwnerLedger``."""
        await self._reach()
        return self.heads_in(self._books, keys)

    async def due_timers(
        self, partition_indexes: Sequence[int], *, count_max: int
    ) -> Sequence[DueTimer]:
        """See ``storage.ports.OwnerLedger``."""
        await self._reach()
        return self.due_in(self._books, partition_indexes, count_max)

    @staticmethod
    def known_in(books: FakeBooks, keys: Sequence[tuple[int, UUID]]) -> KnownOrders:
        """The statement behind ``known_orders``."""
        found = {
            order_uuid: books.order_keys[order_uuid]
            for partition_index, order_uuid in keys
            if books.order_keys.get(order_uuid, (None,))[0] == partition_index
        }
        return KnownOrders(
            {order_uuid: books.orders[key].fingerprint for order_uuid, key in found.items()},
            books.letters.set_aside_of(keys, books.order_keys.keys() | books.operation_keys.keys()),
        )

    @staticmethod
    def note_paused_in(
        books: FakeBooks, partition_indexes: Sequence[int], paused: Sequence[int]
    ) -> None:
        """The statement behind ``note_paused``."""
        books.letters.paused -= set(partition_indexes)
        books.letters.paused |= set(paused)

    @staticmethod
    def due_events_in(
        books: FakeBooks, partition_indexes: Sequence[int], count_max: int, wait_s_max: float
    ) -> Sequence[EventFound]:
        """The statement behind ``due_psp_events``."""
        return books.psp_events.due(
            partition_indexes,
            books.now(),
            count_max=count_max,
            wait_s_max=wait_s_max,
            order_keys={**books.operation_keys, **books.order_keys},
            attempts=books.attempts,
            outcomes=books.outcomes,
        )

    @staticmethod
    def heads_in(
        books: FakeBooks, keys: Sequence[tuple[int, AccountKey]]
    ) -> Mapping[tuple[int, AccountKey], AccountHead]:
        """The statement behind ``account_heads``."""
        heads = ((key, books.account_head(*key)) for key in keys)
        return {key: head for key, head in heads if head is not None}

    @staticmethod
    def due_in(
        books: FakeBooks, partition_indexes: Sequence[int], count_max: int
    ) -> Sequence[DueTimer]:
        """The statement behind ``due_timers``."""
        now = books.now()
        due = sorted(
            (timer.due_at, key, timer.kind)
            for key, timer in books.timers.items()
            if key[0] in partition_indexes
            and timer.due_at <= now
            and timer.kind != TimerKind.RESUME
        )
        return [
            DueTimer(partition_index=key[0], order_no=key[1], kind=kind)
            for _, key, kind in due[:count_max]
        ]

    async def close(self) -> None:
        """Nothing to end."""

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if not self.is_available:
            raise StorageUnavailable("postgres", "made unavailable by the test")


class FakeOwnership:
    """Implements ``storage.ports.Ownership``. ``claim_faults`` are raised by claims in turn."""

    def __init__(self, books: FakeBooks, ledger: FakeLedger) -> None:
        self._books = books
        self._ledger = ledger
        self.claim_faults: deque[StorageUnavailable | CommitUnknown] = deque()
        self.is_available = True
        """False: every call raises StorageUnavailable."""

    async def register(
        self,
        *,
        incarnation: UUID,
        host_name: str,
        node: str,
        pid: int,
        metrics_address: str | None = None,
    ) -> None:
        """See ``storage.ports.Ownership``. Node and address are not kept: nobody reads them through the port."""
        await self._reach()
        lease = LeaseView(
            incarnation=incarnation, host_name=host_name, pid=pid, counter=0, is_released=False
        )
        self._books.leases.setdefault(incarnation, lease)

    async def beat(self, incarnation: UUID) -> bool:
        """See ``storage.ports.Ownership``."""
        await self._reach()
        return self.beat_in(self._books, incarnation)

    async def leases(self) -> Sequence[LeaseView]:
        await self._reach()
        return list(self._books.leases.values())

    async def partitions(self) -> Sequence[PartitionView]:
        await self._reach()
        return self.partitions_in(self._books)

    async def claim(
        self,
        *,
        partition_index: int,
        epoch_seen: int,
        incarnation: UUID,
        lane_index: int,
        has_waiting: bool = False,
    ) -> PartitionState | None:
        """See ``storage.ports.Ownership``."""
        await self._reach()
        if self.claim_faults:
            raise self.claim_faults.popleft()
        lane = self._ledger.lanes[lane_index]
        self._books.decide_in_doubt(partition_index)
        held = self._books.partitions[partition_index]
        if held.head.epoch != epoch_seen:
            return None
        self._books.take_over(partition_index, incarnation, lane.backend, has_waiting=has_waiting)
        for other in self._ledger.lanes:
            other.withdraw(partition_index)
        lane.pledge(partition_index, lane.backend)
        return PartitionState(
            head=held.head,
            open_orders=self._books.open_order_records(partition_index),
            standings=standings_of_open(self._books, partition_index),
            recorded_at=self._books.now(),
            stall_count=held.stall_count,
        )

    async def note_progress(self, partition_index: int, epoch: int) -> None:
        """See ``storage.ports.Ownership``."""
        await self._reach()
        self.note_progress_in(self._books, partition_index, epoch)

    async def park(
        self, partition_index: int, epoch: int, order_no: int, *, reason: str, detail: str
    ) -> None:
        """See ``storage.ports.Ownership``."""
        await self._reach()
        self.park_in(self._books, (partition_index, order_no), epoch, (reason, detail))

    async def hand_over(self, *, partition_indexes: Sequence[int], incarnation: UUID) -> None:
        """See ``storage.ports.Ownership``."""
        await self._reach()
        for index in partition_indexes:
            for lane in self._ledger.lanes:
                lane.withdraw(index)
            held = self._books.partitions[index]
            if held.owner == incarnation:
                held.owner = held.backend = None

    async def release_lease(self, incarnation: UUID) -> None:
        """See ``storage.ports.Ownership``."""
        await self._reach()
        self.release_in(self._books, incarnation)

    @staticmethod
    def note_progress_in(books: FakeBooks, partition_index: int, epoch: int) -> None:
        """The statement behind ``note_progress``."""
        held = books.partitions[partition_index]
        if held.head.epoch == epoch:
            held.stall_count = 0

    @staticmethod
    def park_in(books: FakeBooks, key: OrderKey, epoch: int, why: tuple[str, str]) -> None:
        """The statement behind ``park``."""
        if books.partitions[key[0]].head.epoch == epoch:
            books.parked[key] = why
            books.timers.pop(key, None)

    @staticmethod
    def beat_in(books: FakeBooks, incarnation: UUID) -> bool:
        """The statement behind ``beat``."""
        lease = books.leases.get(incarnation)
        if lease is None or lease.is_released:
            return False
        books.leases[incarnation] = replace(lease, counter=lease.counter + 1)
        return True

    @staticmethod
    def partitions_in(books: FakeBooks) -> Sequence[PartitionView]:
        """The statement behind ``partitions``."""
        return [
            PartitionView(partition_index=index, epoch=held.head.epoch, owner=held.owner)
            for index, held in sorted(books.partitions.items())
        ]

    @staticmethod
    def release_in(books: FakeBooks, incarnation: UUID) -> None:
        """The statement behind ``release_lease``."""
        if (lease := books.leases.get(incarnation)) is not None:
            books.leases[incarnation] = replace(lease, is_released=True)

    async def close(self) -> None:
        """Nothing to end."""

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if not self.is_available:
            raise StorageUnavailable("postgres", "made unavailable by the test")
