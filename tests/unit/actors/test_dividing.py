"""Flushes that were not written are divided, and a partition that can't be written holds up no other."""

from __future__ import annotations

import pytest

from actors.dividing import FlushDivision
from actors.settings import COMMIT_LATE_S, FLUSH_DIVISOR_MAX, STORE_RETRY_S, STUCK_PAUSE_S_MAX
from payments.partitioning import partition_index
from runtime.faults import StorageUnavailable
from storage.ports import Flush, FlushReceipt
from tests.fakes.fake_host import PARTITION_COUNT, World
from tests.fakes.fake_ledger import FakeLane
from tests.manual_clock import ManualClock


def failed_down(division: FlushDivision, *indexes: int) -> None:
    """Fail until the flush is as small as can be."""
    while division.part_of(FLUSH_DIVISOR_MAX) > 1:
        division.failed(indexes, "refused")


def test_each_failure_halves_and_each_success_doubles() -> None:
    """What is too large gets through in parts; a store that is back gets whole flushes soon."""
    division = FlushDivision(ManualClock())
    sizes = []
    for _ in range(3):
        division.failed([0], "refused")
        sizes.append(division.part_of(1_024))
    for _ in range(4):
        division.written([0])
        sizes.append(division.part_of(1_024))
    assert sizes == [512, 256, 128, 256, 512, 1_024, 1_024]
    assert division.part_of(1) == 1


def test_failures_last_from_the_first_to_a_success() -> None:
    """How long the store has not taken anything is known, whatever was tried meanwhile."""
    clock = ManualClock()
    division = FlushDivision(clock)
    assert division.failing_since_s is None
    division.failed([0], "refused")
    first_s = clock.monotonic_s()
    clock.advance(5)
    division.failed([1], "refused")
    assert division.failing_since_s == first_s
    division.written([2])
    assert division.failing_since_s is None


def test_a_partition_whose_smallest_flush_fails_waits_longer_each_time() -> None:
    """It is tried for ever, ever more seldom up to a bound."""
    clock = ManualClock()
    division = FlushDivision(clock)
    failed_down(division, 3)
    assert division.waiting() == frozenset()
    waits_s = []
    for _ in range(6):
        division.failed([3], "refused")
        waited_s = 0.0
        while division.waiting():
            clock.advance(STORE_RETRY_S)
            waited_s += STORE_RETRY_S
        waits_s.append(waited_s)
    assert waits_s == sorted(waits_s)
    assert waits_s[0] == 2 * STORE_RETRY_S
    assert waits_s[-1] == STUCK_PAUSE_S_MAX


def test_an_outage_leaves_no_partition_waiting() -> None:
    """When several could not be written it was the store, and its first success ends every wait."""
    division = FlushDivision(ManualClock())
    failed_down(division, 0)
    for index in (1, 2, 3):
        division.failed([index], "refused")
    assert division.waiting() == {1, 2, 3}
    division.written([1])
    assert division.waiting() == frozenset()


async def test_a_flush_that_is_too_large_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses more than three orders at a time gets them three at a time, or fewer."""
    sizes: list[int] = []
    write = FakeLane._write

    def limited(lane: FakeLane, flush: Flush, indexes: frozenset[int]) -> FlushReceipt:
        sizes.append(len(flush.orders))
        if len(flush.orders) > 3:
            raise StorageUnavailable("postgres", "invalid memory alloc request size")
        return write(lane, flush, indexes)

    monkeypatch.setattr(FakeLane, "_write", limited)
    monkeypatch.setattr("actors.lane_worker.STORE_RETRY_S", 0.001)
    world = World()
    orders = [await world.post() for _ in range(60)]
    async with world.running(world.host(lane_count=1)):
        await world.until(lambda: all(world.status_of(order) for order in orders))
    assert max(sizes) > 3
    assert len(world.books.orders) == 60


async def test_a_stuck_partition_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one partition can't be written, its neighbours on the lane settle; then it does too."""
    refused = {0}
    write = FakeLane._write

    def limited(lane: FakeLane, flush: Flush, indexes: frozenset[int]) -> FlushReceipt:
        if refused & indexes:
            raise StorageUnavailable("postgres", "out of memory")
        return write(lane, flush, indexes)

    monkeypatch.setattr(FakeLane, "_write", limited)
    monkeypatch.setattr("actors.lane_worker.STORE_RETRY_S", 0.001)
    world = World()
    orders = [await world.post() for _ in range(40)]
    of_zero = {o for o in orders if partition_index(o, PARTITION_COUNT) == 0}
    host = world.host(lane_count=1)
    async with world.running(host):
        await world.until(lambda: all(world.status_of(o) for o in orders if o not in of_zero))
        assert not any(world.status_of(o) for o in of_zero)
        refused.clear()
        await world.until(lambda: all(world.status_of(o) for o in orders))


async def test_no_call_starts_while_flushes_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that takes nothing for two seconds holds PSP calls back, and frees them when it is back."""
    world = World()
    host = world.host(lane_count=1)
    async with world.running(host):
        await world.until(lambda: len(host.partition_indexes) == PARTITION_COUNT)
        lane = host._lanes[0]
        lane._division.failed([0], "refused")
        lane._division._failing_since_s = world.clock.monotonic_s() - COMMIT_LATE_S - 1
        lane.partitions.suspend(frozenset({0}))
        await world.until(lambda: host.calls._is_paused)
        host._on_unclear(frozenset({0}))
        await world.until(lambda: not host.calls._is_paused)
