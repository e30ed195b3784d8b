"""Charges of several sellers: right shares pass, and whoever gets another one is found."""

from __future__ import annotations

import pytest

from loadtest.checker.findings import Findings
from loadtest.checker.hold_checks import each_hold_ends_once
from loadtest.checker.joined import Joined
from loadtest.checker.records import (
    AccountRecord,
    DisputeRecord,
    EventRecord,
    OperationRecord,
    OrderRecord,
    OutcomeRecord,
    Records,
    SplitRecord,
    TransferRecord,
)
from loadtest.checker.split_checks import each_seller_has_its_share
from tests.unit.loadtest.planted import changed, swapped, without

RECEIVABLE, INCOME, A, B = 1, 2, 3, 4


def moved(
    order_no: int, step: int, batch: int, kind: str, debit: int, credit: int, minor: int
) -> TransferRecord:
    return TransferRecord(0, order_no, step, batch, kind, debit, credit, minor, "USD")


def records() -> Records:
    """Order 1 holds 667 for a and 333 for b; 400 are captured, the rest is given back, then 100 refunded."""
    states = ("created", "requires_capture", "partially_captured", "succeeded")
    return Records(
        orders=[OrderRecord(0, 1, "uuid", "m", "test", "key", "m", 1_000, "USD", 67, "", "{}", 0)],
        splits=[SplitRecord(0, 1, 0, "a", 667, 66), SplitRecord(0, 1, 1, "b", 333, 1)],
        operations=[
            OperationRecord(0, 2, "a", "capture", 1, 400),
            OperationRecord(0, 3, "b", "void", 1, 600),
            OperationRecord(0, 4, "c", "refund", 1, 100),
        ],
        outcomes=[
            OutcomeRecord(
                *(0, order_no, order_no + 1, status, minor, 0, "USD", 1, "psp", "ch_1"),
                *(None, None, None, None, 2, 0),
            )
            for order_no, status, minor in (
                (1, "requires_capture", 0),
                (2, "succeeded", 400),
                (3, "succeeded", 600),
                (4, "succeeded", 100),
            )
        ],
        events=[
            EventRecord(0, 1, number, number, f"payment_order.{state}")
            for number, state in enumerate(states, 1)
        ],
        accounts=[
            AccountRecord(0, RECEIVABLE, "m", "test", "psp_receivable", "psp", "USD"),
            AccountRecord(0, INCOME, "m", "test", "fee_income", "", "USD"),
            AccountRecord(0, A, "m", "test", "wallet", "a", "USD"),
            AccountRecord(0, B, "m", "test", "wallet", "b", "USD"),
        ],
        transfers=[
            moved(1, 1, 2, "authorization", RECEIVABLE, A, 667),
            moved(1, 2, 2, "authorization", RECEIVABLE, B, 333),
            moved(2, 1, 3, "capture", RECEIVABLE, A, 267),
            moved(2, 2, 3, "fee", A, INCOME, 26),
            moved(2, 3, 3, "capture", RECEIVABLE, B, 133),
            moved(3, 1, 4, "release", RECEIVABLE, A, 400),
            moved(3, 2, 4, "release", RECEIVABLE, B, 200),
            moved(4, 1, 5, "refund", A, RECEIVABLE, 67),
            moved(4, 2, 5, "refund", B, RECEIVABLE, 33),
        ],
    )


def wrong(given: Records) -> str:
    findings = Findings()
    each_seller_has_its_share(Joined(given), findings)
    assert findings.checked
    return findings.what


def test_shares_in_proportion_are_right() -> None:
    """Each share is its proportion to the minor unit, and the hold of both ends once."""
    assert wrong(records()) == ""
    findings = Findings()
    each_hold_ends_once(Joined(records()), findings)
    assert (findings.checked, findings.what) == (1, "")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"amount_minor": 668}, "has parts of"),
        ({"fee_minor": 67}, "has parts of"),
        ({"position": 2}, "has the parts"),
        ({"seller": "b"}, "two parts of one seller"),
        ({"order_no": 2}, "is not there"),
    ],
)
def test_parts_that_are_not_the_orders_are_found(changes: dict[str, object], told: str) -> None:
    """Parts sum to their order, each is another seller's, and none is missing."""
    given = records()
    rows = changed(given.splits, 0, **changes)
    assert told in wrong(swapped(given, splits=rows))


@pytest.mark.parametrize(
    ("places", "minors", "told"),
    [
        # One minor unit is the rounding's; two are another share.
        ((2, 4), (269, 131), "moved"),
        ((7, 8), (69, 31), "moved"),
        ((0, 1), (666, 334), "began with"),
        ((3,), (27,), "fee"),
        ((5, 6), (399, 201), "released"),
        ((8,), (134,), "moved"),
    ],
)
def test_another_share_is_found(
    places: tuple[int, ...], minors: tuple[int, ...], told: str
) -> None:
    """Sums that are right do not hide that one seller has what is another's."""
    given = records()
    rows = given.transfers
    for place, minor in zip(places, minors, strict=True):
        rows = changed(rows, place, amount_minor=minor)
    assert told in wrong(swapped(given, transfers=rows))


def test_a_share_that_is_missing_is_found() -> None:
    """A seller that got nothing has no row, and is missed."""
    given = records()
    assert "moved" in wrong(swapped(given, transfers=without(given.transfers, 4)))


def test_above_what_was_captured_nothing_goes_back() -> None:
    """Where a dispute may have taken from a refund's shares, the bounds hold all the same."""
    given = swapped(records(), disputes=[DisputeRecord(0, 5, 1, "won", 10)])
    uneven = changed(changed(given.transfers, 7, amount_minor=70), 8, amount_minor=30)
    assert wrong(swapped(given, transfers=uneven)) == ""
    above = changed(given.transfers, 8, amount_minor=134)
    assert "gave 134 back" in wrong(swapped(given, transfers=above))
