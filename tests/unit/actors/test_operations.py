"""A host on fakes captures, voids and refunds what storefronts ask for, gives back what nobody captures, and
holds what is disputed.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from uuid import uuid4

import pytest

from actors import letter_desk, timers, unparking
from payments.attempts import PspAnswer
from payments.commands import OperationCommand, PaymentCommand
from payments.disputes import DisputeState
from payments.event_rows import EventVerdict
from payments.lifecycle import PaymentState
from payments.operation_kinds import OperationKind
from payments.operation_taking import OperationTaking
from payments.partitioning import partition_index
from payments.rows import LetterResult
from psp.simulator.wire import ChangeKind
from storage.envelope import queue_entry
from storage.event_envelope import event_entry
from storage.operation_envelope import operation_entry
from storage.replies import decode_reply
from tests.fakes.fake_host import PARTITION_COUNT, QUICK, World
from tests.operated import a_dispute_event, an_operation
from tests.queue_commands import a_command, with_unreadable_payload

CAPTURE, VOID, REFUND = OperationKind.CAPTURE, OperationKind.VOID, OperationKind.REFUND


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events and timers are looked for at once."""
    monkeypatch.setattr(letter_desk, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(timers, "IDLE_EVERY_S", 0.0)


async def authorized(world: World) -> PaymentCommand:
    """A payment of 1,000 that is authorized."""
    command = a_command(uuid4(), amount_minor=1_000)._replace(captures_manually=True)
    index = partition_index(command.order_uuid, PARTITION_COUNT)
    await world.gateway.append([queue_entry(command, index)])
    await world.until(lambda: world.status_of(command.order_uuid) == PaymentState.REQUIRES_CAPTURE)
    return command


async def ask(world: World, *operations: OperationCommand) -> None:
    """Queue operations as a gateway does."""
    for operation in operations:
        index = partition_index(operation.payment_uuid, PARTITION_COUNT)
        await world.gateway.append([operation_entry(operation, index)])


def status_of(world: World, operation: OperationCommand) -> int | None:
    """How an operation ended, or None while it is open or unknown."""
    key = world.books.operation_keys.get(operation.operation_uuid)
    outcome = world.books.outcomes.get(key) if key else None
    return outcome[0].status if outcome else None


def standing(world: World, payment: PaymentCommand) -> tuple[int, int, int]:
    """(status, captured, refunded) of a payment."""
    stands = world.books.standings[world.books.order_keys[payment.order_uuid]]
    return stands.status, stands.captured_minor, stands.refunded_minor


def has_dispute(world: World, state: DisputeState) -> bool:
    """Whether a dispute of the books stands so."""
    return any(each.status == state for each in world.books.disputes.values())


async def test_a_payment_is_captured_and_refunded() -> None:
    """What the books say is what the PSP did; the gateway is told of each end, and the stream is empty."""
    world = World()
    told: list[bytes] = []
    world.server.subscribers["reply:gateway-1"] = told.append
    async with world.running(world.host()):
        payment = await authorized(world)
        capture = an_operation(CAPTURE, payment, 1, 700)
        await ask(world, capture, capture)
        await world.until(lambda: status_of(world, capture) == PaymentState.SUCCEEDED)
        refund = an_operation(REFUND, payment, 1, 200)
        too_much = an_operation(REFUND, payment, 2, 600)
        await ask(world, refund, too_much)
        await world.until(lambda: status_of(world, refund) == PaymentState.SUCCEEDED)
        await world.until(lambda: status_of(world, too_much) == PaymentState.FAILED)
        await world.until(lambda: not any(world.server.copy.streams.values()))
    assert standing(world, payment) == (PaymentState.PARTIALLY_CAPTURED, 700, 200)
    (row,) = world.psp.oracle_rows()
    assert (row.captured, row.refunded) == (700, 200)
    settled = {order for payload in told for order in decode_reply(payload).settled}
    assert {capture.operation_uuid, refund.operation_uuid, too_much.operation_uuid} <= settled


async def test_an_operation_outlives_its_owner() -> None:
    """A host that dies over a capture is followed by one that finishes it under the same key, once."""
    world = World()
    payment = None
    async with world.running(world.host()):
        payment = await authorized(world)
        await ask(world, an_operation(CAPTURE, payment, 1, 400), an_operation(CAPTURE, payment, 2))
        await world.until(lambda: len(world.books.operations) == 2)
    async with world.running(world.host("host-1")):
        await world.until(
            lambda: standing(world, payment) == (PaymentState.SUCCEEDED, 1_000, 0), timeout_s=10.0
        )
    (row,) = world.psp.oracle_rows()
    assert row.captured == 1_000
    keys = [attempt.psp_key for attempt, _ in world.books.attempts.values()]
    assert len(keys) == len(set(keys)) == 3


async def test_what_nobody_captures_is_given_back() -> None:
    """When its time is over the authorization is voided at the PSP, and the payment has expired."""
    world = World(policy=replace(QUICK, authorization_s_max=1))
    async with world.running(world.host()):
        payment = await authorized(world)
        await world.until(
            lambda: standing(world, payment)[0] == PaymentState.EXPIRED, timeout_s=10.0
        )
    (row,) = world.psp.oracle_rows()
    assert (row.status, row.captured) == ("voided", 0)
    assert world.books.timers == {}


@pytest.mark.interpreted
async def test_what_was_parked_counts_while_its_owner_takes_it_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Let go on, a refund is neither parked nor in memory for a moment: nothing is decided without it."""
    world = World()
    psp_refund = world.psp.refund

    async def never(*_: object, **__: object) -> PspAnswer:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(world.psp, "refund", never)
    payment = a_command(uuid4(), amount_minor=1_000)
    index = partition_index(payment.order_uuid, PARTITION_COUNT)
    first, second = (
        an_operation(REFUND, payment, number, amount_minor)
        for number, amount_minor in ((1, 700), (2, 400))
    )
    async with world.running(world.host("host-0")):
        await world.gateway.append([queue_entry(payment, index)])
        await world.until(lambda: world.status_of(payment.order_uuid) == PaymentState.SUCCEEDED)
        await ask(world, first)
        await world.until(lambda: first.operation_uuid in world.books.operation_keys)
    key = world.books.operation_keys[first.operation_uuid]
    world.books.parked[key] = ("kills_host", "")
    monkeypatch.setattr(world.psp, "refund", psp_refund)
    unpark = world.unparking.unpark

    async def unpark_slowly(partition_index: int, epoch: int, order_no: int) -> None:
        await unpark(partition_index, epoch, order_no)
        # It is written, and the answer takes its time.
        await ask(world, second)
        await asyncio.sleep(0.2)

    monkeypatch.setattr(world.unparking, "unpark", unpark_slowly)
    monkeypatch.setattr(unparking, "LOOK_EVERY_S", 0.01)
    async with world.running(world.host("host-1")):
        await world.until(lambda: world.books.partitions[index].head.epoch == 2)
        world.unparking.wishes.add(key)
        await world.until(lambda: None not in (status_of(world, first), status_of(world, second)))
    assert status_of(world, first) == PaymentState.SUCCEEDED
    outcome, _ = world.books.outcomes[world.books.operation_keys[second.operation_uuid]]
    assert outcome.failure_code == "refund_exceeds_captured"
    (row,) = world.psp.oracle_rows()
    assert row.refunded == 700


async def test_a_dispute_comes_by_webhook() -> None:
    """Its amount is held, then gone; told twice it moves nothing twice."""
    world = World()
    async with world.running(world.host()):
        order = await world.post(amount_minor=1_000)
        await world.until(lambda: world.status_of(order) == PaymentState.SUCCEEDED)
        (row,) = world.psp.oracle_rows()
        for kind, state in (
            (ChangeKind.DISPUTE, DisputeState.OPENED),
            (ChangeKind.DISPUTE_LOST, DisputeState.LOST),
        ):
            await world.psp.dispute(row.reference, kind)
            told = a_dispute_event(row, state, disputed_minor=1_000)
            index = partition_index(order, PARTITION_COUNT)
            for _ in range(2):
                await world.gateway.append([event_entry(told, index)])
            await world.until(partial(has_dispute, world, state))
    verdicts = [result.result for result in world.books.psp_events.results.values()]
    assert verdicts == [EventVerdict.APPLIED, EventVerdict.APPLIED]
    (dispute,) = world.books.disputes.values()
    assert (dispute.amount_minor, dispute.event_sequence) == (1_000, 2)
    (after,) = world.psp.oracle_rows()
    assert after.charged_back == 1_000


async def test_a_damaged_operation_is_set_aside_and_replayed_or_discarded() -> None:
    """The letter stands for it: mended it runs under its key, and discarded it never does, whatever comes."""
    world = World()
    letters = world.books.letters
    async with world.running(world.host()):
        payment = await authorized(world)
        index = partition_index(payment.order_uuid, PARTITION_COUNT)
        healed, given_up = an_operation(CAPTURE, payment, 1, 400), an_operation(CAPTURE, payment, 2)
        for operation in (healed, given_up):
            entry = operation_entry(operation, index)
            await world.gateway.append([with_unreadable_payload(entry)])
        await world.until(lambda: len(letters.rows) == 2)
        numbers = {number: uuid for (_, uuid), (number, _) in letters.set_aside.items()}
        assert set(numbers.values()) == {healed.operation_uuid, given_up.operation_uuid}
        discarded = next(no for no, uuid in numbers.items() if uuid == given_up.operation_uuid)
        discard = letters.want(discarded, is_replay=False)
        await world.until(lambda: discard in letters.results)
        world.server.copy.records.clear()
        # Readable copies of both: the one goes on by it.
        await ask(world, given_up, healed)
        await world.until(lambda: status_of(world, healed) == PaymentState.SUCCEEDED)
        await world.until(lambda: not any(world.server.copy.streams.values()))
    assert given_up.operation_uuid not in world.books.operation_keys
    assert standing(world, payment) == (PaymentState.PARTIALLY_CAPTURED, 400, 0)


async def test_a_letter_of_an_operation_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a defect set aside runs once that is mended, by an operator's replay, and once."""
    take_in = OperationTaking.take_in
    is_mended = False

    def raising(self: OperationTaking, command: OperationCommand) -> None:
        if not is_mended:
            raise KeyError
        take_in(self, command)

    monkeypatch.setattr(OperationTaking, "take_in", raising)
    world = World()
    letters = world.books.letters
    async with world.running(world.host()):
        payment = await authorized(world)
        capture = an_operation(CAPTURE, payment, 1, 400)
        await ask(world, capture)
        await world.until(lambda: len(letters.rows) == 1)
        is_mended = True
        replay = letters.want(1, is_replay=True)
        await world.until(lambda: status_of(world, capture) == PaymentState.SUCCEEDED)
        again = letters.want(1, is_replay=True)
        await world.until(lambda: again in letters.results)
    assert letters.results[replay].result == LetterResult.REPLAYED
    assert letters.results[again].result == LetterResult.REFUSED
    assert standing(world, payment) == (PaymentState.PARTIALLY_CAPTURED, 400, 0)
