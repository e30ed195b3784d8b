"""The contract of Lane, OwnerLedger and Ownership, kept by the fake and by Postgres alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from payments.accounts import psp_receivable, wallet
from payments.commands import PaymentCommand
from payments.defects import InvariantViolation
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.money import AMOUNT_MINOR_MAX
from payments.parking import ParkReason
from payments.rows import (
    PersonalPart,
    PersonalRow,
    ProgressRow,
    RefusedRequestRow,
    TimerKind,
    TimerRow,
)
from storage.ports import Flush, KnownOrders, LaneReplaced, PartitionFenced
from storage.sealing import encode_detail, seal
from tests.books import ACCEPTED_AT, PASSWORDS, copy_of_installed_books, together
from tests.contract.letters import a_letter
from tests.contract.shards import FakeShard, Host, PostgresShard, Shard, SimulatedShard
from tests.servers import SharedServers

DATABASE = "ledger_contract"


@pytest.fixture(
    params=["fake", "simulated", pytest.param("postgres", marks=pytest.mark.integration)]
)
async def shard(request: pytest.FixtureRequest) -> AsyncIterator[Shard]:
    """New books for each test."""
    if request.param != "postgres":
        yield FakeShard() if request.param == "fake" else SimulatedShard()
        return
    servers: SharedServers = request.getfixturevalue("servers")
    admin_dsn = await copy_of_installed_books(servers, DATABASE)
    owner_dsn = servers.dsn(DATABASE, role="tally_owner", password=PASSWORDS.owner)
    postgres = PostgresShard(owner_dsn, admin_dsn)
    yield postgres
    await postgres.close()


@pytest.fixture
def host(shard: Shard) -> Host:
    """The host that most tests need one of."""
    return shard.host()


async def test_an_order_taken_in_is_known_and_open(host: Host) -> None:
    """An order that was taken in is found by its key, and a new owner finds it whole."""
    writer = await host.writer(3)
    await host.ledger.lanes[0].append(writer.take_in(2))
    wanted = [(3, writer.order_uuid(1)), (3, writer.order_uuid(9)), (4, writer.order_uuid(2))]
    assert await host.ledger.known_orders(wanted) == KnownOrders(
        {writer.order_uuid(1): writer.commands[1].fingerprint}, {}
    )
    state = await host.claim(3)
    assert [record.order_no for record in state.open_orders] == [1, 2]
    record = state.open_orders[0]
    assert record.command == writer.commands[1]
    assert record.attempt.psp_key == "key-1"
    assert record.attempt.request == b'{"request":1}'
    assert (record.attempt.attempt_no, record.attempt.try_count, record.attempt.epoch) == (1, 0, 1)
    assert record.attempt.is_tainted
    assert (record.status, record.is_outcome_known) == (PaymentState.PROCESSING, True)
    assert (record.event_sequence, record.has_timer) == (1, False)


async def test_large_rows_are_stored_like_small_ones(host: Host) -> None:
    """Metadata and personal data of any size that is accepted come back as they were."""
    writer = await host.writer(3)
    flush = writer.take_in(3)
    metadata = "{" + ",".join(f'"key{n}":"{"v" * 400}"' for n in range(10, 60)) + "}"
    flush.orders[1] = flush.orders[1]._replace(metadata_json=metadata)
    request = bytes(range(256)) * 900
    detail = encode_detail(writer.commands[3], request)
    flush.personal[2] = flush.personal[2]._replace(envelope=detail)
    await host.ledger.lanes[0].append(flush)
    records = (await host.claim(3)).open_orders
    assert [record.order_no for record in records] == [1, 2, 3]
    command = records[1].command
    assert isinstance(command, PaymentCommand)
    assert command.metadata_json == metadata
    assert records[2].attempt.request == request
    assert command._replace(metadata_json='{"cart":"7"}') == writer.commands[2]


async def test_a_first_attempt_whose_request_has_a_row_of_its_own_is_carried_on(host: Host) -> None:
    """Orders of an earlier version, which kept it apart from the order's detail, are found whole."""
    writer = await host.writer(3)
    flush = writer.take_in(1)
    key = flush.personal[0][:2]
    flush.personal = [
        PersonalRow(*key, PersonalPart.DETAIL, encode_detail(writer.commands[1])),
        PersonalRow(*key, PersonalPart.REQUEST_BASE + 1, seal(b"of its own")),
    ]
    await host.ledger.lanes[0].append(flush)
    record = (await host.claim(3)).open_orders[0]
    assert (record.command, record.attempt.request) == (writer.commands[1], b"of its own")


async def test_the_receipt_carries_the_time_of_the_books(host: Host) -> None:
    """What a flush wrote bears the time that its receipt tells."""
    writer = await host.writer(0)
    receipt = await host.ledger.lanes[0].append(writer.take_in())
    state = await host.claim(0)
    assert state.open_orders[0].attempt.created_at == receipt.recorded_at


async def test_settling_moves_money_and_ends_the_order(shard: Shard, host: Host) -> None:
    """A settled order is closed, its transfer is written, and both slices carry it."""
    writer = await host.writer(5)
    lane = host.ledger.lanes[0]
    await lane.append(writer.take_in(3, amount_minor=700))
    await lane.append(writer.settle([1, 3]))
    receivable, owed = (
        psp_receivable(1, Mode.TEST, "simulator", "EUR"),
        wallet(1, Mode.TEST, 1, "EUR"),
    )
    heads = await host.ledger.account_heads([(5, receivable), (5, owed), (6, owed)])
    assert heads.keys() == {(5, receivable), (5, owed)}
    assert (heads[5, receivable].version, heads[5, receivable].debits_posted_minor) == (2, 1_400)
    assert (heads[5, owed].version, heads[5, owed].credits_posted_minor) == (2, 1_400)
    assert heads[5, owed].account_no == writer.account_nos[owed]
    assert await shard.count("transfer") == 2
    state = await host.claim(5)
    assert [record.order_no for record in state.open_orders] == [2]
    assert state.head.chain_hash == writer.head.chain_hash
    assert (state.head.batch_seq, state.head.order_no_last, state.head.account_no_last) == (2, 3, 2)


async def test_one_flush_takes_in_and_settles_in_several_partitions(
    shard: Shard, host: Host
) -> None:
    """Intake and settling of several partitions share one transaction."""
    writers = [await host.writer(index) for index in (1, 8, 2)]
    lane = host.ledger.lanes[0]
    await lane.append(together(*(writer.take_in(2) for writer in writers)))
    await lane.append(together(*(writer.take_in_and_settle(1, [1, 2]) for writer in writers)))
    assert await shard.count("payment_order") == 9
    assert await shard.count("order_outcome") == 6
    assert await shard.count("open_order") == 3
    assert await shard.count("event") == 15


async def test_the_fence_names_only_the_partitions_that_are_lost(shard: Shard, host: Host) -> None:
    """A flush with one lost partition writes nothing, and the others can go on without it."""
    mine, lost = await host.writer(1), await host.writer(2)
    await shard.take_away(2)
    lane = host.ledger.lanes[0]
    mine_alone = mine.take_in()
    with pytest.raises(PartitionFenced) as fenced:
        await lane.append(together(mine_alone, lost.take_in()))
    assert fenced.value.partition_indexes == {2}
    assert await shard.count("payment_order") == 0
    await lane.append(mine_alone)
    assert await shard.count("payment_order") == 1


async def test_a_flush_written_twice_meets_the_fence(shard: Shard, host: Host) -> None:
    """A replayed flush changes nothing."""
    writer = await host.writer(1)
    flush = writer.take_in()
    await host.ledger.lanes[0].append(flush)
    with pytest.raises(PartitionFenced) as fenced:
        await host.ledger.lanes[0].append(flush)
    assert fenced.value.partition_indexes == {1}
    assert await shard.count("payment_order") == 1


async def test_an_order_uuid_taken_in_twice_is_a_defect(shard: Shard, host: Host) -> None:
    """No order_uuid gets two rows, and the flush that tries leaves nothing behind."""
    writer = await host.writer(1)
    await host.ledger.lanes[0].append(writer.take_in())
    head_before = writer.head
    again = writer.take_in()
    again.orders[0] = again.orders[0]._replace(order_uuid=writer.order_uuid(1))
    with pytest.raises(InvariantViolation):
        await host.ledger.lanes[0].append(again)
    assert await shard.count("payment_order") == 1
    writer.head = head_before
    await host.ledger.lanes[0].append(writer.take_in())


async def test_a_slice_at_another_version_is_a_defect(shard: Shard, host: Host) -> None:
    """A slice is changed only from the version that its owner knows."""
    writer = await host.writer(1)
    await host.ledger.lanes[0].append(writer.take_in(2))
    flush = writer.settle([1])
    flush.slices[0] = flush.slices[0]._replace(version_before=7)
    with pytest.raises(InvariantViolation):
        await host.ledger.lanes[0].append(flush)
    assert await shard.count("transfer") == 0
    assert await shard.count("open_order") == 2


async def test_a_slice_outgrows_eight_bytes(shard: Shard, host: Host) -> None:
    """No sum of the largest payments is too large for the books, so none can halt its partition."""
    writer = await host.writer(1)
    lane = host.ledger.lanes[0]
    payment_count = 2**63 // AMOUNT_MINOR_MAX + 1
    await lane.append(writer.take_in(payment_count, amount_minor=AMOUNT_MINOR_MAX))
    await lane.append(writer.settle(range(1, payment_count)))
    await lane.append(writer.settle([payment_count]))
    assert await shard.count("order_outcome") == payment_count
    owed = wallet(1, Mode.TEST, 1, "EUR")
    heads = await host.ledger.account_heads([(1, owed)])
    assert heads[1, owed].credits_posted_minor == payment_count * AMOUNT_MINOR_MAX > 2**63


async def test_an_order_ends_once(shard: Shard, host: Host) -> None:
    """An order that has ended can't end again."""
    writer = await host.writer(1)
    lane = host.ledger.lanes[0]
    await lane.append(writer.take_in())
    await lane.append(writer.settle([1]))
    with pytest.raises(InvariantViolation):
        await lane.append(writer.settle([1]))
    assert await shard.count("transfer") == 1


@pytest.mark.parametrize("amount_minor", [0, -1, 2**53, 2**63])
async def test_an_amount_out_of_range_is_a_defect(host: Host, amount_minor: int) -> None:
    """The books refuse an amount that is no amount, also one that no column can hold."""
    writer = await host.writer(1)
    flush = writer.take_in()
    flush.orders[0] = flush.orders[0]._replace(amount_minor=amount_minor)
    with pytest.raises(InvariantViolation):
        await host.ledger.lanes[0].append(flush)
    writer.head = (await host.claim(1)).head
    await host.ledger.lanes[0].append(writer.take_in())


async def test_progress_replaces_how_an_open_order_stands(host: Host) -> None:
    """A new owner finds an open order as its last progress left it, and its timer."""
    writer = await host.writer(1)
    await host.ledger.lanes[0].append(writer.take_in())
    flush = writer.take_in()
    earlier = ProgressRow(1, 1, PaymentState.PROCESSING, False, 1, 1, None, None, None, None, 1)
    last = ProgressRow(
        1,
        1,
        PaymentState.REQUIRES_ACTION,
        True,
        1,
        2,
        "ch_1",
        "https://psp/3ds",
        ACCEPTED_AT,
        None,
        ParkReason.PSP_DOWN,
    )
    flush.progress += [earlier, last]
    flush.timers.append(TimerRow(1, 1, TimerKind.QUERY, 60_000))
    await host.ledger.lanes[0].append(flush)
    record = (await host.claim(1)).open_orders[0]
    assert record.status == PaymentState.REQUIRES_ACTION
    assert record.is_outcome_known
    assert record.attempt.try_count == 2
    assert record.psp_reference == "ch_1"
    assert record.next_action_url == "https://psp/3ds"
    assert record.action_expires_at == ACCEPTED_AT
    assert record.parked_reason == ParkReason.PSP_DOWN
    assert record.tried_since == record.attempt.created_at
    assert record.has_timer


async def test_progress_of_an_order_that_is_not_open_is_a_defect(host: Host) -> None:
    """An order that has ended, or never was, makes no progress."""
    writer = await host.writer(1)
    flush = writer.take_in()
    flush.progress.append(ProgressRow(1, 9, 2, True, 1, 0, None, None, None, None, None))
    with pytest.raises(InvariantViolation):
        await host.ledger.lanes[0].append(flush)


async def test_an_order_can_progress_and_end_in_one_flush(shard: Shard, host: Host) -> None:
    """When one batch moves an order and ends it, the end stands and no timer is left."""
    writer = await host.writer(1)
    lane = host.ledger.lanes[0]
    first = writer.take_in()
    first.timers.append(TimerRow(1, 1, TimerKind.SEND, 0))
    await lane.append(first)
    flush = writer.settle([1])
    flush.progress.append(ProgressRow(1, 1, 3, True, 1, 1, None, None, None, None, None))
    flush.timers.append(TimerRow(1, 1, TimerKind.QUERY, 0))
    await lane.append(flush)
    assert await shard.count("open_order") == 0
    assert await shard.count("timer") == 0


async def test_timers_come_due_by_the_clock_of_the_books(shard: Shard, host: Host) -> None:
    """A timer shows when its delay is over, oldest first, and stays until it is replaced."""
    writer = await host.writer(1)
    other = await host.writer(2)
    first, second = writer.take_in(2), other.take_in()
    first.timers += [TimerRow(1, 1, TimerKind.SEND, 60), TimerRow(1, 2, TimerKind.CANCEL, 90_000)]
    second.timers.append(TimerRow(2, 1, TimerKind.QUERY, 10))
    await host.ledger.lanes[0].append(together(first, second))
    await shard.pass_time(120)
    due = await host.ledger.due_timers([1, 2], count_max=5)
    assert [(item.partition_index, item.order_no, item.kind) for item in due] == [
        (2, 1, TimerKind.QUERY),
        (1, 1, TimerKind.SEND),
    ]
    assert len(await host.ledger.due_timers([1, 2], count_max=1)) == 1
    assert len(await host.ledger.due_timers([2, 3], count_max=5)) == 1
    later = other.take_in()
    later.timers.append(TimerRow(2, 1, TimerKind.QUERY, 90_000))
    await host.ledger.lanes[0].append(later)
    assert [item.partition_index for item in await host.ledger.due_timers([1, 2], count_max=5)] == [
        1
    ]


async def test_late_requests_and_dead_letters_are_kept_once(shard: Shard, host: Host) -> None:
    """The same refused request, or the same undecodable entry, read again adds no row."""
    writer = await host.writer(1)
    refused = RefusedRequestRow(1, uuid4(), b"f" * 53, ACCEPTED_AT)
    letter = a_letter(1, raw=b"raw")
    for _ in range(2):
        flush = writer.take_in()
        flush.refused += [refused, refused._replace(fingerprint=b"g" * 53)]
        flush.dead_letters += [letter, letter._replace(raw_envelope=seal(b"other"))]
        await host.ledger.lanes[0].append(flush)
    assert await shard.count("refused_request") == 2
    assert await shard.count("dead_letter") == 2


async def test_a_claim_bumps_the_epoch_and_names_the_owner(host: Host) -> None:
    """A claim raises the epoch by one and is seen by everybody."""
    state = await host.claim(7)
    assert state.head.epoch == 1
    views = {view.partition_index: view for view in await host.ownership.partitions()}
    assert (views[7].epoch, views[7].owner) == (1, host.incarnation)
    assert (views[8].epoch, views[8].owner) == (0, None)


async def test_of_two_claims_one_wins(shard: Shard, host: Host) -> None:
    """Two hosts that saw the same epoch can't both get the partition."""
    other = shard.host()
    states = await asyncio.gather(
        *(
            one.ownership.claim(
                partition_index=3, epoch_seen=0, incarnation=one.incarnation, lane_index=0
            )
            for one in (host, other)
        )
    )
    assert len([state for state in states if state is None]) == 1


async def test_the_old_owner_is_fenced_out_after_a_takeover(shard: Shard, host: Host) -> None:
    """Whoever lost a partition writes nothing to it any more, even on an open connection."""
    other = shard.host()
    writer = await host.writer(3)
    await host.ledger.lanes[0].append(writer.take_in())
    state = await other.claim(3)
    assert [record.order_no for record in state.open_orders] == [1]
    late = writer.take_in()
    with pytest.raises((PartitionFenced, LaneReplaced)):
        await host.ledger.lanes[0].append(late)
    assert await shard.count("payment_order") == 1


async def test_a_handed_over_partition_can_be_claimed_at_once(shard: Shard, host: Host) -> None:
    """After a hand-over the next owner goes on, and the host's other partitions are not disturbed."""
    other = shard.host()
    kept, given = await host.writer(1), await host.writer(2)
    await host.ownership.hand_over(partition_indexes=[2, 9], incarnation=host.incarnation)
    views = {view.partition_index: view for view in await host.ownership.partitions()}
    assert views[2].owner is None
    given.head = (await other.claim(2)).head
    await other.ledger.lanes[0].append(given.take_in())
    await host.ledger.lanes[0].append(kept.take_in())


async def test_nobody_hands_over_what_is_not_theirs(shard: Shard, host: Host) -> None:
    """A hand-over by a host that lost the partition does not disturb its new owner."""
    other = shard.host()
    await host.claim(2)
    await other.claim(2)
    await host.ownership.hand_over(partition_indexes=[2], incarnation=host.incarnation)
    views = {view.partition_index: view for view in await host.ownership.partitions()}
    assert views[2].owner == other.incarnation


async def test_a_new_connection_needs_new_claims(shard: Shard, host: Host) -> None:
    """After a lane lost its connection its partitions take nothing until they are claimed again."""
    writer = await host.writer(2)
    shard.drop_connection(host, 0)
    flush = writer.take_in()
    with pytest.raises(LaneReplaced) as replaced:
        await host.ledger.lanes[0].append(flush)
    assert replaced.value.partition_indexes == {2}
    writer.head = (await host.claim(2)).head
    await host.ledger.lanes[0].append(writer.take_in())
    assert await shard.count("payment_order") == 1


async def test_a_partition_is_written_on_the_lane_of_its_claim(host: Host) -> None:
    """A partition is pinned to one lane, and moves to another only by a claim."""
    writer = await host.writer(2, lane_index=1)
    with pytest.raises(LaneReplaced):
        await host.ledger.lanes[0].append(writer.take_in())
    writer.head = (await host.claim(2, lane_index=0)).head
    await host.ledger.lanes[0].append(writer.take_in())
    with pytest.raises(LaneReplaced):
        await host.ledger.lanes[1].append(writer.take_in())


async def test_claiming_one_partition_again_leaves_its_neighbours_alone(host: Host) -> None:
    """A host that claims a partition from itself keeps the connection that its other ones use."""
    kept, again = await host.writer(1), await host.writer(2)
    await host.ledger.lanes[0].append(together(kept.take_in(), again.take_in()))
    again.head = (await host.claim(2)).head
    await host.ledger.lanes[0].append(together(kept.take_in(), again.take_in()))


async def test_a_lease_beats_until_it_is_released(host: Host) -> None:
    """A lease counts up with each beat; released, it stays so and tells its host to stop."""
    incarnation = uuid4()
    await host.ownership.register(incarnation=incarnation, host_name="h1", node="n1", pid=42)
    assert await host.ownership.beat(incarnation)
    assert await host.ownership.beat(incarnation)
    (lease,) = await host.ownership.leases()
    assert (lease.incarnation, lease.host_name, lease.pid) == (incarnation, "h1", 42)
    assert (lease.counter, lease.is_released) == (2, False)
    await host.ownership.release_lease(incarnation)
    assert not await host.ownership.beat(incarnation)
    (lease,) = await host.ownership.leases()
    assert lease.is_released


async def test_a_lease_that_was_never_registered_does_not_beat(host: Host) -> None:
    """A host without a lease is told so."""
    assert not await host.ownership.beat(uuid4())


async def test_a_cancelled_append_leaves_no_transaction_behind(shard: Shard, host: Host) -> None:
    """A caller that is cancelled in the middle of a flush harms nobody; the books decide."""
    writer = await host.writer(2)
    appending = asyncio.create_task(host.ledger.lanes[0].append(writer.take_in(20)))
    await asyncio.sleep(0)
    appending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await appending
    writer.head = (await host.claim(2)).head
    assert await shard.count("payment_order") == writer.head.order_no_last
    await host.ledger.lanes[0].append(writer.take_in())


async def test_many_open_orders_are_found_in_order(host: Host) -> None:
    """A takeover finds every open order, also when they do not fit in one page."""
    writer = await host.writer(2)
    await host.ledger.lanes[0].append(writer.take_in(1_500))
    await host.ledger.lanes[0].append(writer.take_in(510))
    records = (await host.claim(2)).open_orders
    assert [record.order_no for record in records] == list(range(1, 2_011))


async def test_a_flush_without_heads_is_a_defect(host: Host) -> None:
    """Nothing is written without a fence, and no partition twice in one flush."""
    writer = await host.writer(2)
    with pytest.raises(InvariantViolation):
        await host.ledger.lanes[0].append(Flush())
    flush = writer.take_in()
    flush.heads *= 2
    with pytest.raises(InvariantViolation):
        await host.ledger.lanes[0].append(flush)


async def test_nothing_asked_is_nothing_found(host: Host) -> None:
    """Empty look-ups are answered empty."""
    assert await host.ledger.known_orders([]) == KnownOrders({}, {})
    assert await host.ledger.account_heads([]) == {}
    assert list(await host.ledger.due_timers([], count_max=1)) == []
