"""A host on fakes keeps checkouts that come over the queue, and has their orders paid on a page."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from actors import letter_desk
from payments.checkout_names import checkout_uuid
from payments.checkouts import Checkout, CheckoutOrder
from payments.commands import HOSTED_METHOD, HostedPage, PaymentCommand
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.partitioning import partition_index
from payments.retry_policy import RetryRule, Strategy
from payments.rows import LetterResult
from storage.checkout_envelope import checkout_entry
from storage.envelope import queue_entry
from storage.letter_envelope import sealed_raw
from storage.replies import decode_reply
from tests.fakes.fake_host import PARTITION_COUNT, QUICK, World
from tests.queue_commands import ACCEPTED_AT, MERCHANT_ID, a_command


@pytest.fixture(autouse=True)
def quick_desk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operators' actions are looked for at once."""
    monkeypatch.setattr(letter_desk, "LOOK_EVERY_S", 0.01)


PAGE = HostedPage("https://shop.example/ok", "https://shop.example/no", "co_b")
PATIENT = replace(
    QUICK, requires_action=RetryRule(strategy=Strategy.FIXED, first_ms=20, age_s_max=60)
)


def a_checkout(*commands: PaymentCommand, key: UUID | None = None) -> Checkout:
    key = key or uuid4()
    return Checkout(
        checkout_uuid=checkout_uuid(MERCHANT_ID, Mode.TEST, key),
        idempotency_key=key,
        merchant_no=7,
        merchant_id=MERCHANT_ID,
        mode=Mode.TEST,
        orders=tuple(
            CheckoutOrder(
                command.idempotency_key,
                11,
                "slr_a",
                command.amount_minor,
                "USD",
                command.fingerprint,
            )
            for command in commands
        ),
        success_url=PAGE.success_url,
        cancel_url=PAGE.cancel_url,
        metadata_json=None,
        fingerprint=commands[0].fingerprint,
        accepted_at=ACCEPTED_AT,
        api_version="2026-11-01",
        reply_to="reply:gateway-0",
    )


async def send(world: World, checkout: Checkout) -> None:
    """Queue a checkout as a gateway does."""
    index = partition_index(checkout.checkout_uuid, PARTITION_COUNT)
    await world.gateway.append([checkout_entry(checkout, index)])


async def send_hosted(world: World) -> PaymentCommand:
    """Queue an order whose buyer pays on a page."""
    command = a_command()._replace(payment_method=HOSTED_METHOD, hosted=PAGE)
    index = partition_index(command.order_uuid, PARTITION_COUNT)
    await world.gateway.append([queue_entry(command, index)])
    return command


def queued_count(world: World) -> int:
    return sum(map(len, world.server.copy.streams.values()))


async def test_a_checkout_is_kept_and_its_gateway_told() -> None:
    """It is in the books with its orders in their places, is removed from the stream, and is reported."""
    world = World()
    told: list[bytes] = []
    world.server.subscribers["reply:gateway-0"] = told.append
    checkout = a_checkout(a_command(), a_command())
    async with world.running(world.host()):
        await send(world, checkout)
        await world.until(lambda: bool(told) and not queued_count(world))
    ((row, orders),) = world.books.checkouts.values()
    assert row.checkout_uuid == checkout.checkout_uuid
    assert [each.order_uuid for each in orders] == checkout.order_uuids()
    assert list(decode_reply(told[0]).taken_in) == [checkout.checkout_uuid]


async def test_a_checkout_that_comes_again_is_told_again() -> None:
    """A gateway that sent it once more hears of it, and the books stay as they are."""
    world = World()
    told: list[bytes] = []
    world.server.subscribers["reply:gateway-0"] = told.append
    checkout = a_checkout(a_command())
    async with world.running(world.host()):
        await send(world, checkout)
        await world.until(lambda: len(told) == 1 and not queued_count(world))
        world.server.copy.records.clear()
        await send(world, checkout)
        await world.until(lambda: len(told) == 2 and not queued_count(world))
    assert len(world.books.checkouts) == 1
    assert not world.books.refused


async def test_another_body_under_a_checkouts_key_is_refused() -> None:
    """In one batch or in a later one, the first stands."""
    world = World()
    key = uuid4()
    first, *others = (
        a_checkout(a_command(), key=key)._replace(fingerprint=bytes([1, number]) + bytes(51))
        for number in range(3)
    )
    for checkout in (first, others[0]):
        await send(world, checkout)
        world.server.copy.records.clear()
    async with world.running(world.host()):
        await world.until(lambda: not queued_count(world))
        await send(world, others[1])
        await world.until(lambda: not queued_count(world))
    ((row, _),) = world.books.checkouts.values()
    assert row.fingerprint == first.fingerprint
    refused = {each.fingerprint for each in world.books.refused.values()}
    assert refused == {each.fingerprint for each in others}


async def test_a_damaged_checkout_is_a_letter_that_can_be_replayed() -> None:
    """Nobody can read it: it is set aside, no order is made of it, and a replay takes it in."""
    world = World()
    checkout = a_checkout(a_command())
    index = partition_index(checkout.checkout_uuid, PARTITION_COUNT)
    entry = checkout_entry(checkout, index)
    damaged = entry._replace(fields=(*entry.fields[:-1], b"\xc1"))
    letters = world.books.letters
    async with world.running(world.host()):
        await world.gateway.append([damaged])
        await world.until(lambda: len(letters.rows) == 1)
        assert not letters.rows[0].is_order
        letters.rows[0] = letters.rows[0]._replace(raw_envelope=sealed_raw(entry.fields))
        replayed = letters.want(1, is_replay=True)
        await world.until(lambda: replayed in letters.results)
    assert letters.results[replayed].result == LetterResult.REPLAYED
    assert len(world.books.checkouts) == 1


async def test_an_order_waits_on_its_page_and_is_paid_there() -> None:
    """The PSP's page is the next action; what the buyer does there ends the order, after a takeover too."""
    world = World(policy=PATIENT)
    async with world.running(world.host()):
        command = await send_hosted(world)
        await world.until(
            lambda: (
                [row.status for row in world.books.open_orders.values()]
                == [PaymentState.REQUIRES_ACTION]
            )
        )
    ((key, row),) = world.books.open_orders.items()
    assert "/pay/" in (row.next_action_url or "")
    (record,) = world.books.open_order_records(key[0])
    assert isinstance(record.command, PaymentCommand)
    assert record.command.hosted == PAGE
    async with world.running(world.host("host-1")):
        await world.psp.complete_action(row.psp_reference or "")
        await world.until(lambda: world.status_of(command.order_uuid) is not None)
    assert world.status_of(command.order_uuid) == PaymentState.SUCCEEDED


async def test_a_buyer_who_cancels_has_not_let_it_expire() -> None:
    """Canceled on the page before the deadline is canceled; what nobody ended is expired."""
    world = World(policy=PATIENT)
    async with world.running(world.host()):
        command = await send_hosted(world)
        await world.until(
            lambda: any(row.next_action_url for row in world.books.open_orders.values())
        )
        (attempt, _) = next(iter(world.books.attempts.values()))
        await world.psp.cancel(psp_key=attempt.psp_key, reference=None, timeout_s=1)
        await world.until(lambda: world.status_of(command.order_uuid) is not None)
    assert world.status_of(command.order_uuid) == PaymentState.CANCELED


async def test_a_page_that_nobody_uses_expires() -> None:
    """At its deadline the key is canceled at the PSP, and then the order is expired."""
    world = World()
    async with world.running(world.host()):
        command = await send_hosted(world)
        await world.until(lambda: world.status_of(command.order_uuid) is not None)
    assert world.status_of(command.order_uuid) == PaymentState.EXPIRED
    assert not list(world.psp.oracle_rows())
