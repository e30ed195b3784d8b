"""I10 and I11: what is right passes, and each wrong hold or refund is found."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.checker.findings import Findings
from loadtest.checker.hold_checks import (
    charges_went_back_as_booked,
    each_hold_ends_once,
    refunds_never_exceed_captures,
)
from loadtest.checker.joined import Joined
from loadtest.checker.records import (
    ChargeRecord,
    EventRecord,
    OpenOrderRecord,
    OperationRecord,
    OrderRecord,
    OutcomeRecord,
    Records,
    TransferRecord,
)
from tests.unit.loadtest.planted import swapped


def outcome(order_no: int, status: str, moved_minor: int, *, batch: int) -> OutcomeRecord:
    return OutcomeRecord(
        *(0, order_no, batch, status, moved_minor, 0, "USD", 1, "psp", "ch_1"),
        *(None, None, None, None, 2, 0),
    )


def moved(order_no: int, kind: str, amount_minor: int, *, batch: int) -> TransferRecord:
    return TransferRecord(0, order_no, 1, batch, kind, 1, 2, amount_minor, "USD")


def told(order_no: int, *states: str) -> list[EventRecord]:
    return [
        EventRecord(0, order_no, sequence, sequence, f"payment_order.{state}")
        for sequence, state in enumerate(states, 1)
    ]


def happened(order_no: int, kind: str, *batches: int) -> list[EventRecord]:
    return [
        EventRecord(0, order_no, sequence, batch, f"{kind}.{name}")
        for sequence, (name, batch) in enumerate(
            zip(("created", "succeeded"), batches, strict=False), 1
        )
    ]


def records() -> Records:
    """Order 1 was authorized, captured in part, given back, and refunded in part; a refund is in flight."""
    order = ("m", "test", "key", "slr", 1_000, "USD", 0, "", "{}", 0)
    return Records(
        orders=[OrderRecord(0, 1, "uuid", *order)],
        operations=[
            OperationRecord(0, 2, "a", "capture", 1, 400),
            OperationRecord(0, 3, "b", "expiry", 1, 600),
            OperationRecord(0, 4, "c", "refund", 1, 150),
            OperationRecord(0, 5, "d", "refund", 1, 250),
        ],
        outcomes=[
            outcome(1, "requires_capture", 0, batch=2),
            outcome(2, "succeeded", 400, batch=3),
            outcome(3, "succeeded", 600, batch=4),
            outcome(4, "succeeded", 150, batch=5),
        ],
        open_orders=[OpenOrderRecord(0, 5, "processing", True, 1, False)],
        transfers=[
            moved(1, "authorization", 1_000, batch=2),
            moved(2, "capture", 400, batch=3),
            moved(3, "release", 600, batch=4),
            moved(4, "refund", 150, batch=5),
        ],
        events=[
            *told(1, "created", "requires_capture", "partially_captured", "succeeded"),
            *happened(2, "capture", 2, 3),
            *happened(3, "expiry", 3, 4),
            *happened(4, "refund", 4, 5),
            *happened(5, "refund", 5),
        ],
        charges=[
            ChargeRecord("psp", "ch_1", "k", "m", "key", 1_000, "USD", "captured", 400, 150, 0)
        ],
    )


def wrong(found_by: Any, given: Records) -> int:
    findings = Findings()
    found_by(Joined(given), findings)
    assert findings.checked
    return findings.violated


def test_a_hold_that_ends_once_is_right() -> None:
    """Captured in part and given back, refunded in part and once more in flight: all within what was held."""
    assert wrong(each_hold_ends_once, records()) == 0
    assert wrong(refunds_never_exceed_captures, records()) == 0


@pytest.mark.parametrize(
    ("table", "place", "row"),
    [
        ("transfers", 1, moved(2, "capture", 401, batch=3)),
        ("transfers", 2, moved(3, "release", 599, batch=4)),
        ("transfers", 2, moved(3, "release", 700, batch=4)),
        ("transfers", 2, moved(3, "capture", 600, batch=4)),
        ("transfers", 0, moved(1, "charge", 1_000, batch=2)),
        ("transfers", 0, moved(1, "authorization", 900, batch=2)),
        ("transfers", 3, moved(3, "authorization", 1_000, batch=5)),
        ("transfers", 2, moved(3, "release", 600, batch=2)),
        ("events", 3, EventRecord(0, 1, 4, 4, "payment_order.canceled")),
        ("events", 3, EventRecord(0, 1, 4, 4, "payment_order.partially_captured")),
    ],
)
def test_a_wrong_hold_is_found(table: str, place: int, row: Any) -> None:
    """Whatever is captured or given back beside the hold, twice, or too late, is found."""
    rows = [*getattr(records(), table)]
    rows[place] = row
    assert wrong(each_hold_ends_once, swapped(records(), **{table: rows}))


@pytest.mark.parametrize(
    ("table", "place", "row"),
    [
        ("operations", 3, OperationRecord(0, 5, "d", "refund", 1, 251)),
        ("transfers", 3, moved(4, "refund", 401, batch=5)),
        ("transfers", 3, moved(4, "refund", 150, batch=2)),
        ("outcomes", 3, outcome(4, "succeeded", 149, batch=5)),
        (
            "charges",
            0,
            ChargeRecord("psp", "ch_1", "k", "m", "key", 1_000, "USD", "captured", 400, 401, 0),
        ),
    ],
)
def test_a_refund_above_what_was_captured_is_found(table: str, place: int, row: Any) -> None:
    """At any time, in the books and at the PSP, those in flight included."""
    rows = [*getattr(records(), table)]
    rows[place] = row
    assert wrong(refunds_never_exceed_captures, swapped(records(), **{table: rows}))


def test_refunds_in_flight_count_while_they_are_in_flight() -> None:
    """Two refunds that were under way together, above what was captured, are found though both were refused."""
    given = records()
    operations = [
        row._replace(amount_minor=300) if row.order_no > 3 else row for row in given.operations
    ]
    outcomes = [row for row in given.outcomes if row.order_no != 4]
    refused = [outcome(number, "failed", 0, batch=7) for number in (4, 5)]
    changed = swapped(
        given,
        operations=operations,
        outcomes=[*outcomes, *refused],
        transfers=given.transfers[:3],
        open_orders=[],
    )
    assert wrong(refunds_never_exceed_captures, changed)


@pytest.mark.parametrize(
    ("refunded_minor", "captured_minor", "status", "violated"),
    [
        (150, 400, "captured", 0),
        (149, 400, "captured", 1),
        (151, 400, "captured", 1),
        (150, 0, "voided", 0),
        (150, 0, "authorized", 1),
    ],
)
def test_what_went_back_is_what_is_booked(
    refunded_minor: int, captured_minor: int, status: str, violated: int
) -> None:
    """What the PSP refunded, and whether it let go of the hold, is held against the books by charge."""
    charge = (
        records()
        .charges[0]
        ._replace(refunded_minor=refunded_minor, captured_minor=captured_minor, status=status)
    )
    assert wrong(charges_went_back_as_booked, swapped(records(), charges=[charge])) == violated


def test_a_charge_that_was_never_booked_as_held_may_be_voided() -> None:
    """An order that expired before its buyer acted cancels its key; what was asked of it then was refused."""
    charge = records().charges[0]._replace(refunded_minor=0, captured_minor=0, status="voided")
    given = swapped(
        records(),
        charges=[charge],
        outcomes=[outcome(1, "expired", 0, batch=2), outcome(4, "failed", 0, batch=3)],
        operations=[OperationRecord(0, 4, "c", "refund", 1, 150)],
        open_orders=[],
        transfers=[],
    )
    assert wrong(charges_went_back_as_booked, given) == 0
