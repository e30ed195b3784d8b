"""The chain: no row can be altered, removed, added or moved to another batch unnoticed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from payments.chain import GENESIS, HASH_BYTES, extend
from payments.rows import OutcomeRow, TransferRow

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
OUTCOMES = [
    OutcomeRow(3, n, 7, 5, 900 + n, 30, "EUR", 1, "psp", f"ch_{n}", None, None, None, AT, 2)
    for n in (1, 2)
] + [OutcomeRow(3, 4, 7, 7, 0, 30, "EUR", 1, "psp", None, "declined", "x", "No.", None, 2)]
TRANSFERS = [
    TransferRow(3, n, step, 7, step, 1, 2, 900 + step, "EUR") for n in (1, 2) for step in (1, 2)
]


def head_of(
    outcomes: Sequence[OutcomeRow] = OUTCOMES, transfers: Sequence[TransferRow] = TRANSFERS
) -> bytes:
    return extend(GENESIS, 3, 7, outcomes, transfers)


def test_the_form_is_fixed() -> None:
    """The head of a known batch never changes: it is what auditors recompute."""
    assert len(head_of()) == HASH_BYTES
    assert head_of() == head_of(OUTCOMES[::-1], TRANSFERS[::-1])


# The chain is of one partition and batch, so those columns are in the head and not in each row.
@pytest.mark.parametrize("name", [*OutcomeRow._fields[3:], "order_no"])
def test_an_altered_outcome_shows(name: str) -> None:
    """Each column of an outcome is in the head, empty or not."""
    for position, row in enumerate(OUTCOMES):
        value = getattr(row, name)
        other: object = "EUX" if name == "currency" else f"{value or ''}y"
        if isinstance(value, int):
            other = value + 10
        elif name == "effective_at":
            other = AT + timedelta(microseconds=1)
        columns = {**row._asdict(), name: other}
        altered = [*OUTCOMES[:position], OutcomeRow(**columns), *OUTCOMES[position + 1 :]]
        assert head_of(altered) != head_of()


@pytest.mark.parametrize(
    "name",
    [n for n in TransferRow._fields if n not in ("partition_index", "batch_seq", "currency")],
)
def test_an_altered_transfer_shows(name: str) -> None:
    """Each column of a transfer is in the head."""
    row = TRANSFERS[0]
    altered = row._replace(**{name: getattr(row, name) + 10})
    assert head_of(transfers=[altered, *TRANSFERS[1:]]) != head_of()


def test_a_missing_or_added_row_shows() -> None:
    """No row can be left out or slipped in, and none becomes one of the other kind."""
    heads = {head_of(), head_of(OUTCOMES[1:]), head_of(transfers=TRANSFERS[1:]), head_of([], [])}
    heads.add(head_of(transfers=[*TRANSFERS, TransferRow(3, 9, 1, 7, 1, 1, 2, 5, "EUR")]))
    assert len(heads) == 5


def test_batches_can_not_change_places() -> None:
    """A head depends on partition, batch and everything before."""
    first = extend(GENESIS, 3, 7, OUTCOMES[:1], [])
    there = extend(first, 3, 8, OUTCOMES[1:], [])
    back = extend(extend(GENESIS, 3, 7, OUTCOMES[1:], []), 3, 8, OUTCOMES[:1], [])
    assert there != back
    assert extend(GENESIS, 4, 7, OUTCOMES, TRANSFERS) != head_of()
    assert extend(GENESIS, 3, 8, OUTCOMES, TRANSFERS) != head_of()


def test_texts_do_not_run_together() -> None:
    """Moving a character from one text to the next, or None to empty, changes the head."""
    row = OUTCOMES[2]
    texts = [("ab", "c"), ("a", "bc"), ("abc", ""), ("abc", None)]
    heads = {head_of([row._replace(failure_code=a, decline_code=b)]) for a, b in texts}
    assert len(heads) == len(texts)
