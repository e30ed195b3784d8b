"""Claiming and flushing under faults: no partition and no order is left where nobody works on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from actors.host import PartitionHost
from payments.book import PartitionBook
from payments.decided import Batch, Decided
from payments.defects import InvariantViolation
from payments.state import PartitionState
from storage.ports import CommitUnknown, StorageUnavailable
from tests.fakes.fake_host import PARTITION_COUNT, World
from tests.fakes.fake_ledger import FakeOwnership
from tests.unit.actors.messages import a_call

ALL = frozenset(range(PARTITION_COUNT))


def ownership_of(host: PartitionHost) -> FakeOwnership:
    ownership = host._ports.ownership
    assert isinstance(ownership, FakeOwnership)
    return ownership


@pytest.mark.parametrize("is_committed", [True, False])
async def test_a_claim_in_doubt_ends_nobody(
    is_committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim whose answer was lost is made again, whether or not it was committed."""
    world = World()
    host = world.host()
    ownership = ownership_of(host)
    claim, doubted = ownership.claim, set[int]()

    async def faulty(*, partition_index: int, **rest: Any) -> PartitionState | None:
        if partition_index in doubted:
            return await claim(partition_index=partition_index, **rest)
        doubted.add(partition_index)
        if is_committed:
            await claim(partition_index=partition_index, **rest)
        raise CommitUnknown(frozenset({partition_index}), "no answer")

    monkeypatch.setattr(ownership, "claim", faulty)
    async with world.running(host):
        await world.until(lambda: host.partition_indexes == ALL)
        order = await world.post()
        await world.until(lambda: world.status_of(order) is not None)


async def test_books_that_can_not_be_carried_on_stop_their_partition_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One partition with broken books does not end the host that claims it, nor its neighbours."""
    world = World()
    host = world.host()
    ownership = ownership_of(host)
    claim, tried = ownership.claim, list[int]()

    async def faulty(*, partition_index: int, **rest: Any) -> PartitionState | None:
        tried.append(partition_index)
        state = await claim(partition_index=partition_index, **rest)
        if partition_index == 2:
            raise InvariantViolation("open order 7 lacks its attempt")
        return state

    monkeypatch.setattr(ownership, "claim", faulty)
    async with world.running(host):
        await world.until(lambda: host.partition_indexes == ALL - {2})
        orders = [await world.post() for _ in range(20)]
        await world.until(
            lambda: (
                sum(world.status_of(order) is not None for order in orders)
                == sum(order.int >> 64 & 3 != 2 for order in orders)
            )
        )
    assert tried.count(2) == 1


@pytest.mark.interpreted
async def test_a_hand_over_that_failed_leaves_no_order_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was forgotten to give a partition up comes back when it could not be given up."""
    world = World()
    host = world.host(lane_count=1)
    ownership = ownership_of(host)
    failed = list[Sequence[int]]()

    async def failing(*, partition_indexes: Sequence[int], incarnation: UUID) -> None:
        failed.append(partition_indexes)
        world.draining.clear()
        raise StorageUnavailable("postgres", "away")

    monkeypatch.setattr(ownership, "hand_over", failing)
    async with world.running(host):
        await world.until(lambda: host.partition_indexes == ALL)
        host.calls.pause(True)
        # Taken in, their calls waiting: such orders have no timer yet.
        monkeypatch.setattr(host.calls, "pause", lambda _is_paused: None)
        orders = [await world.post() for _ in range(8)]
        await world.until(lambda: host.open_count == 8)
        world.draining.add("host-0")
        await world.until(lambda: bool(failed))
        monkeypatch.undo()
        await world.until(lambda: all(world.status_of(order) for order in orders))


async def test_the_ledgers_time_is_known_from_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new host decides nothing by its own wall clock, however wrong it is."""
    world = World()
    host = world.host()
    ownership = ownership_of(host)
    claim = ownership.claim
    ledgers_time = datetime(2020, 1, 1, tzinfo=UTC)

    async def dated(**named: Any) -> PartitionState | None:
        state = await claim(**named)
        return state and PartitionState(
            head=state.head, open_orders=state.open_orders, recorded_at=ledgers_time
        )

    monkeypatch.setattr(ownership, "claim", dated)
    async with world.running(host):
        await world.until(lambda: host.partition_indexes == ALL)
        assert host._lanes[0]._ports.ledger_clock.now().year == 2020


@pytest.mark.interpreted
async def test_a_defect_halts_its_partition_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A partition whose answers can't be decided is stopped; its neighbours settle, and it takes no room."""
    world = World()
    host = world.host(lane_count=1)
    decide = PartitionBook.decide

    def poisoned(book: PartitionBook, batch: Batch) -> Decided:
        if book.head.partition_index == 1 and batch.answers:
            raise InvariantViolation("poison")
        return decide(book, batch)

    monkeypatch.setattr(PartitionBook, "decide", poisoned)
    async with world.running(host):
        await world.until(lambda: host.partition_indexes == ALL)
        orders = [await world.post() for _ in range(40)]
        healthy = [order for order in orders if order.int >> 64 & 3 != 1]
        await world.until(lambda: all(world.status_of(order) for order in healthy))
        partitions = host._lanes[0].partitions
        await world.until(lambda: partitions.halted == {1})
        assert partitions.message_count == 0
        assert 1 not in host._working()


async def test_a_timer_of_an_order_being_called_is_not_acted_on() -> None:
    """A timer read again while its call is on its way can't renew the attempt that is being sent."""
    world = World()
    host = world.host(lane_count=1)
    async with world.running(host):
        await world.until(lambda: host.partition_indexes == ALL)
        partitions = host._lanes[0].partitions
        call = a_call(1)
        partitions.offer_due(0, 1, call.step)
        host.calls.pause(True)
        host.calls.start([call])
        assert partitions.take([0], count_max=10)[0].due == []


async def test_no_call_starts_while_a_commit_is_in_doubt() -> None:
    """A commit that is late or in doubt holds new PSP calls until its partitions are claimed anew."""
    world = World()
    host = world.host(lane_count=1)
    async with world.running(host):
        await world.until(lambda: host.partition_indexes == ALL)
        lane = host._lanes[0]
        assert lane.commit_age_s() == 0
        lane._doubt_started_s = world.clock.monotonic_s() - 9
        lane.partitions.suspend(frozenset({0}))
        assert lane.commit_age_s() >= 9
        host._on_unclear(frozenset({0}))
        await world.until(lambda: lane.commit_age_s() == 0)


async def test_a_host_can_be_stopped_while_the_ledger_is_away() -> None:
    """A drain does not wait for a database that a host never reached."""
    world = World()
    host = world.host()
    ownership_of(host).is_available = False
    async with world.running(host):
        host.stop()
        await world.until(lambda: host._defect is not None)
