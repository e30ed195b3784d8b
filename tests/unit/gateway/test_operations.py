"""Captures, voids and refunds over HTTP: the idempotency table for operations, and what surrounds it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from payments.answer import API_VERSION
from payments.commands import OperationCommand
from payments.identity import operation_id, operation_uuid
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.operation_answer import ID_PREFIXES, OperationView
from payments.operation_kinds import OperationKind
from payments.operations import OPERATIONS_MAX, REFUND_EXCEEDS_CAPTURED
from storage.operation_envelope import decode_operation
from storage.read_ports import StoredOperation
from storage.set_aside_orders import set_aside_operation
from tests.unit.gateway.stack import Answered, GatewayStack, payment

ROUTES = {
    OperationKind.CAPTURE: "captures",
    OperationKind.VOID: "void",
    OperationKind.REFUND: "refunds",
}


@pytest.fixture
async def paid(stack: GatewayStack) -> UUID:
    """The key of a payment that succeeded."""
    key = uuid4()
    await stack.pay(key)
    stack.take_in(PaymentState.SUCCEEDED)
    return key


async def ask(
    stack: GatewayStack,
    payment_key: UUID,
    kind: OperationKind,
    document: object = None,
    *,
    key: object = None,
    **options: Any,
) -> Answered:
    """POST one operation under the idempotency key, or under a new one."""
    headers = {"Idempotency-Key": str(key or uuid4()), **options.pop("headers", {})}
    path = f"/v1/payments/{payment_key}/{ROUTES[kind]}"
    if document is None:
        return await stack.request("POST", path, headers=headers, **options)
    return await stack.post(path, document, headers=headers, **options)


def queued(stack: GatewayStack) -> list[OperationCommand]:
    """Every operation in the streams."""
    return [
        decode_operation(raw)
        for stream in stack.queue.copy.streams.values()
        for raw in stream.values()
    ]


def take_in(
    stack: GatewayStack,
    status: PaymentState = PaymentState.SUCCEEDED,
    *,
    failure_code: str | None = None,
) -> StoredOperation:
    """Do an owner's work with the one queued operation: it stands in the books, and is reported."""
    (command,) = queued(stack)
    index, _ = stack.order_key(command.payment_key)
    is_ended = status not in (PaymentState.CREATED, PaymentState.PROCESSING)
    stored = StoredOperation(
        order_uuid=command.operation_uuid,
        partition_index=index,
        order_no=7,
        merchant_no=command.merchant_no,
        mode=command.mode,
        fingerprint=command.fingerprint,
        view=OperationView(
            operation_id=operation_id(ID_PREFIXES[command.kind], index, command.operation_uuid),
            kind=command.kind,
            payment_key=command.payment_key,
            status=status,
            is_outcome_known=True,
            amount_minor=command.amount_minor or 1_999,
            currency="USD",
            failure_code=failure_code,
            decline_code=None,
            failure_message=None,
            next_retry_at=None,
            created_at=command.accepted_at,
            effective_at=None,
            ledger_updated_at=None,
            api_version=API_VERSION,
        ),
        is_frozen=is_ended,
    )
    stack.queries.put_operation(stored, command.payment_uuid)
    for stream in stack.queue.copy.streams.values():
        stream.clear()
    stack.gateway.replied(
        taken_in=[stored.order_uuid], settled=[stored.order_uuid] if is_ended else []
    )
    return stored


@pytest.mark.parametrize("kind", ROUTES)
async def test_an_operation_is_accepted(
    stack: GatewayStack, paid: UUID, kind: OperationKind
) -> None:
    """It is answered 202, and is in its payment's partition by then, under an identity of its own."""
    key = uuid4()
    answer = await ask(stack, paid, kind, key=key)
    assert (answer.status, answer.json["status"]) == (202, "pending")
    assert (answer.json["object"], answer.json["payment"]) == (kind.wire, str(paid))
    assert (answer.json["amount"], answer.json["currency"]) == (None, "USD")
    (command,) = queued(stack)
    partition, payment_uuid = stack.order_key(paid)
    assert command.operation_uuid == operation_uuid(payment_uuid, kind.wire, key)
    assert [index for index, stream in stack.queue.copy.streams.items() if stream] == [partition]


async def test_an_operation_says_what_it_wants(stack: GatewayStack, paid: UUID) -> None:
    """Amount and reason reach the owner; the reason is in no answer."""
    answer = await ask(
        stack, paid, OperationKind.REFUND, {"amount": 500, "reason": "of no use to Ann"}
    )
    assert answer.json["amount"] == 500
    assert b"Ann" not in answer.body
    (command,) = queued(stack)
    assert (command.amount_minor, command.reason) == (500, "of no use to Ann")


async def test_the_same_request_is_one_operation(stack: GatewayStack, paid: UUID) -> None:
    """A repetition, before and after intake, is answered with the same operation, and frozen at its end."""
    key = uuid4()
    first = await ask(stack, paid, OperationKind.REFUND, {"amount": 500}, key=key)
    await asyncio.sleep(0.002)
    again = await ask(stack, paid, OperationKind.REFUND, {"amount": 500}, key=key)
    assert (again.status, again.body) == (202, first.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    take_in(stack)
    await asyncio.sleep(0.002)
    frozen = await ask(stack, paid, OperationKind.REFUND, {"amount": 500}, key=key)
    assert (frozen.status, frozen.json["status"]) == (201, "succeeded")
    assert frozen.headers["Location"] == f"/v1/refunds/{frozen.json['id']}"
    assert (await ask(stack, paid, OperationKind.REFUND, {"amount": 500}, key=key)).body == (
        frozen.body
    )


@pytest.mark.parametrize("is_in_books", [False, True])
async def test_another_body_under_the_key_is_refused(
    stack: GatewayStack, paid: UUID, is_in_books: bool
) -> None:
    """The key belongs to the first request, whoever knows it; what differs is named."""
    key = uuid4()
    await ask(stack, paid, OperationKind.REFUND, {"amount": 500}, key=key)
    if is_in_books:
        take_in(stack)
    answer = await ask(stack, paid, OperationKind.REFUND, {"amount": 501, "reason": "x"}, key=key)
    assert (answer.status, answer.code) == (422, "idempotency_key_reused")
    assert answer.json["details"]["differs"] == ["amount", "reason"]


async def test_a_key_names_one_operation_of_one_payment(stack: GatewayStack, paid: UUID) -> None:
    """The same key on another payment, or for another kind, is another operation."""
    other = uuid4()
    await stack.pay(other)
    stack.take_in(PaymentState.SUCCEEDED)
    key = uuid4()
    await ask(stack, paid, OperationKind.REFUND, key=key)
    await ask(stack, other, OperationKind.REFUND, key=key)
    await ask(stack, paid, OperationKind.CAPTURE, key=key)
    assert len({command.operation_uuid for command in queued(stack)}) == 3


async def test_what_the_books_refused_is_a_frozen_problem(stack: GatewayStack, paid: UUID) -> None:
    """It has the status of its code, holds the operation, and is the same every time."""
    key = uuid4()
    await ask(stack, paid, OperationKind.REFUND, {"amount": 9_000}, key=key)
    take_in(stack, PaymentState.FAILED, failure_code=REFUND_EXCEEDS_CAPTURED)
    answer = await ask(stack, paid, OperationKind.REFUND, {"amount": 9_000}, key=key)
    assert answer.status == answer.json["status"] == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["code"] == REFUND_EXCEEDS_CAPTURED
    assert answer.json["refund"]["status"] == "failed"
    assert "request_id" not in answer.json


async def test_what_the_provider_refused_is_answered_402(stack: GatewayStack, paid: UUID) -> None:
    """A decline of the PSP's is told as one of a payment is."""
    key = uuid4()
    await ask(stack, paid, OperationKind.CAPTURE, key=key)
    take_in(stack, PaymentState.FAILED, failure_code="declined")
    answer = await ask(stack, paid, OperationKind.CAPTURE, key=key)
    assert (answer.status, answer.json["code"]) == (402, "declined")
    assert answer.json["instance"] == f"/v1/payments/{paid}"


async def test_a_request_may_wait_for_the_outcome(stack: GatewayStack, paid: UUID) -> None:
    """With Prefer: wait the answer is held until its owner reports the end."""
    asked = asyncio.create_task(
        ask(stack, paid, OperationKind.REFUND, {"amount": 5}, headers={"Prefer": "wait=5"})
    )
    async with asyncio.timeout(2):
        while not queued(stack):
            await asyncio.sleep(0.005)
    take_in(stack)
    answer = await asked
    assert (answer.status, answer.json["status"]) == (201, "succeeded")
    assert answer.headers["Preference-Applied"] == "wait=5"


@pytest.mark.parametrize("state", [None, PaymentState.PROCESSING])
async def test_a_payment_that_still_runs_is_not_operated_on(
    stack: GatewayStack, state: PaymentState | None
) -> None:
    """Nothing is kept, so the key can be used again once the payment has settled."""
    key = uuid4()
    await stack.pay(key)
    if state is not None:
        stack.take_in(state)
    answer = await ask(stack, key, OperationKind.REFUND)
    assert (answer.status, answer.code) == (409, "payment_in_progress")
    assert answer.json["retryable"] is True


async def test_an_unknown_payment_is_not_found(stack: GatewayStack) -> None:
    """Also one of another mode."""
    answer = await ask(stack, uuid4(), OperationKind.CAPTURE)
    assert (answer.status, answer.code) == (404, "payment_not_found")
    live = stack.issue_key(mode=Mode.LIVE)
    key = uuid4()
    await stack.pay(key)
    stack.take_in(PaymentState.SUCCEEDED)
    assert (await ask(stack, key, OperationKind.REFUND)).status == 202
    answer = await stack.request(
        "POST",
        f"/v1/payments/{key}/refunds",
        key=live,
        headers={"Idempotency-Key": str(uuid4())},
    )
    assert (answer.status, answer.code) == (404, "payment_not_found")


@pytest.mark.parametrize(
    ("kind", "document", "code", "param"),
    [
        (OperationKind.REFUND, {"amount": 0}, "amount_too_small", "$.amount"),
        (OperationKind.CAPTURE, {"amount": 2**53}, "amount_too_large", "$.amount"),
        (OperationKind.CAPTURE, {"amount": "1"}, "field_type_invalid", "$.amount"),
        (OperationKind.CAPTURE, {"reason": "x"}, "field_unknown", "$.reason"),
        (OperationKind.VOID, {"amount": 1}, "field_unknown", "$.amount"),
        (OperationKind.REFUND, {"reason": "x" * 501}, "reason_invalid", "$.reason"),
        (OperationKind.REFUND, {"reason": "a\0b"}, "text_invalid", "$.reason"),
        (OperationKind.REFUND, {"reason": "4111 1111 1111 1111"}, "pan_not_accepted", None),
        (OperationKind.REFUND, b"{", "json_invalid", "$"),
    ],
)
async def test_bad_bodies_are_refused(
    stack: GatewayStack,
    paid: UUID,
    kind: OperationKind,
    document: object,
    code: str,
    param: str | None,
) -> None:
    """A clear problem names the field and the rule, and nothing is queued."""
    answer = await ask(stack, paid, kind, document)
    assert (answer.code, answer.json.get("param")) == (code, param)
    assert queued(stack) == []


async def test_a_missing_key_is_refused(stack: GatewayStack, paid: UUID) -> None:
    """Whatever moves money needs a name to be repeated under."""
    answer = await stack.post(f"/v1/payments/{paid}/refunds", {})
    assert (answer.status, answer.code) == (400, "idempotency_key_missing")


async def test_a_payment_takes_so_many_operations(stack: GatewayStack) -> None:
    """Beyond the limit new ones are refused, and known ones are still replayed."""
    key, refund_key = uuid4(), uuid4()
    await stack.pay(key)
    (stored,) = stack.take_in(PaymentState.SUCCEEDED)
    await ask(stack, key, OperationKind.REFUND, {"amount": 5}, key=refund_key)
    take_in(stack)
    stack.queries.put(stored._replace(operation_count=OPERATIONS_MAX))
    answer = await ask(stack, key, OperationKind.REFUND, {"amount": 5})
    assert (answer.status, answer.code) == (422, "operations_exhausted")
    known = await ask(stack, key, OperationKind.REFUND, {"amount": 5}, key=refund_key)
    assert known.status == 201


async def test_refunds_are_listed_and_shown(stack: GatewayStack, paid: UUID) -> None:
    """A refund is found by its id, and among its payment's; nobody else sees it."""
    await ask(stack, paid, OperationKind.REFUND, {"amount": 5})
    stored = take_in(stack)
    refund_id = stored.view.operation_id
    shown = await stack.get(f"/v1/refunds/{refund_id}")
    assert (shown.status, shown.json["id"], shown.json["amount"]) == (200, refund_id, 5)
    listed = await stack.get(f"/v1/payments/{paid}/refunds?limit=1")
    assert listed.json == {"object": "list", "data": [shown.json], "has_more": False}
    after = await stack.get(f"/v1/payments/{paid}/refunds?starting_after={refund_id}")
    assert after.json["data"] == []
    for path, code in (
        (f"/v1/refunds/{refund_id}x", "refund_not_found"),
        (f"/v1/refunds/{operation_id('cp', 0, uuid4())}", "refund_not_found"),
        (f"/v1/refunds/{operation_id('rf', 0, uuid4())}", "refund_not_found"),
        (f"/v1/payments/{paid}/refunds?starting_after=rf_x", "parameter_invalid"),
        (
            f"/v1/payments/{paid}/refunds?starting_after={operation_id('rf', 0, uuid4())}",
            "parameter_invalid",
        ),
        (f"/v1/payments/{paid}/refunds?status=x", "parameter_unknown"),
        (f"/v1/payments/{uuid4()}/refunds", "payment_not_found"),
    ):
        assert (await stack.get(path)).code == code, path
    live = await stack.get(f"/v1/refunds/{refund_id}", key=stack.issue_key(mode=Mode.LIVE))
    assert live.code == "refund_not_found"
    # A refund of another payment is no place in this one's list.
    await stack.pay(other := uuid4())
    stack.take_in(PaymentState.SUCCEEDED)
    answer = await stack.get(f"/v1/payments/{other}/refunds?starting_after={refund_id}")
    assert (answer.status, answer.code) == (400, "parameter_invalid")


async def test_without_the_books_nothing_is_taken(stack: GatewayStack, paid: UUID) -> None:
    """Whether the payment allows it can't be told, so nothing is kept."""
    stack.queries.is_available = False
    answer = await ask(stack, paid, OperationKind.REFUND)
    assert (answer.status, answer.code) == (503, "store_unavailable")


async def test_a_payment_can_be_authorized_only(stack: GatewayStack) -> None:
    """The capture mode reaches the owner, and is part of the request that the key names."""
    key = uuid4()
    answer = await stack.pay(key, payment(capture="manual"))
    assert (answer.status, answer.json["capture"]) == (202, "manual")
    (command,) = stack.queued()
    assert command.captures_manually
    other = await stack.pay(key, payment(capture="automatic"))
    assert other.json["details"]["differs"] == ["capture"]


async def test_a_payment_shows_what_became_of_it(stack: GatewayStack, paid: UUID) -> None:
    """GET shows the present; the POST's answer stays as it froze."""
    order = await stack.queries.orders([stack.order_key(paid)])
    (stored,) = order.values()
    present = stored.view._replace(amount_refunded_minor=500)
    stack.queries.put(stored._replace(present=present))
    assert (await stack.get(f"/v1/payments/{paid}")).json["amount_refunded"] == 500
    assert (await stack.get("/v1/payments")).json["data"][0]["amount_refunded"] == 500
    assert (await stack.pay(paid)).json["amount_refunded"] == 0


async def test_a_refund_is_shown_from_its_acceptance_on(stack: GatewayStack, paid: UUID) -> None:
    """Before an owner has taken it in, as it was accepted; to its own merchant alone, and no capture by its id."""
    accepted = await ask(stack, paid, OperationKind.REFUND, {"amount": 5})
    assert accepted.status == 202
    path = accepted.headers["Location"]
    shown = await stack.get(path)
    assert (shown.status, shown.json) == (200, accepted.json)
    assert shown.json["status"] == "pending"
    stranger = await stack.get(path, key=stack.issue_key(mode=Mode.LIVE))
    assert (stranger.status, stranger.code) == (404, "refund_not_found")
    (refund,) = queued(stack)
    index, _ = stack.order_key(paid)
    capture = operation_id("rf", index, operation_uuid(refund.payment_uuid, "capture", UUID(int=5)))
    assert (await stack.get(f"/v1/refunds/{capture}")).status == 404
    stack.queries.is_available = False
    assert (await stack.get(path)).code == "store_unavailable"


async def test_a_queued_capture_is_no_refund(stack: GatewayStack, paid: UUID) -> None:
    """An id that is made of a capture's identity shows nothing."""
    await ask(stack, paid, OperationKind.CAPTURE, {"amount": 5})
    (capture,) = queued(stack)
    index, _ = stack.order_key(paid)
    path = f"/v1/refunds/{operation_id('rf', index, capture.operation_uuid)}"
    assert (await stack.get(path)).code == "refund_not_found"


def set_aside(stack: GatewayStack, *, is_discarded: bool = False) -> StoredOperation:
    """Have the one queued operation's message become a dead letter."""
    (command,) = queued(stack)
    index, _ = stack.order_key(command.payment_key)
    stored = set_aside_operation(
        {
            "operation_uuid": command.operation_uuid,
            "partition_index": index,
            "merchant_no": command.merchant_no,
            "mode": command.mode,
            "fingerprint": command.fingerprint,
            "accepted_at": command.accepted_at,
            "recorded_at": command.accepted_at if is_discarded else None,
            "api_version": API_VERSION,
        }
    )
    stack.queries.put_operation(stored, command.payment_uuid)
    return stored


@pytest.mark.parametrize("kind", ROUTES)
async def test_an_operation_whose_message_is_a_dead_letter_says_so(
    stack: GatewayStack, paid: UUID, kind: OperationKind
) -> None:
    """It is processing, under its own id, until an operator has discarded it: then it has failed, for ever."""
    key = uuid4()
    accepted = await ask(stack, paid, kind, {}, key=key)
    set_aside(stack)
    waiting = await ask(stack, paid, kind, {}, key=key)
    assert (waiting.status, waiting.json["status"]) == (202, "processing")
    assert (waiting.json["id"], waiting.json["payment"]) == (accepted.json["id"], str(paid))
    set_aside(stack, is_discarded=True)
    ended = [await ask(stack, paid, kind, {}, key=key) for _ in range(2)]
    assert {(each.status, each.json["code"]) for each in ended} == {(402, "order_discarded")}
    assert ended[0].body == ended[1].body
    assert ended[0].json[kind.wire]["id"] == accepted.json["id"]
    other = await ask(stack, paid, kind, {"amount": 3} if kind.moves_money else {}, key=key)
    assert other.json["code"] == (
        "idempotency_key_reused" if kind.moves_money else "order_discarded"
    )
    if kind is OperationKind.REFUND:
        shown = await stack.get(f"/v1/refunds/{accepted.json['id']}")
        assert (shown.status, shown.json["status"], shown.json["payment"]) == (200, "failed", None)
        assert shown.json["failure"]["code"] == "order_discarded"
