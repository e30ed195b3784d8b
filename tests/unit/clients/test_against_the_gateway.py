"""The client against our own gateway, whose stores are fakes: both speak the same API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from payments.disputes import DisputeState
from payments.lifecycle import PaymentState
from tallystick import AsyncTallystick, PaymentFailed, RetryPolicy, Tallystick, problems
from tests.unit.gateway.disputed import keep_dispute
from tests.unit.gateway.stack import GatewayStack

POLICY = RetryPolicy(pause_first_s=0.01, pause_s_max=0.05, attempts_max=3)


@pytest.fixture
async def stack() -> AsyncIterator[GatewayStack]:
    async with GatewayStack() as opened:
        yield opened


@pytest.fixture
async def client(stack: GatewayStack) -> AsyncIterator[AsyncTallystick]:
    async with AsyncTallystick(stack.url, stack.key, policy=POLICY) as opened:
        yield opened


async def pay(client: AsyncTallystick, key: UUID | None = None, amount: int = 1999) -> UUID:
    payment = await client.payments.create(
        amount=amount,
        currency="USD",
        payment_method="tok_approve",
        metadata={"cart": "c-9"},
        idempotency_key=key,
    )
    assert payment.status == "processing"
    return UUID(payment.id)


async def test_a_payment_from_its_order_to_its_end(
    stack: GatewayStack, client: AsyncTallystick
) -> None:
    """Created, waited for, read, listed by what it carries, and repeated as the same."""
    key = await pay(client)
    waiting = asyncio.create_task(client.payments.wait(key, timeout_s=10))
    stack.take_in(PaymentState.SUCCEEDED)
    payment = await waiting
    assert (payment.status, payment.amount, payment.fee) == ("succeeded", 1999, 88)
    assert payment.metadata == {"cart": "c-9"}
    assert [each.id async for each in client.payments.iterate(metadata={"cart": "c-9"})] == [
        str(key)
    ]
    again = await client.payments.create(
        amount=1999,
        currency="USD",
        payment_method="tok_approve",
        metadata={"cart": "c-9"},
        idempotency_key=key,
    )
    assert again == payment
    assert again.response is not None
    assert again.response.is_replayed


async def test_the_blocking_client_gets_the_same(stack: GatewayStack) -> None:
    """In a thread of its own the blocking client sees what the async one sees."""

    def run() -> tuple[str, str]:
        with Tallystick(stack.url, stack.key, policy=POLICY) as client:
            made = client.payments.create(
                amount=1999, currency="USD", payment_method="tok_approve", key_name="cart-1"
            )
            return made.id, client.payments.retrieve(made.id).id

    made, read = await asyncio.to_thread(run)
    assert made == read
    assert [str(command.idempotency_key) for command in stack.queued()] == [made]


async def test_a_decline_is_an_error_with_its_payment(
    stack: GatewayStack, client: AsyncTallystick
) -> None:
    """A held call raises what became of it, and its name is free for a new try."""
    creating = asyncio.create_task(
        client.payments.create(
            amount=1999,
            currency="USD",
            payment_method="tok_decline_do_not_honor",
            key_name="cart-1",
            wait_s=5,
        )
    )
    while not stack.queued():  # the fakes raise no events
        await asyncio.sleep(0.01)
    stack.take_in(PaymentState.FAILED)
    with pytest.raises(PaymentFailed) as caught:
        await creating
    assert isinstance(caught.value, problems.Declined)
    assert caught.value.decline_code == "do_not_honor"
    assert caught.value.payment is not None
    assert caught.value.payment.id == str(caught.value.idempotency_key)
    await client.forget_key(caught.value)
    again = await client.payments.create(
        amount=1999, currency="USD", payment_method="tok_approve", key_name="cart-1"
    )
    assert again.id != caught.value.payment.id


async def test_disputes_are_listed_and_read(stack: GatewayStack, client: AsyncTallystick) -> None:
    """All of them over several pages, those of one payment in one state, and one by its id."""
    payment = uuid4()
    ids = [keep_dispute(stack, payment, number) for number in range(1, 4)]
    lost = keep_dispute(stack, payment, 4, DisputeState.LOST)
    elsewhere = keep_dispute(stack, uuid4(), 5)
    found = [each.id async for each in client.disputes.iterate(page_size=2)]
    assert found == [elsewhere, lost, *ids[::-1]]
    page = await client.disputes.list(payment=payment, status="opened", limit=2)
    assert [each.id for each in page.data] == [ids[2], ids[1]]
    read = await client.disputes.retrieve(lost)
    assert (read.payment, read.status, read.amount) == (str(payment), "lost", 500)
    with pytest.raises(problems.DisputeNotFound):
        await client.disputes.retrieve(f"{lost}x")


async def test_refusals_are_their_own_classes(client: AsyncTallystick) -> None:
    """Each is raised at once, and tells where it lies and what was wrong."""
    key = await pay(client)
    with pytest.raises(problems.IdempotencyKeyReused) as reused:
        await pay(client, key, amount=2000)
    assert reused.value.details == {"differs": ["amount"]}
    with pytest.raises(problems.AmountTooSmall) as small:
        await pay(client, amount=1)
    assert small.value.param == "$.amount"
    with pytest.raises(problems.PanNotAccepted):
        await client.payments.create(
            amount=1999, currency="USD", payment_method="4242 4242 4242 4242"
        )
    with pytest.raises(problems.PaymentNotFound):
        await client.payments.retrieve(uuid4())
    await client.sellers.create(id="slr_shoes", name="Shoes", fee={"basis_points": 100})
    with pytest.raises(problems.SellerExists):
        await client.sellers.create(id="slr_shoes", name="Shoes")
    assert [seller.id async for seller in client.sellers.iterate()][-1] == "slr_shoes"


async def test_a_key_that_is_not_valid_is_told(stack: GatewayStack) -> None:
    """A revoked or mistyped key is no reason to try again."""
    async with AsyncTallystick(stack.url, "sk_test_nobody", policy=POLICY) as client:
        with pytest.raises(problems.ApiKeyInvalid) as caught:
            await client.wallets.retrieve()
    assert caught.value.attempt_count == 1


async def test_what_the_gateway_can_not_do_now_is_tried_again(
    stack: GatewayStack, client: AsyncTallystick
) -> None:
    """What can't be proven on a copy is tried again under its key, and then the error says that it may run."""
    stack.queue.freeze_replica()
    with pytest.raises(problems.StoreUnavailable) as caught:
        await pay(client)
    assert caught.value.attempt_count == POLICY.attempts_max
    assert caught.value.may_have_run
    stack.queue.thaw_replica()
    assert await pay(client, caught.value.idempotency_key) == caught.value.idempotency_key


async def test_requests_are_found_by_what_an_error_tells(
    stack: GatewayStack, client: AsyncTallystick
) -> None:
    """The request id of an error leads to what was asked and answered."""
    with pytest.raises(problems.AmountTooSmall) as caught:
        await pay(client, amount=1)
    assert stack.gateway.request_log is not None
    await stack.gateway.request_log.flush()
    (asked,) = (await client.requests.list(request_id=caught.value.request_id)).data
    assert (asked.status, asked.code) == (422, "amount_too_small")
    assert asked.request["amount"] == 1
    assert asked["answer"]["param"] == "$.amount"
