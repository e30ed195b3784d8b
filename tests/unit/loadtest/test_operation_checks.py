"""Operations and checkouts by their own keys: what is right passes, and each thing that is wrong is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
import pytest

from loadtest.checker import checkout_checks, delivery_checks, operation_checks, session_checks
from loadtest.checker.derivation import checkout_id, checkout_uuid, operation_uuid, order_uuid
from loadtest.checker.findings import Findings, Subject
from loadtest.checker.joined import Joined
from loadtest.checker.records import (
    AccountRecord,
    AskedOrder,
    CheckoutOrderRecord,
    CheckoutRecord,
    ClientEvent,
    EventRecord,
    EventType,
    OperationRecord,
    OpKind,
    OrderRecord,
    OutcomeRecord,
    Records,
    RefusedRecord,
    TransferRecord,
)
from loadtest.checker.timeline import timeline_around
from tests.unit.loadtest.planted import changed, swapped

MERCHANT, MODE = "mrc_a", "test"
PAYMENT, DONE, REFUSED, CHECKOUT, ORDERED = (str(UUID(int=number)) for number in range(1, 6))
MS = 1_000_000

Check = Callable[[Joined, Findings], None]


def said(op: int, status: int, document: object, **values: Any) -> list[ClientEvent]:
    """One operation of a client, ten milliseconds after the one before."""
    body = msgspec.json.encode(document).decode()
    begin = ClientEvent(
        op=op,
        type=EventType.INVOKE,
        at_ns=op * 10 * MS,
        **{"kind": OpKind.REFUND, "merchant": MERCHANT, "mode": MODE, "payment": PAYMENT, **values},
    )
    is_ok = status < 300 or "refund" in body
    end = begin._replace(
        type=EventType.OK if is_ok else EventType.FAIL,
        at_ns=begin.at_ns + 5 * MS,
        status=status,
        body=body,
        body_sha256=body,
        is_replayed=op % 2 == 0,
    )
    return [begin, end]


def order(number: int, key: str, made: str) -> OrderRecord:
    identity = order_uuid(MERCHANT, MODE, key)
    return OrderRecord(
        *(0, number, identity, MERCHANT, MODE, key, "slr", 1_000, "USD", 0, made, "{}", 0)
    )


def outcome(number: int, status: str, moved_minor: int) -> OutcomeRecord:
    return OutcomeRecord(
        *(0, number, number, status, moved_minor, 0, "USD", 1, "psp", "ch"),
        *(None, None, None, None, 2, 0),
    )


def refund(number: int, key: str, made: str, amount_minor: int) -> OperationRecord:
    identity = operation_uuid(order_uuid(MERCHANT, MODE, PAYMENT), "refund", key)
    return OperationRecord(0, number, identity, "refund", 1, amount_minor, key, made)


def records() -> Records:
    """A refund that was done, one that was refused, and a checkout of one order; each was asked for twice."""
    done = {"id": "rf_b", "status": "succeeded", "amount": 300}
    refused = {"code": "refund_exceeds_captured", "refund": {"id": "rf_c", "amount": 900}}
    asked = (AskedOrder(ORDERED, 1_000, "USD", "f-order"),)
    checkout = {
        "id": checkout_id(MERCHANT, MODE, CHECKOUT),
        "is_payment_done": True,
        "orders": [{"id": ORDERED, "status": "succeeded"}],
    }
    placed = {"kind": OpKind.CHECKOUT, "key": CHECKOUT, "payment": "", "orders": asked}
    reused = {"code": "idempotency_key_reused"}
    return Records(
        history=[
            *said(1, 201, done, key=DONE, fingerprint="f-done"),
            *said(2, 201, done, key=DONE, fingerprint="f-done"),
            *said(3, 422, refused, key=REFUSED, fingerprint="f-refused"),
            *said(4, 422, refused, key=REFUSED, fingerprint="f-refused"),
            *said(5, 422, reused, key=DONE, fingerprint="f-other"),
            *said(7, 201, checkout, fingerprint="f-checkout", **placed),
            *said(8, 201, checkout, fingerprint="f-checkout", **placed),
            *said(9, 422, reused, fingerprint="f-other", **placed),
        ],
        orders=[order(1, PAYMENT, "f-payment"), order(4, ORDERED, "f-order")],
        operations=[refund(2, DONE, "f-done", 300), refund(3, REFUSED, "f-refused", 900)],
        outcomes=[
            outcome(1, "succeeded", 1_000),
            outcome(2, "succeeded", 300),
            outcome(3, "failed", 0),
            outcome(4, "succeeded", 1_000),
        ],
        checkouts=[
            CheckoutRecord(
                *(checkout_uuid(MERCHANT, MODE, CHECKOUT), MERCHANT, MODE, CHECKOUT, "f-checkout")
            )
        ],
        checkout_orders=[
            CheckoutOrderRecord(
                *(checkout_uuid(MERCHANT, MODE, CHECKOUT), ORDERED, 1_000, "USD", "f-order")
            )
        ],
    )


def violated(check: Check, given: Records) -> int:
    found = Findings()
    check(Joined(given), found)
    assert found.checked
    return found.violated


KEPT = operation_checks.acknowledged_operations_are_kept
ASKED = operation_checks.no_operation_without_a_request
ANSWERED = operation_checks.one_operation_one_answer
IDENTIFIED = operation_checks.operations_have_their_own_identity
KNOWN = operation_checks.operations_are_never_new_again
PLACED = checkout_checks.acknowledged_checkouts_are_kept
TOLD = checkout_checks.one_checkout_one_answer
REMEMBERED = checkout_checks.checkouts_are_never_new_again


@pytest.mark.parametrize(
    "check", [KEPT, ASKED, ANSWERED, IDENTIFIED, KNOWN, PLACED, TOLD, REMEMBERED]
)
def test_what_is_right_passes(check: Check) -> None:
    """Where each was done or refused once, repeats are replays, and others are refused, nothing is found."""
    assert violated(check, records()) == 0


@pytest.mark.parametrize(
    ("check", "table", "rows"),
    [
        (KEPT, "operations", records().operations[1:]),
        (KEPT, "operations", changed(records().operations, 0, fingerprint="f-other")),
        (KEPT, "operations", [*records().operations, records().operations[0]]),
        (ASKED, "operations", changed(records().operations, 0, fingerprint="f-third")),
        (ASKED, "operations", [*records().operations, refund(6, CHECKOUT, "f-done", 1)]),
        (ASKED, "history", records().history[4:]),
        (ANSWERED, "history", changed(records().history, 3, body_sha256="another")),
        (ANSWERED, "operations", changed(records().operations, 0, amount_minor=301)),
        (ANSWERED, "outcomes", changed(records().outcomes, 1, status="failed")),
        (ANSWERED, "outcomes", changed(records().outcomes, 2, status="succeeded")),
        (ANSWERED, "outcomes", [records().outcomes[0], *records().outcomes[2:]]),
        (IDENTIFIED, "operations", changed(records().operations, 0, operation_uuid="other")),
        (IDENTIFIED, "operations", [*records().operations, refund(6, DONE, "f-done", 300)]),
        (KNOWN, "history", changed(records().history, 3, is_replayed=False)),
        (PLACED, "checkouts", []),
        (PLACED, "checkouts", changed(records().checkouts, 0, fingerprint="f-other")),
        (PLACED, "checkouts", changed(records().checkouts, 0, checkout_uuid="other")),
        (PLACED, "checkout_orders", []),
        (PLACED, "checkout_orders", changed(records().checkout_orders, 0, amount_minor=1)),
        (PLACED, "orders", records().orders[:1]),
        (PLACED, "orders", changed(records().orders, 1, fingerprint="f-other")),
        (TOLD, "history", changed(records().history, 11, body='{"id":"co_other"}')),
        (REMEMBERED, "history", changed(records().history, 13, is_replayed=False)),
    ],
)
def test_what_is_wrong_is_found(check: Check, table: str, rows: list[Any]) -> None:
    """Lost, doubled, changed, forgotten or told in two ways: each is found by its own check."""
    assert violated(check, swapped(records(), **{table: rows}))


def test_another_request_that_is_answered_is_found() -> None:
    """Under a key that the books hold for one request, the other one must not get its answer."""
    history = [each._replace(fingerprint="f-other") for each in records().history[:2]]
    assert violated(ANSWERED, swapped(records(), history=history))


def test_a_refusal_without_another_request_is_found() -> None:
    """A key that was only ever used with one request is never refused as reused."""
    history = [each._replace(fingerprint="f-done") for each in records().history[8:10]]
    assert violated(ANSWERED, swapped(records(), history=history))


@pytest.mark.parametrize("states", [["succeeded", "failed"], ["processing"]])
def test_a_checkout_that_sums_up_wrongly_is_found(states: list[str]) -> None:
    """is_payment_done says that all orders are paid, and nothing else."""
    body = {
        "id": checkout_id(MERCHANT, MODE, CHECKOUT),
        "is_payment_done": True,
        "orders": [{"status": state} for state in states],
    }
    told = msgspec.json.encode(body).decode()
    history = changed(records().history, 11, body=told, body_sha256=told)
    assert violated(TOLD, swapped(records(), history=history))


def test_a_late_refusal_is_told_by_the_books() -> None:
    """With a deferred key check an answer may lose to another request, as long as the books say so."""
    deferred = changed(records().history, 1, is_deferred=True)
    other = changed(records().operations, 0, fingerprint="f-other")
    given = swapped(records(), history=deferred[:2], operations=other)
    assert violated(KEPT, given) == 1
    refused = [RefusedRecord(other[0].operation_uuid, "f-done")]
    assert violated(KEPT, swapped(given, refused=refused)) == 0


def test_events_of_operations_are_delivered_as_well() -> None:
    """A refund's event belongs to its payment's merchant: where it never came, I18 finds that."""
    told = EventRecord(0, 2, 1, 2, "refund.created")
    name = delivery_checks.event_id(told)
    given = swapped(records(), events=[told], webhooks={(MERCHANT, MODE): frozenset({name})})
    assert violated(delivery_checks.every_event_is_delivered, given) == 0
    lost = swapped(given, webhooks={(MERCHANT, MODE): frozenset[str]()})
    assert violated(delivery_checks.every_event_is_delivered, lost) == 1


def test_a_counter_example_tells_of_the_operation() -> None:
    """Around a lost refund stand what its client asked, and what the books hold of it."""
    given = swapped(records(), operations=changed(records().operations, 0, fingerprint="f-other"))
    lines = timeline_around(Joined(given), Subject(key=(MERCHANT, MODE, PAYMENT)))
    texts = "\n".join(line.text for line in lines)
    assert f"refund {MERCHANT} {DONE} sent" in texts
    assert "refund (0, 2) of (0, 1): 300" in texts
    assert "(0, 2) ended succeeded" in texts


def seen(op: int, kind: OpKind, status: str) -> list[ClientEvent]:
    """A payment's own request, and the state that its answer shows."""
    return said(op, 201, {"id": PAYMENT, "status": status}, kind=kind, key=PAYMENT, payment="")


def test_an_answer_that_froze_when_the_payment_was_held_is_no_step_back() -> None:
    """Its POST shows requires_capture for ever; a GET that shows it after the end is one."""
    history = [
        *seen(1, OpKind.POST, "requires_capture"),
        *seen(2, OpKind.GET, "succeeded"),
        *seen(3, OpKind.POST, "requires_capture"),
    ]
    given = swapped(records(), history=history)
    assert violated(session_checks.real_time_is_kept, given) == 0
    back = swapped(records(), history=[*history, *seen(4, OpKind.GET, "requires_capture")])
    assert violated(session_checks.real_time_is_kept, back) == 1


@pytest.mark.parametrize(("refunded_from", "found"), [("slr", 0), ("other", 1)])
def test_only_wallets_that_gave_something_back_may_fall(refunded_from: str, found: int) -> None:
    """A wallet of which nothing was refunded still only rises, whatever others did."""
    history = [
        event
        for op, minor in ((1, 500), (2, 400))
        for event in said(
            *(op, 200, {"balances": [{"currency": "USD", "posted": minor}]}),
            kind=OpKind.WALLET,
            key="slr",
            payment="",
        )
    ]
    accounts = [
        AccountRecord(0, number, MERCHANT, MODE, kind, holder, "USD")
        for number, kind, holder in (
            (1, "wallet", refunded_from),
            (2, "psp_receivable", "psp"),
        )
    ]
    moved = [TransferRecord(0, 2, 1, 2, "refund", 1, 2, 100, "USD")]
    given = swapped(records(), history=history, accounts=accounts, transfers=moved)
    findings = Findings()
    session_checks.real_time_is_kept(Joined(given), findings)
    assert findings.violated == found
