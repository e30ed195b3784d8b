"""The fake queue can do the worst that the real one can: lose its tail and give ids out twice."""

from __future__ import annotations

import pytest

from runtime.faults import StorageUnavailable
from storage.queue import KEY_RECORD_TTL_S
from storage.queue_ports import AppendStatus
from tests.fakes.fake_queue import FakeGatewayQueue, FakeOwnerQueue, FakeQueueServer
from tests.manual_clock import ManualClock
from tests.queue_commands import an_entry


async def test_a_promotion_loses_the_tail_and_repeats_its_ids() -> None:
    """After a promotion to a copy that was behind, one id names two messages; neither is removed."""
    server = FakeQueueServer(ManualClock())
    gateway, owner = FakeGatewayQueue(server), FakeOwnerQueue(server)
    owner.own(frozenset({0}))
    kept, lost, later = an_entry(), an_entry(), an_entry()
    assert await gateway.wait_durable(await gateway.append([kept]), timeout_ms=0)
    server.freeze_replica()
    batch = await gateway.append([lost])
    assert not await gateway.wait_durable(batch, timeout_ms=0)
    before = await owner.read(count_max=10, wait_ms_max=0)
    server.promote()
    again = await gateway.append([later])
    assert again.results[0].stream_id == batch.results[0].stream_id
    assert again.results[0].status is AppendStatus.NEW
    assert await owner.remove(before) == 0
    after = await owner.read(count_max=10, wait_ms_max=0)
    assert [m.order_uuid for m in before] == [kept.order_uuid, lost.order_uuid]
    assert [m.order_uuid for m in after] == [kept.order_uuid, later.order_uuid]


async def test_a_record_is_forgotten_some_time_after_the_intake() -> None:
    """Records end KEY_RECORD_TTL_S after their removal; before it they have no end."""
    clock = ManualClock()
    server = FakeQueueServer(clock)
    gateway, owner, entry = FakeGatewayQueue(server), FakeOwnerQueue(server), an_entry()
    owner.own(frozenset({0}))
    await gateway.append([entry])
    clock.advance(2 * KEY_RECORD_TTL_S)
    assert await gateway.find(0, entry.order_uuid, timeout_ms=0) is not None
    await owner.remove(await owner.read(count_max=1, wait_ms_max=0))
    clock.advance(KEY_RECORD_TTL_S - 1)
    assert await gateway.find(0, entry.order_uuid, timeout_ms=0) is not None
    clock.advance(1)
    assert await gateway.find(0, entry.order_uuid, timeout_ms=0) is None


async def test_a_server_that_is_away_is_a_fault() -> None:
    """Every call of a queue that can't be reached raises StorageUnavailable."""
    server = FakeQueueServer(ManualClock())
    gateway, owner = FakeGatewayQueue(server), FakeOwnerQueue(server)
    owner.own(frozenset({0}))
    server.is_reachable = False
    for call in (
        gateway.append([an_entry()]),
        gateway.find(0, an_entry().order_uuid, timeout_ms=0),
        owner.read(count_max=1, wait_ms_max=0),
        owner.remove([]),
        owner.publish("reply:1", b""),
    ):
        with pytest.raises(StorageUnavailable):
            await call
