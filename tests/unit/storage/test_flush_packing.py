"""What can't be packed is a defect of its content. That the rest is read as it was: tests/contract."""

from __future__ import annotations

from datetime import datetime

import pytest

from payments.defects import ContentDefect, InvariantViolation
from payments.rows import AccountRow, EventRow, ProgressRow, TransferRow
from storage.binary_rows import word
from storage.flush_packing import FlushPacking, FlushRows, MemberOids

_PACKING = FlushPacking([MemberOids(1, 2)] * len(FlushRows._fields))
_NOTHING = FlushRows(*[()] * len(FlushRows._fields))
_PROGRESS = ProgressRow(1, 2, 3, False, 4, 5, None, None, None, None, None)


@pytest.mark.parametrize(
    "rows",
    [
        _NOTHING._replace(events=[EventRow(2**15, 2, 3, 4, 5, 6, 1)]),
        _NOTHING._replace(events=[EventRow(1, 2**63, 3, 4, 5, 6, 1)]),
        _NOTHING._replace(transfers=[TransferRow(1, 2, 3, 4, 5, 6, 7, 8, "\ud800")]),
        _NOTHING._replace(progress=[_PROGRESS._replace(next_retry_at=datetime(2026, 1, 1))]),  # noqa: DTZ001
    ],
    ids=["small", "big", "text", "time"],
)
def test_a_value_that_its_member_cannot_hold_is_a_defect_of_content(rows: FlushRows) -> None:
    """Also half of a character, and a time without a zone."""
    with pytest.raises(ContentDefect, match="can't be stored"):
        _PACKING.pack(rows)


def test_the_books_and_the_code_must_agree_on_the_kinds() -> None:
    """A type with another number of members is a defect when the lane opens, not a row read wrongly."""
    with pytest.raises(InvariantViolation, match="flush_books has 12 members"):
        FlushPacking([MemberOids(1, 2)] * 12)


def test_a_text_is_remembered_a_bounded_number_of_times() -> None:
    """Holders and references are as many as payments: they are not kept."""
    before = word.cache_info().currsize
    accounts = [AccountRow(1, 2, 3, 1, 4, f"seller-{number}", "USD") for number in range(500)]
    _PACKING.pack(_NOTHING._replace(accounts=accounts))
    assert word.cache_info().currsize <= before + 1
