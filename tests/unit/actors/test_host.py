"""A partition host on fakes, from the stream to the books."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from payments.lifecycle import PaymentState
from payments.retry_policy import RetryRule, Strategy
from payments.rows import ProgressRow
from tests.fakes.fake_host import PARTITION_COUNT, QUICK, World
from tests.fakes.fake_ledger import AppendFault

NO_TIME_TO_ACT = RetryRule(strategy=Strategy.FIXED, first_ms=20, age_s_max=0)


def charged_count(world: World) -> int:
    """Successful charges that the PSP knows of."""
    return sum(row.status == "captured" for row in world.psp.oracle_rows())


async def test_an_order_reaches_the_books() -> None:
    """An approved order is charged once, settled, and leaves the stream."""
    world = World()
    host = world.host()
    async with world.running(host):
        order = await world.post()
        await world.until(lambda: world.status_of(order) == PaymentState.SUCCEEDED)
        assert charged_count(world) == 1
        assert len(world.books.transfers) == 2
        await world.until(lambda: not any(world.server.copy.streams.values()))


async def test_many_orders_are_conserved() -> None:
    """Each of many orders is charged once and the books balance."""
    world = World()
    async with world.running(world.host()):
        orders = [await world.post(amount_minor=100 + n) for n in range(300)]
        await world.until(lambda: all(world.status_of(o) for o in orders))
    assert charged_count(world) == 300
    debits = sum(head.debits_posted_minor for head in world.books.slices.values())
    credited = sum(head.credits_posted_minor for head in world.books.slices.values())
    assert debits == credited > 0


async def test_a_repeated_message_charges_nothing_twice() -> None:
    """An entry that is read again after its intake is dropped by the ledger's own record."""
    world = World()
    key = uuid4()
    async with world.running(world.host()):
        order = await world.post(key=key)
        await world.until(lambda: world.status_of(order) is not None)
        world.server.copy.records.clear()
        await world.post(key=key)
        await world.until(lambda: not any(world.server.copy.streams.values()))
    assert len(world.books.orders) == 1
    assert charged_count(world) == 1


async def test_the_same_key_with_another_body_is_kept_as_refused() -> None:
    """The first body under a key stands; a later one is told, not run."""
    world = World()
    key = uuid4()
    async with world.running(world.host()):
        order = await world.post(key=key)
        await world.until(lambda: world.status_of(order) is not None)
        world.server.copy.records.clear()
        await world.post(key=key, amount_minor=2000)
        await world.until(lambda: len(world.books.refused) == 1)
    assert charged_count(world) == 1


@pytest.mark.parametrize(
    ("token", "status"),
    [
        ("tok_decline_do_not_honor", PaymentState.FAILED),
        ("tok_timeout_before", PaymentState.SUCCEEDED),
        ("tok_charge_then_timeout", PaymentState.SUCCEEDED),
        ("tok_error_500", PaymentState.SUCCEEDED),
        ("tok_3ds", PaymentState.EXPIRED),
    ],
)
async def test_each_token_ends_as_it_says(token: str, status: PaymentState) -> None:
    """Whatever the PSP does on the way, the order ends as documented and is charged at most once."""
    world = World(policy=replace(QUICK, requires_action=NO_TIME_TO_ACT))
    async with world.running(world.host()):
        order = await world.post(token=token)
        await world.until(lambda: world.status_of(order) is not None)
    assert world.status_of(order) == status
    assert charged_count(world) == (1 if status is PaymentState.SUCCEEDED else 0)


async def test_a_completed_action_settles() -> None:
    """A buyer who acts in time pays."""
    world = World()
    async with world.running(world.host()):
        order = await world.post(token="tok_3ds")

        def progress() -> ProgressRow | None:
            return world.books.open_orders.get(world.books.order_keys.get(order, (0, 0)))

        await world.until(lambda: (row := progress()) is not None and row.psp_reference is not None)
        row = progress()
        assert row is not None
        assert row.status == PaymentState.REQUIRES_ACTION
        assert row.psp_reference is not None
        await world.psp.complete_action(row.psp_reference)
        await world.until(lambda: world.status_of(order) == PaymentState.SUCCEEDED)


@pytest.mark.parametrize(
    "fault",
    [
        AppendFault.UNAVAILABLE,
        AppendFault.UNKNOWN_WRITTEN,
        AppendFault.UNKNOWN_LOST,
        AppendFault.UNKNOWN_PENDING,
    ],
)
@pytest.mark.parametrize("nth", [0, 1])
async def test_a_commit_in_doubt_loses_and_doubles_nothing(fault: AppendFault, nth: int) -> None:
    """Whether a lost COMMIT had happened or not, the order is settled once."""
    world = World()
    host = world.host(lane_count=1)
    async with world.running(host):
        await world.until(lambda: len(host.partition_indexes) == PARTITION_COUNT)
        if nth:
            first = await world.post()
            await world.until(lambda: world.status_of(first) is not None)
        world.ledgers[0].faults.append(fault)
        orders = [await world.post() for _ in range(10)]
        await world.until(lambda: all(world.status_of(o) for o in orders))
    assert charged_count(world) == len(world.books.orders) == 10 + nth
    assert len(world.books.transfers) == 2 * (10 + nth)


async def test_a_new_owner_carries_on() -> None:
    """Orders of a host that died are finished by another, each charged once."""
    world = World()
    async with world.running(world.host("host-0")):
        orders = [await world.post(token="tok_slow_30") for _ in range(20)]
        await world.until(lambda: len(world.books.orders) > 5)
    assert any(world.status_of(o) is None for o in orders)
    async with world.running(world.host("host-1")):
        await world.until(lambda: all(world.status_of(o) for o in orders))
    assert charged_count(world) == 20


async def test_two_hosts_share_and_a_drain_hands_over() -> None:
    """Partitions are shared evenly, and a host that leaves gives its part up in good order."""
    world = World()
    first, second = world.host("host-0"), world.host("host-1")
    async with world.running(first):
        await world.until(lambda: len(first.partition_indexes) == PARTITION_COUNT)
        second_run = asyncio.create_task(second.run())
        await world.until(lambda: len(second.partition_indexes) == PARTITION_COUNT // 2)
        await world.until(lambda: len(first.partition_indexes) == PARTITION_COUNT // 2)
        orders = [await world.post() for _ in range(40)]
        second.stop()
        await second_run
        await world.until(lambda: len(first.partition_indexes) == PARTITION_COUNT)
        await world.until(lambda: all(world.status_of(o) for o in orders))
    assert charged_count(world) == 40


async def test_a_thawed_owner_is_fenced() -> None:
    """An owner that was frozen past its lease writes nothing: its flush is refused and counted."""
    world = World()
    frozen = world.host("host-0", lane_count=1)
    async with world.running(frozen):
        await world.until(lambda: len(frozen.partition_indexes) == PARTITION_COUNT)
        for head in world.books.partitions.values():
            head.head = head.head._replace(epoch=head.head.epoch + 1)
        await world.post()
        await world.until(lambda: frozen.fenced_count > 0)
