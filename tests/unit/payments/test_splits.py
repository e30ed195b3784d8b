"""One charge shared among sellers: exact in sum, and nobody gives back more than it got."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.defects import InvariantViolation
from payments.money import AMOUNT_MINOR_MAX
from payments.splits import (
    SPLITS_MAX,
    SPLITS_MIN,
    Split,
    SplitStanding,
    after_capture,
    after_dispute,
    after_refund,
    after_won,
    dispute_shares_minor,
    shares_minor,
    splits_refusal,
)

# Small amounts make many ties and units over; large ones find arithmetic that is not in integers.
_AMOUNTS = st.one_of(st.integers(1, 7), st.integers(1, AMOUNT_MINOR_MAX // SPLITS_MAX))


@st.composite
def _splits(draw: st.DrawFn) -> list[Split]:
    amounts = draw(st.lists(_AMOUNTS, min_size=SPLITS_MIN, max_size=SPLITS_MAX))
    return [
        Split(seller_no, amount_minor, draw(st.integers(0, amount_minor)))
        for seller_no, amount_minor in enumerate(amounts, 1)
    ]


@given(st.lists(st.integers(0, AMOUNT_MINOR_MAX), min_size=1, max_size=SPLITS_MAX), st.data())
def test_shares_are_exact_bounded_and_proportional(left: list[int], data: st.DataObject) -> None:
    """The shares sum to the amount, none is above what is left, and each is within one of its quota."""
    amount_minor = data.draw(st.integers(0, sum(left)))
    shares = shares_minor(amount_minor, left)
    assert sum(shares) == amount_minor
    assert all(0 <= share <= had for share, had in zip(shares, left, strict=True))
    for share, had in zip(shares, left, strict=True):
        # |share - amount * had / sum| < 1, in integers.
        assert abs(share * sum(left) - amount_minor * had) < max(sum(left), 1)


def test_units_over_go_to_the_largest_remainders_the_earlier_first() -> None:
    """The rule by example: 10 of 100 over 55, 25, 20 and a tie of three."""
    assert shares_minor(10, [55, 25, 20]) == [6, 2, 2]
    assert shares_minor(1, [5, 5, 5]) == [1, 0, 0]
    assert shares_minor(0, [0, 0]) == [0, 0]


@pytest.mark.parametrize(("amount_minor", "left"), [(-1, [1, 1]), (3, [1, 1]), (1, [-1, 3])])
def test_what_is_not_there_is_not_shared(amount_minor: int, left: list[int]) -> None:
    """An amount below nothing or above what is left is a defect of the caller, told as one."""
    with pytest.raises(InvariantViolation, match="cannot be taken"):
        shares_minor(amount_minor, left)


@given(_splits(), st.data())
def test_any_sequence_keeps_every_seller_whole(splits: list[Split], data: st.DataObject) -> None:
    """Over any captures and refunds the shares sum up, no seller goes below zero, and the end is exact."""
    standings = [SplitStanding(split) for split in splits]
    for _ in range(data.draw(st.integers(0, 8))):
        if data.draw(st.booleans()):
            held_minor = sum(standing.held_minor for standing in standings)
            standings = _captured(standings, data.draw(st.integers(0, held_minor)))
        else:
            refundable_minor = sum(standing.refundable_minor for standing in standings)
            standings = _refunded(standings, data.draw(st.integers(0, refundable_minor)))
    standings = _captured(standings, sum(standing.held_minor for standing in standings))
    assert [standing.captured_minor for standing in standings] == [s.amount_minor for s in splits]
    assert [standing.fee_taken_minor for standing in standings] == [s.fee_minor for s in splits]
    standings = _refunded(standings, sum(standing.refundable_minor for standing in standings))
    assert [standing.refunded_minor for standing in standings] == [s.amount_minor for s in splits]


def _captured(standings: list[SplitStanding], amount_minor: int) -> list[SplitStanding]:
    after = list(after_capture(standings, amount_minor))
    shares = [
        new.captured_minor - old.captured_minor for old, new in zip(standings, after, strict=True)
    ]
    assert sum(shares) == amount_minor
    for old, new, share in zip(standings, after, shares, strict=True):
        # A fee never takes back what an earlier capture gave, nor more than its own capture brings.
        assert 0 <= new.fee_taken_minor - old.fee_taken_minor <= share
        assert 0 <= share <= old.held_minor
    return after


def _refunded(standings: list[SplitStanding], amount_minor: int) -> list[SplitStanding]:
    after = list(after_refund(standings, amount_minor))
    assert sum(new.refunded_minor for new in after) == amount_minor + sum(
        old.refunded_minor for old in standings
    )
    assert all(
        new.refunded_minor >= old.refunded_minor for old, new in zip(standings, after, strict=True)
    )
    assert all(0 <= new.refunded_minor <= new.captured_minor for new in after)
    return after


@given(_splits(), st.data())
def test_disputes_end_where_they_began_and_leave_refunds_possible(
    splits: list[Split], data: st.DataObject
) -> None:
    """Disputes may be above what is left, and be won in any order; refunds fit in between all the same."""
    standings = _captured([SplitStanding(split) for split in splits], sum(s[1] for s in splits))
    captured_minor = sum(standing.captured_minor for standing in standings)
    open_disputes: list[list[int]] = []
    refunded_minor = disputed_minor = 0
    for _ in range(data.draw(st.integers(1, 8))):
        match data.draw(st.sampled_from(["dispute", "refund", "late refund", "won"])):
            case "dispute":
                shares = dispute_shares_minor(standings, data.draw(st.integers(1, captured_minor)))
                assert min(shares) >= 0
                open_disputes.append(shares)
                standings = list(after_dispute(standings, shares))
                disputed_minor += sum(shares)
            case "won" if open_disputes:
                at = data.draw(st.integers(0, len(open_disputes) - 1))
                shares = open_disputes.pop(at)
                standings = list(after_won(standings, shares))
                disputed_minor -= sum(shares)
            case "late refund":
                # It was on its way before a dispute took what it gives back.
                amount_minor = data.draw(st.integers(0, captured_minor - refunded_minor))
                standings = _refunded(standings, amount_minor)
                refunded_minor += amount_minor
            case _:
                # What the payment as a whole lets through, whoever of its sellers is below zero.
                left_minor = max(0, captured_minor - refunded_minor - disputed_minor)
                amount_minor = data.draw(st.integers(0, left_minor))
                standings = _refunded(standings, amount_minor)
                refunded_minor += amount_minor
    for shares in open_disputes:
        standings = list(after_won(standings, shares))
    assert all(standing.disputed_minor == 0 for standing in standings)
    assert sum(standing.refunded_minor for standing in standings) == refunded_minor


def test_a_dispute_above_what_is_left_is_shared_by_the_parts() -> None:
    """By example: 60 and 40, of which 50 went back; a dispute of 70 takes the 50 left and 20 more."""
    standings = [SplitStanding(Split(1, 60, 0), 60, 30), SplitStanding(Split(2, 40, 0), 40, 20)]
    assert dispute_shares_minor(standings, 70) == [30 + 12, 20 + 8]


def test_a_refund_that_a_dispute_overtook_is_shared_by_what_was_got() -> None:
    """By example: 60 and 40, of which 70 are disputed; a refund of 50 takes the 30 left and 20 more."""
    standings = [SplitStanding(Split(1, 60, 0), 60), SplitStanding(Split(2, 40, 0), 40)]
    disputed = after_dispute(standings, dispute_shares_minor(standings, 70))
    assert [each.disputed_minor for each in disputed] == [42, 28]
    assert [each.refunded_minor for each in after_refund(disputed, 50)] == [18 + 12, 12 + 8]


@given(_splits())
def test_what_sums_up_is_accepted_and_one_unit_off_is_not(splits: list[Split]) -> None:
    """Splits stand for the amount they sum to, and for no other."""
    amount_minor = sum(split.amount_minor for split in splits)
    assert splits_refusal(splits, amount_minor) is None
    for other_minor in (amount_minor - 1, amount_minor + 1):
        refusal = splits_refusal(splits, other_minor)
        assert refusal is not None
        assert refusal.path == "$.splits"
        assert str(other_minor) in refusal.reason


@pytest.mark.parametrize(
    ("splits", "path"),
    [
        ([Split(1, 10, 0)], "$.splits"),
        ([Split(n, 1, 0) for n in range(SPLITS_MAX + 1)], "$.splits"),
        ([Split(1, 10, 0), Split(2, 0, 0)], "$.splits[1].amount"),
        ([Split(1, 10, 11), Split(2, 10, 0)], "$.splits[0].fee"),
        ([Split(1, 10, -1), Split(2, 10, 0)], "$.splits[0].fee"),
        ([Split(1, 10, 0), Split(1, 10, 0)], "$.splits[1].seller"),
    ],
)
def test_a_refusal_names_the_field(splits: list[Split], path: str) -> None:
    """Each rule is told with the place that breaks it."""
    refusal = splits_refusal(splits, sum(split.amount_minor for split in splits))
    assert refusal is not None
    assert refusal.path == path
