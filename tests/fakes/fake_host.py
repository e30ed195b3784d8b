"""A partition host on fakes: real owner code, real domain, no network and no process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from actors.breakers import BreakerSettings
from actors.host import PartitionHost
from actors.host_ports import HostPorts
from actors.planning import OrderedPlanner
from actors.psp_lines import PspLimits
from actors.settings import HostSettings
from payments.fingerprint import fingerprint
from payments.partitioning import partition_index
from payments.retry_policy import RetryPolicy, RetryRule, Strategy
from psp.in_process import InProcessPsp
from runtime.clock import SystemClock
from runtime.crash_points import CrashPoints
from storage.envelope import queue_entry
from tests.fakes.fake_books import FakeBooks
from tests.fakes.fake_ledger import FakeLedger, FakeOwnership
from tests.fakes.fake_queue import FakeGatewayQueue, FakeOwnerQueue
from tests.fakes.fake_queue_server import FakeQueueServer
from tests.fakes.fake_sacrifice import FakeSacrifice
from tests.fakes.fake_unparking import FakeUnparking
from tests.queue_commands import a_command

PARTITION_COUNT = 4

# Everything that waits is short, so that a test of a time-out takes milliseconds.
QUICK = RetryPolicy(
    not_sent=RetryRule(strategy=Strategy.EXPONENTIAL, first_ms=10, max_ms=40),
    unknown=RetryRule(strategy=Strategy.EXPONENTIAL, first_ms=10, max_ms=40),
    psp_down=RetryRule(strategy=Strategy.FIXED, first_ms=20),
    requires_action=RetryRule(strategy=Strategy.FIXED, first_ms=20, age_s_max=1),
)

LIMITS = PspLimits(
    charge_timeout_ms=200,
    query_timeout_ms=200,
    cancel_timeout_ms=200,
    breaker=BreakerSettings(calls_min=4, open_ms=100, open_ms_max=200),
)


@dataclass
class World:
    """Stores and a PSP that outlive hosts, as the real ones do."""

    clock: SystemClock = field(default_factory=SystemClock)
    draining: set[str] = field(default_factory=set)
    policy: RetryPolicy = QUICK
    psp_names: tuple[str, ...] = ("simulator",)

    def __post_init__(self) -> None:
        self.books = FakeBooks.empty(PARTITION_COUNT, self.clock.now)
        self.server = FakeQueueServer(self.clock)
        self.gateway = FakeGatewayQueue(self.server)
        self.psps = {
            name: InProcessPsp(name=name, account="default", seed=7, clock=self.clock)
            for name in self.psp_names
        }
        self.psp = self.psps["simulator"]
        self.ledgers: list[FakeLedger] = []
        self.sacrifice: FakeSacrifice | None = None
        self.crash_points = CrashPoints({})
        self.unparking = FakeUnparking(self.books)

    def host(self, name: str = "host-0", *, lane_count: int = 2) -> PartitionHost:
        """A new incarnation of a host."""
        ledger = FakeLedger(self.books, lane_count=lane_count)
        self.ledgers.append(ledger)

        async def read_draining() -> frozenset[str]:
            return frozenset(self.draining)

        return PartitionHost(
            HostSettings(
                name=name,
                node="here",
                partition_count=PARTITION_COUNT,
                beat_ms=20,
                lease_ms=100,
                drain_s=2,
                policy=self.policy,
                psp_limits=dict.fromkeys(self.psps, LIMITS),
            ),
            HostPorts(
                ledger=ledger,
                ownership=FakeOwnership(self.books, ledger),
                reading_queue=FakeOwnerQueue(self.server),
                reply_queue=FakeOwnerQueue(self.server),
                psps=self.psps,
                planner=OrderedPlanner(self.psps),
                read_draining=read_draining,
                clock=self.clock,
                crash_points=self.crash_points,
                sacrifice=self.sacrifice,
                unparking=self.unparking,
            ),
            uuid4(),
            1,
        )

    @asynccontextmanager
    async def running(self, *hosts: PartitionHost) -> AsyncIterator[None]:
        """Run hosts for a while, then kill them as a crash would: nothing is handed over."""
        tasks = [asyncio.create_task(host.run()) for host in hosts]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def post(
        self, *, token: str = "tok_approve", key: UUID | None = None, amount_minor: int = 1999
    ) -> UUID:
        """Append one order as a gateway would. Returns its order_uuid."""
        command = a_command(key, amount_minor=amount_minor)._replace(
            payment_method=token,
            fingerprint=fingerprint(_fields(amount_minor, token), bytes(32)),
        )
        index = partition_index(command.order_uuid, PARTITION_COUNT)
        await self.gateway.append([queue_entry(command, index)])
        return command.order_uuid

    def status_of(self, order_uuid: UUID) -> int | None:
        """The settled status, or None while the order is open or unknown."""
        key = self.books.order_keys.get(order_uuid)
        outcome = self.books.outcomes.get(key) if key else None
        return outcome[0].status if outcome else None

    async def until(self, is_true: Callable[[], bool], *, timeout_s: float = 5.0) -> None:
        """Wait for a fact; the test fails when it does not come about."""
        async with asyncio.timeout(timeout_s):
            while not is_true():
                await asyncio.sleep(0.005)


def _fields(amount_minor: int, token: str) -> dict[str, object]:
    return {"amount": amount_minor, "currency": "USD", "seller": "s", "payment_method": token}
