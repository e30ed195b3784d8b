"""The ledger's ports on SimPostgres: lanes, look-ups, claims and the gateways' reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence, Set
from typing import Any, TypeVar, overload
from uuid import UUID

from payments.accounts import AccountKey
from payments.answer import splits_text
from payments.defects import InvariantViolation
from payments.evidence import Evidence
from payments.psp_events import EventFound
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
from storage.read_ports import StoredOperation, StoredOrder
from storage.stored_orders import stored_order as order_of_row
from tests.fakes.fake_books import FakeBooks
from tests.fakes.fake_ledger import FakeLedger, FakeOwnership
from tests.fakes.fake_operations import (
    operated_payments_in,
    present_columns,
    standings_of_open,
    stored_operations,
)
from tests.simulation.net import Net, Wire, WireBroken
from tests.simulation.records import SELLER_ID, seller_id_of
from tests.simulation.sim_postgres import PgSession, SimPostgres

T = TypeVar("T")

# The real client's patience with a statement.
STATEMENT_TIMEOUT_S = 5.0


async def connect(postgres: SimPostgres, net: Net) -> PgSession:
    """Open a session and have its marker committed. Raises StorageUnavailable."""
    session = PgSession(Wire(net, postgres.cell, "postgres"))
    session.wire.on_closed = lambda: postgres.end(session)
    try:
        await session.wire.call(postgres.run_marker, timeout_s=STATEMENT_TIMEOUT_S)
    except WireBroken as broken:
        session.wire.abort(broken.reason)
        raise StorageUnavailable("postgres", broken.reason) from None
    return session


class SimReader:
    """One connection for statements that follow each other."""

    def __init__(self, postgres: SimPostgres, net: Net) -> None:
        self._postgres = postgres
        self._net = net
        self._turn = asyncio.Lock()
        self._session: PgSession | None = None

    async def fetch(self, read: Callable[[FakeBooks], T]) -> T:
        """Run one statement on the primary. Raises StorageUnavailable."""
        async with self._turn:
            if self._session is None or not self._session.wire.is_open:
                self._session = None
                self._session = await connect(self._postgres, self._net)
            return await run(self._session, lambda: read(self._postgres.books))


@overload
async def run(session: PgSession, handler: Callable[[], Coroutine[Any, Any, T]]) -> T: ...


@overload
async def run(session: PgSession, handler: Callable[[], T]) -> T: ...


async def run(session: PgSession, handler: Callable[[], Any]) -> Any:
    """Run a statement whose loss costs nothing. Raises StorageUnavailable."""
    try:
        return await session.wire.call(handler, timeout_s=STATEMENT_TIMEOUT_S)
    except WireBroken as broken:
        session.wire.abort(broken.reason)
        raise StorageUnavailable("postgres", broken.reason) from None


class SimLane:
    """``storage.ports.Lane`` on SimPostgres."""

    def __init__(self, postgres: SimPostgres, net: Net) -> None:
        self._postgres = postgres
        self._net = net
        self._turn = asyncio.Lock()
        self._session: PgSession | None = None
        self._pledged: dict[int, PgSession] = {}

    @property
    def backend(self) -> PgSession | None:
        session = self._session
        return session if session is not None and session.wire.is_open else None

    async def ready(self) -> PgSession:
        """Return the connection's backend, connecting if need be. Raises StorageUnavailable."""
        if (backend := self.backend) is not None:
            return backend
        async with self._turn:
            return await self._open()

    def replace(self) -> None:
        """Lose the connection."""
        if self._session is not None:
            self._session.wire.abort("replaced")

    def pledge(self, partition_index: int, backend: PgSession) -> None:
        self._pledged[partition_index] = backend

    def withdraw(self, partition_index: int) -> None:
        self._pledged.pop(partition_index, None)

    async def append(self, flush: Flush) -> FlushReceipt:
        """See ``storage.ports.Lane``."""
        indexes = frozenset(head.partition_index for head in flush.heads)
        if len(indexes) != len(flush.heads) or not indexes:
            raise InvariantViolation("a flush needs one head for each of its partitions")
        async with self._turn:
            session = await self._open()
            stale = frozenset(i for i in indexes if self._pledged.get(i) is not session)
            if stale:
                raise LaneReplaced(stale)
            await self._write(session, flush, indexes)
            try:
                recorded_at = await session.wire.call(
                    lambda: self._postgres.run_commit(session), timeout_s=STATEMENT_TIMEOUT_S
                )
            except WireBroken as broken:
                session.wire.abort(broken.reason)
                raise CommitUnknown(indexes, broken.reason) from None
        return FlushReceipt(recorded_at=recorded_at)

    async def _write(self, session: PgSession, flush: Flush, indexes: frozenset[int]) -> None:
        try:
            fenced_out = await session.wire.call(
                lambda: self._postgres.run_write(session, flush), timeout_s=STATEMENT_TIMEOUT_S
            )
        except WireBroken as broken:
            session.wire.abort(broken.reason)
            if broken.reason.startswith("no answer"):
                raise CommitUnknown(indexes, broken.reason) from None
            raise StorageUnavailable("postgres", broken.reason) from None
        except InvariantViolation:
            await self._roll_back(session)
            raise
        if fenced_out:
            await self._roll_back(session)
            raise PartitionFenced(fenced_out)

    async def _roll_back(self, session: PgSession) -> None:
        try:
            await session.wire.call(lambda: self._postgres.run_rollback(session))
        except WireBroken as broken:
            session.wire.abort(broken.reason)

    async def _open(self) -> PgSession:
        if self._session is None or not self._session.wire.is_open:
            self._session = None
            self._session = await connect(self._postgres, self._net)
        return self._session


class SimLedger:
    """``storage.ports.OwnerLedger`` on SimPostgres. The statements are the fake's."""

    def __init__(self, postgres: SimPostgres, net: Net, *, lane_count: int) -> None:
        self.postgres = postgres
        self.net = net
        self._lanes = [SimLane(postgres, net) for _ in range(lane_count)]
        self._reader = SimReader(postgres, net)

    @property
    def lanes(self) -> Sequence[SimLane]:
        return self._lanes

    async def known_orders(self, keys: Sequence[tuple[int, UUID]]) -> KnownOrders:
        """See ``storage.ports.OwnerLedger``."""
        asked = tuple(keys)
        return await self._reader.fetch(lambda books: FakeLedger.known_in(books, asked))

    async def operated_payments(
        self, operations: Sequence[OperationKey], payments: Sequence[tuple[int, int]]
    ) -> OperatedPayments:
        """See ``storage.ports.OwnerLedger``."""
        asked, named = tuple(operations), tuple(payments)
        return await self._reader.fetch(lambda books: operated_payments_in(books, asked, named))

    async def pending_actions(
        self, partition_indexes: Sequence[int], *, count_max: int
    ) -> Sequence[LetterAction]:
        """See ``storage.ports.OwnerLedger``."""
        asked = tuple(partition_indexes)
        return await self._reader.fetch(lambda books: books.letters.pending(asked)[:count_max])

    async def pending_evidence(
        self, partition_indexes: Sequence[int], *, count_max: int
    ) -> Sequence[Evidence]:
        """See ``storage.ports.OwnerLedger``."""
        asked = tuple(partition_indexes)
        return await self._reader.fetch(lambda books: books.evidence.pending(asked)[:count_max])

    async def due_psp_events(
        self, partition_indexes: Sequence[int], *, count_max: int, wait_s_max: float
    ) -> Sequence[EventFound]:
        """See ``storage.ports.OwnerLedger``."""
        asked = tuple(partition_indexes)
        return await self._reader.fetch(
            lambda books: FakeLedger.due_events_in(books, asked, count_max, wait_s_max)
        )

    async def note_paused(self, partition_indexes: Sequence[int], paused: Sequence[int]) -> None:
        """See ``storage.ports.OwnerLedger``."""
        asked, resting = tuple(partition_indexes), tuple(paused)
        await self._reader.fetch(lambda books: FakeLedger.note_paused_in(books, asked, resting))

    async def letter_overrides(self) -> frozenset[int]:
        """See ``storage.ports.OwnerLedger``."""
        return await self._reader.fetch(lambda books: frozenset(books.letters.overrides))

    async def account_heads(
        self, keys: Sequence[tuple[int, AccountKey]]
    ) -> Mapping[tuple[int, AccountKey], AccountHead]:
        """See ``storage.ports.OwnerLedger``."""
        asked = tuple(keys)
        return await self._reader.fetch(lambda books: FakeLedger.heads_in(books, asked))

    async def due_timers(
        self, partition_indexes: Sequence[int], *, count_max: int
    ) -> Sequence[DueTimer]:
        """See ``storage.ports.OwnerLedger``."""
        asked = tuple(partition_indexes)
        return await self._reader.fetch(lambda books: FakeLedger.due_in(books, asked, count_max))

    async def close(self) -> None:
        """Nothing to end."""


class SimOwnership:
    """``storage.ports.Ownership`` on SimPostgres."""

    def __init__(self, ledger: SimLedger) -> None:
        self._ledger = ledger
        self._postgres = ledger.postgres
        self._reader = SimReader(ledger.postgres, ledger.net)
        self._idle: list[PgSession] = []

    async def register(
        self,
        *,
        incarnation: UUID,
        host_name: str,
        node: str,
        pid: int,
        metrics_address: str | None = None,
    ) -> None:
        """See ``storage.ports.Ownership``."""
        lease = LeaseView(
            incarnation=incarnation, host_name=host_name, pid=pid, counter=0, is_released=False
        )
        await self._reader.fetch(lambda books: books.leases.setdefault(incarnation, lease))

    async def beat(self, incarnation: UUID) -> bool:
        """See ``storage.ports.Ownership``."""
        return await self._reader.fetch(lambda books: FakeOwnership.beat_in(books, incarnation))

    async def leases(self) -> Sequence[LeaseView]:
        return await self._reader.fetch(lambda books: list(books.leases.values()))

    async def partitions(self) -> Sequence[PartitionView]:
        return await self._reader.fetch(FakeOwnership.partitions_in)

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
        postgres, lane = self._postgres, self._ledger.lanes[lane_index]
        backend = await lane.ready()
        session = await self._lend()
        epoch = await run(session, lambda: postgres.books.partitions[partition_index].head.epoch)
        if epoch != epoch_seen:
            self._idle.append(session)
            return None
        spared: list[object] = [other.backend for other in self._ledger.lanes]
        await run(session, lambda: postgres.run_terminate(partition_index, spared))
        try:
            head = await session.wire.call(
                lambda: postgres.run_claim(
                    session, partition_index, epoch_seen, incarnation, backend, has_waiting
                ),
                timeout_s=STATEMENT_TIMEOUT_S,
            )
        except WireBroken as broken:
            session.wire.abort(broken.reason)
            raise CommitUnknown(frozenset({partition_index}), broken.reason) from None
        if head is None:
            self._idle.append(session)
            return None
        for other in self._ledger.lanes:
            other.withdraw(partition_index)
        records, standings, now, stall_count = await run(
            session,
            lambda: (
                postgres.books.open_order_records(partition_index),
                standings_of_open(postgres.books, partition_index),
                postgres.books.now(),
                postgres.books.partitions[partition_index].stall_count,
            ),
        )
        self._idle.append(session)
        lane.pledge(partition_index, backend)
        return PartitionState(
            head=head,
            open_orders=records,
            standings=standings,
            recorded_at=now,
            stall_count=stall_count,
        )

    async def note_progress(self, partition_index: int, epoch: int) -> None:
        """See ``storage.ports.Ownership``."""
        await self._update(
            partition_index,
            lambda books: FakeOwnership.note_progress_in(books, partition_index, epoch),
        )

    async def park(
        self, partition_index: int, epoch: int, order_no: int, *, reason: str, detail: str
    ) -> None:
        """See ``storage.ports.Ownership``."""
        key, why = (partition_index, order_no), (reason, detail)
        await self._update(
            partition_index, lambda books: FakeOwnership.park_in(books, key, epoch, why)
        )

    async def hand_over(self, *, partition_indexes: Sequence[int], incarnation: UUID) -> None:
        """See ``storage.ports.Ownership``."""
        indexes = list(partition_indexes)
        for index in indexes:
            for lane in self._ledger.lanes:
                lane.withdraw(index)
        session = await self._lend()
        await run(session, lambda: self._postgres.run_hand_over(session, indexes, incarnation))
        self._idle.append(session)

    async def release_lease(self, incarnation: UUID) -> None:
        """See ``storage.ports.Ownership``."""
        await self._reader.fetch(lambda books: FakeOwnership.release_in(books, incarnation))

    async def close(self) -> None:
        """Nothing to end."""

    async def _update(self, partition_index: int, apply: Callable[[FakeBooks], None]) -> None:
        session = await self._lend()
        await run(session, lambda: self._postgres.run_update(session, partition_index, apply))
        self._idle.append(session)

    async def _lend(self) -> PgSession:
        while self._idle:
            session = self._idle.pop()
            if session.wire.is_open:
                return session
        return await connect(self._postgres, self._ledger.net)


class SimQueries:
    """The part of ``storage.read_ports.PaymentQueries`` that accepting asks, from the primary alone."""

    def __init__(self, postgres: SimPostgres, net: Net) -> None:
        self._readers = [SimReader(postgres, net) for _ in range(2)]
        self._turn = 0

    async def known_orders(self, keys: Sequence[tuple[int, UUID]]) -> Set[UUID]:
        """See ``storage.read_ports.PaymentQueries``."""
        return (await self.orders(keys)).keys()

    async def orders(self, keys: Sequence[tuple[int, UUID]]) -> Mapping[UUID, StoredOrder]:
        """See ``storage.read_ports.PaymentQueries``."""
        asked = tuple(keys)
        self._turn = (self._turn + 1) % len(self._readers)
        return await self._readers[self._turn].fetch(lambda books: stored_orders(books, asked))

    async def operations(self, keys: Sequence[tuple[int, UUID]]) -> Mapping[UUID, StoredOperation]:
        """See ``storage.read_ports.PaymentQueries``."""
        asked = tuple(keys)
        self._turn = (self._turn + 1) % len(self._readers)
        return await self._readers[self._turn].fetch(lambda books: stored_operations(books, asked))


def stored_orders(books: FakeBooks, keys: Sequence[tuple[int, UUID]]) -> dict[UUID, StoredOrder]:
    """Return those orders that the books hold, as the real query's rows show them."""
    found: dict[UUID, StoredOrder] = {}
    for partition_index, order_uuid in keys:
        key = books.order_keys.get(order_uuid)
        if key is not None and key[0] == partition_index:
            found[order_uuid] = stored_order(books, key)
    return found


def _shown_splits(books: FakeBooks, key: tuple[int, int]) -> str | None:
    splits = books.splits_of(key)
    shown = splits_text(splits, [seller_id_of(split.seller_no) for split in splits])
    return shown if splits else None


def stored_order(books: FakeBooks, key: tuple[int, int]) -> StoredOrder:
    """Return one order by the real adapter's own rendering of a row."""
    order, progress = books.orders[key], books.open_orders.get(key)
    outcome, recorded_at = books.outcomes.get(key, (None, None))
    metadata = None if order.metadata_json is None else json.loads(order.metadata_json)
    row: dict[str, object] = {
        **order._asdict(),
        "metadata": None if metadata is None else json.dumps(metadata),
        "is_set_aside": False,
        "splits": _shown_splits(books, key),
        "seller_id": SELLER_ID,
        "ended_status": None if outcome is None else outcome.status,
        "recorded_at": recorded_at,
        **present_columns(books, key),
    }
    if progress is not None:
        attempt, _ = books.attempts[*key, progress.attempt_no]
        row |= {
            **progress._asdict(),
            "attempt_psp": attempt.psp,
            "open_status": progress.status,
            "open_attempt_no": progress.attempt_no,
            "open_psp_reference": progress.psp_reference,
        }
    if outcome is not None:
        row |= {
            **outcome._asdict(),
            "ended_fee_minor": outcome.fee_minor,
            "ended_attempt_no": outcome.attempt_no,
            "ended_psp": outcome.psp,
            "ended_psp_reference": outcome.psp_reference,
        }
    return order_of_row(row)  # type: ignore[arg-type]
