"""One shard under the ledger's contract suite: in memory, and on real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID, uuid4

import asyncpg

from payments.state import PartitionState
from storage.connections import Connector
from storage.evidence import PostgresEvidence
from storage.ledger import PostgresLedger
from storage.ownership import PostgresOwnership
from storage.ports import OwnerLedger, Ownership
from storage.queries import PostgresQueries
from storage.read_pool import ReadPool
from storage.unparking import PostgresUnparking, Unparking
from tests.books import ACCEPTED_AT, PARTITION_COUNT, Writer
from tests.contract.books_data import RoleConnector
from tests.fakes.fake_books import FakeBooks
from tests.fakes.fake_ledger import FakeLedger, FakeOwnership
from tests.fakes.fake_unparking import FakeUnparking
from tests.manual_clock import ManualClock
from tests.simulation.net import Net, Weather
from tests.simulation.ports import RealTime
from tests.simulation.sim_ledger import SimLedger, SimOwnership
from tests.simulation.sim_postgres import SimPostgres

LANE_COUNT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host's view of the shard."""

    ledger: OwnerLedger
    ownership: Ownership
    incarnation: UUID

    async def claim(self, partition_index: int, *, lane_index: int = 0) -> PartitionState:
        """Claim at the epoch that stands now."""
        views = {view.partition_index: view for view in await self.ownership.partitions()}
        state = await self.ownership.claim(
            partition_index=partition_index,
            epoch_seen=views[partition_index].epoch,
            incarnation=self.incarnation,
            lane_index=lane_index,
        )
        assert state is not None
        return state

    async def writer(self, partition_index: int, *, lane_index: int = 0) -> Writer:
        """Claim an empty partition and return its writer."""
        return Writer((await self.claim(partition_index, lane_index=lane_index)).head)


class Shard(Protocol):
    """What the suite needs besides the ports."""

    def host(self) -> Host: ...

    async def count(self, table: str) -> int: ...

    async def pass_time(self, milliseconds: int) -> None: ...

    async def take_away(self, partition_index: int) -> None:
        """Raise the epoch as a takeover does, but end no connection."""
        ...

    def drop_connection(self, host: Host, lane_index: int) -> None: ...

    def unparking(self) -> Unparking: ...

    async def want_unparked(self, order_uuid: UUID) -> None:
        """Say as an operator that a parked order shall go on."""
        ...

    async def close(self) -> None: ...


class FakeShard:
    """The fake, with a clock of its own."""

    def __init__(self) -> None:
        self._now = ACCEPTED_AT
        self.books = FakeBooks.empty(PARTITION_COUNT, now=lambda: self._now)
        self._unparking = FakeUnparking(self.books)

    def host(self) -> Host:
        ledger = FakeLedger(self.books, lane_count=LANE_COUNT)
        ownership = FakeOwnership(self.books, ledger)
        return Host(ledger=ledger, ownership=ownership, incarnation=uuid4())

    async def count(self, table: str) -> int:
        tables: dict[str, Sequence[object]] = {
            "payment_order": list(self.books.orders),
            "payment_split": list(self.books.splits),
            "transfer": list(self.books.transfers),
            "order_outcome": list(self.books.outcomes),
            "open_order": list(self.books.open_orders),
            "timer": list(self.books.timers),
            "event": list(self.books.events),
            "refused_request": list(self.books.refused),
            "dead_letter": list(self.books.letters.rows),
            "set_aside_order": list(self.books.letters.set_aside),
            "dead_letter_result": list(self.books.letters.results),
            "evidence_result": list(self.books.evidence.results),
            "dispute": list(self.books.disputes),
            "psp_event": list(self.books.psp_events.rows),
            "psp_event_pending": list(self.books.psp_events.waiting),
            "psp_event_result": list(self.books.psp_events.results),
            "checkout": list(self.books.checkouts),
            "checkout_order": [row for _, rows in self.books.checkouts.values() for row in rows],
        }
        return len(tables[table])

    async def pass_time(self, milliseconds: int) -> None:
        self._now += timedelta(milliseconds=milliseconds)

    async def take_away(self, partition_index: int) -> None:
        held = self.books.partitions[partition_index]
        held.head = held.head._replace(epoch=held.head.epoch + 1)

    def drop_connection(self, host: Host, lane_index: int) -> None:
        assert isinstance(host.ledger, FakeLedger)
        host.ledger.lanes[lane_index].replace()

    def unparking(self) -> Unparking:
        return self._unparking

    async def want_unparked(self, order_uuid: UUID) -> None:
        books = self.books
        key = books.order_keys.get(order_uuid) or books.operation_keys[order_uuid]
        self._unparking.wishes.add(key)

    async def close(self) -> None:
        """Nothing to end."""


class SimulatedShard(FakeShard):
    """The stores of the simulation, on an ordinary loop."""

    def __init__(self) -> None:
        super().__init__()
        self._net = Net("contract", Weather())
        self._clock = ManualClock()
        self._postgres = SimPostgres(
            RealTime(), self._net, self._clock, "contract", partition_count=PARTITION_COUNT
        )
        self.books = self._postgres.books
        self._unparking = FakeUnparking(self.books)

    def host(self) -> Host:
        ledger = SimLedger(self._postgres, self._net, lane_count=LANE_COUNT)
        return Host(ledger=ledger, ownership=SimOwnership(ledger), incarnation=uuid4())

    async def pass_time(self, milliseconds: int) -> None:
        self._clock.advance(milliseconds / 1000)

    def drop_connection(self, host: Host, lane_index: int) -> None:
        assert isinstance(host.ledger, SimLedger)
        host.ledger.lanes[lane_index].replace()


class PostgresShard:
    """A database of its own; hosts connect as the owner's role, counts are taken by ``admin_dsn``."""

    def __init__(self, owner_dsn: str, admin_dsn: str) -> None:
        self._owner_dsn = owner_dsn
        self._admin = Connector(admin_dsn, application_name="tests")
        self._hosts: list[tuple[PostgresLedger, PostgresOwnership]] = []
        self._pools = {
            "gateway": ReadPool(RoleConnector(admin_dsn, "tally_gateway"), session_count_max=1),
            "owner": ReadPool(Connector(owner_dsn, application_name="tests"), session_count_max=1),
        }

    def host(self) -> Host:
        connector = Connector(self._owner_dsn, application_name=f"host-{len(self._hosts)}")
        ledger = PostgresLedger(connector, lane_count=LANE_COUNT)
        ownership = PostgresOwnership(connector, ledger)
        self._hosts.append((ledger, ownership))
        return Host(ledger=ledger, ownership=ownership, incarnation=uuid4())

    async def count(self, table: str) -> int:
        rows = await self.ask(f"SELECT count(*) FROM {table}")
        return int(rows[0][0])

    async def take_away(self, partition_index: int) -> None:
        await self.ask(
            f"UPDATE partition SET epoch = epoch + 1 WHERE partition_index = {partition_index}"
        )

    async def ask(self, sql: str) -> list[asyncpg.Record]:
        """Run one statement as the superuser."""
        session = await self._admin.open()
        try:
            return await session.fetch(sql)
        finally:
            await session.close()

    async def pass_time(self, milliseconds: int) -> None:
        await asyncio.sleep(milliseconds / 1000)

    def drop_connection(self, host: Host, lane_index: int) -> None:
        assert isinstance(host.ledger, PostgresLedger)
        session = host.ledger.lanes[lane_index]._session
        assert session is not None
        session.abort()

    def unparking(self) -> Unparking:
        return PostgresUnparking(self._pools["owner"])

    def queries(self) -> PostgresQueries:
        """What gateways read by."""
        return PostgresQueries(self._pools["gateway"])

    def evidence(self) -> PostgresEvidence:
        """What the command line has to give evidence by."""
        return PostgresEvidence(self._pools["gateway"])

    async def want_unparked(self, order_uuid: UUID) -> None:
        parked_orders = PostgresUnparking(self._pools["gateway"])
        (parked,) = await parked_orders.parked(order_uuid)
        assert (parked.order_uuid, parked.reason) == (order_uuid, "kills_host")
        await parked_orders.want(parked, actor="tests", reason="mended")
        (audited,) = await self.ask(
            "SELECT actor, subject, detail->>'reason' FROM audit WHERE action = 'order.unpark'"
        )
        assert tuple(audited) == ("tests", str(order_uuid), "mended")

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.close()
        for ledger, ownership in self._hosts:
            await ownership.close()
            await ledger.close()
