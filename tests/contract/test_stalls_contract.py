"""The contract of takeovers without progress, kept by the fake and by Postgres alike."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from payments.state import PartitionState
from tests.books import PASSWORDS, copy_of_installed_books
from tests.contract.shards import FakeShard, Host, PostgresShard, Shard
from tests.servers import SharedServers

DATABASE = "stalls_contract"


@pytest.fixture(params=["fake", pytest.param("postgres", marks=pytest.mark.integration)])
async def shard(request: pytest.FixtureRequest) -> AsyncIterator[Shard]:
    """New books for each test."""
    if request.param == "fake":
        yield FakeShard()
        return
    servers: SharedServers = request.getfixturevalue("servers")
    admin_dsn = await copy_of_installed_books(servers, DATABASE)
    postgres = PostgresShard(
        servers.dsn(DATABASE, role="tally_owner", password=PASSWORDS.owner), admin_dsn
    )
    yield postgres
    await postgres.close()


async def take_over(host: Host, *, has_waiting: bool) -> PartitionState:
    """Claim partition 1 at the epoch that stands now."""
    views = {view.partition_index: view for view in await host.ownership.partitions()}
    state = await host.ownership.claim(
        partition_index=1,
        epoch_seen=views[1].epoch,
        incarnation=host.incarnation,
        lane_index=0,
        has_waiting=has_waiting,
    )
    assert state is not None
    return state


async def test_takeovers_without_progress_are_counted_while_work_waits(shard: Shard) -> None:
    """Idle partitions are not suspicious, however often their hosts die; a host's own claim says nothing."""
    first = shard.host()
    assert (await take_over(first, has_waiting=True)).stall_count == 0
    assert (await take_over(first, has_waiting=True)).stall_count == 0
    assert (await take_over(shard.host(), has_waiting=False)).stall_count == 0
    assert (await take_over(shard.host(), has_waiting=True)).stall_count == 1
    assert (await take_over(shard.host(), has_waiting=True)).stall_count == 2


async def test_open_orders_are_work(shard: Shard) -> None:
    """A takeover of open orders counts though nothing is on the stream."""
    first = shard.host()
    state = await take_over(first, has_waiting=False)
    assert state.stall_count == 0
    writer = await first.writer(1)
    await first.ledger.lanes[0].append(writer.take_in(1))
    # That was progress; the next one had none.
    second, third = shard.host(), shard.host()
    assert (await take_over(second, has_waiting=False)).stall_count == 0
    assert (await take_over(third, has_waiting=False)).stall_count == 1


async def test_progress_takes_the_suspicion_away(shard: Shard) -> None:
    """A flush before the next takeover, or the owner's own word, sets the count back."""
    for _ in range(2):
        await take_over(shard.host(), has_waiting=True)
    host = shard.host()
    state = await take_over(host, has_waiting=True)
    assert state.stall_count == 2
    await host.ownership.note_progress(1, state.head.epoch - 1)
    assert (await take_over(host, has_waiting=True)).stall_count == 2
    await host.ownership.note_progress(1, state.head.epoch + 1)
    assert (await take_over(host, has_waiting=True)).stall_count == 0


async def test_a_parked_order_is_left_out_of_the_next_claim(shard: Shard) -> None:
    """It stays open, and no owner touches it; a former owner parks nothing."""
    host = shard.host()
    writer = await host.writer(1)
    await host.ledger.lanes[0].append(writer.take_in(3))
    epoch = (await take_over(host, has_waiting=False)).head.epoch
    await host.ownership.park(1, epoch - 1, 1, reason="kills_host", detail="")
    await host.ownership.park(1, epoch, 2, reason="kills_host", detail="")
    await host.ownership.park(1, epoch, 2, reason="kills_host", detail="again")
    state = await take_over(host, has_waiting=False)
    assert [record.order_no for record in state.open_orders] == [1, 3]
    assert await shard.count("open_order") == 3


async def test_a_parked_order_goes_on_when_it_is_wanted_after_its_parking(shard: Shard) -> None:
    """A wish is audited and good for one parking; only the owner unparks, for the next claim."""
    host, unparking = shard.host(), shard.unparking()
    writer = await host.writer(1)
    await host.ledger.lanes[0].append(writer.take_in(2))
    epoch = (await take_over(host, has_waiting=False)).head.epoch
    await host.ownership.park(1, epoch, 2, reason="kills_host", detail="")
    assert await unparking.wanted([0, 1]) == []
    await shard.want_unparked(writer.order_uuid(2))
    assert await unparking.wanted([0]) == []
    assert await unparking.wanted([0, 1]) == [(1, 2)]
    await unparking.unpark(1, epoch - 1, 2)
    assert await unparking.wanted([0, 1]) == [(1, 2)]
    await unparking.unpark(1, epoch, 2)
    assert await unparking.wanted([0, 1]) == []
    state = await take_over(host, has_waiting=False)
    # Without a timer, so that its owner goes on with it at once.
    assert [(record.order_no, record.has_timer) for record in state.open_orders][1] == (2, False)
    await host.ownership.park(1, state.head.epoch, 2, reason="kills_host", detail="again")
    assert await unparking.wanted([0, 1]) == []
