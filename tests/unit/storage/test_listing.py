"""Lists: how a filter becomes a statement's arguments, and rows become a page."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.defects import InvariantViolation
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.money import AMOUNT_MINOR_MAX
from payments.partitioning import PARTITION_COUNT_MAX
from storage.listing import ABOVE_ALL, Position, cut_page, page_arguments
from storage.read_ports import PAGE_COUNT_MAX, PaymentFilter

MOMENT = datetime(2026, 11, 1, tzinfo=UTC)


def test_no_filter_bounds_nothing_that_can_exist() -> None:
    """Without filters the bounds take in every time and amount that a payment can have."""
    asked = page_arguments(7, Mode.LIVE, PaymentFilter(), ABOVE_ALL)
    assert (asked.merchant_no, asked.mode) == (7, 2)
    assert asked.created_gte < MOMENT < asked.created_lt
    assert asked.amount_gte_minor <= 1
    assert asked.amount_lte_minor >= AMOUNT_MINOR_MAX
    assert (asked.currency, asked.metadata_json, asked.status) == (None, None, None)
    assert asked.row_count_max == 11


def test_every_filter_is_asked_for() -> None:
    """Each filter reaches the statement with its value, zero amounts included."""
    wanted = PaymentFilter(
        status="requires_action",
        currency="JPY",
        created_gte=MOMENT,
        created_lt=MOMENT.replace(day=2),
        amount_gte_minor=0,
        amount_lte_minor=0,
        metadata={"b": "2", "a": "1"},
        count_max=100,
    )
    asked = page_arguments(7, Mode.TEST, wanted, Position(MOMENT, 5, 3))
    assert asked == (
        7, 1, MOMENT, 5, 3, MOMENT, MOMENT.replace(day=2), 0, 0, "JPY", '{"a":"1","b":"2"}',
        PaymentState.REQUIRES_ACTION, 101,
    )  # fmt: skip


@given(
    order_no=st.integers(min_value=1, max_value=2**63 - 1),
    partition_index=st.integers(min_value=0, max_value=PARTITION_COUNT_MAX - 1),
)
def test_every_payment_is_below_the_first_position(order_no: int, partition_index: int) -> None:
    """A list without a cursor starts above every payment there can be."""
    assert Position(MOMENT, order_no, partition_index) < ABOVE_ALL


@given(rows=st.lists(st.integers(), max_size=30), count_max=st.integers(1, 30))
def test_a_page_is_the_nearest_rows_newest_first(rows: list[int], count_max: int) -> None:
    """A page holds the rows nearest to its cursor, turned newest first, and tells of further ones."""
    forwards, has_more = cut_page(rows, count_max, is_backwards=False)
    assert list(forwards) == rows[:count_max]
    assert has_more == (len(rows) > count_max)
    backwards, has_more = cut_page(rows, count_max, is_backwards=True)
    assert list(backwards) == rows[:count_max][::-1]
    assert has_more == (len(rows) > count_max)


def test_a_filter_that_can_not_be_meant_is_a_defect() -> None:
    """Two cursors, a page of no or too many payments, and a state that is none are refused."""
    with pytest.raises(InvariantViolation):
        PaymentFilter(starting_after=uuid4(), ending_before=uuid4())
    with pytest.raises(InvariantViolation):
        PaymentFilter(status="paid")
    for count_max in (0, PAGE_COUNT_MAX + 1):
        with pytest.raises(InvariantViolation):
            PaymentFilter(count_max=count_max)
