"""The record of a store's copies: durable, careful, and what a promotion rests on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.local.copies import (
    HISTORY_COUNT_MAX,
    CopiesFile,
    CopiesRecord,
    OneCopy,
    OwedAudit,
    Position,
    StoreEvent,
    choose,
)
from ops.local.faults import DataRefused, PromotionRefused

ACCEPTED = OneCopy(until="2026-11-26T12:00:00+00:00", actor="test")
IN_SYNC = CopiesRecord(primary=1, in_sync=[2], replication_id="abc")
WHOLE = Position(number=2, offset=10, replication_id="abc")


@pytest.fixture
def file(tmp_path: Path) -> CopiesFile:
    return CopiesFile(tmp_path / "record.json", "Store")


def test_a_new_store_knows_of_nobody(file: CopiesFile) -> None:
    """Without a record no copy is in sync."""
    assert file.read() == CopiesRecord()


def test_the_file_of_an_older_version_is_understood(file: CopiesFile) -> None:
    """A file that only names the primary keeps its meaning, and nobody is in sync by it."""
    file.path.write_text('{"primary": 2}\n')
    assert file.read() == CopiesRecord(primary=2)


@pytest.mark.parametrize("text", ["", "{", '{"primary": "two"}', "[" * 100_000])
def test_a_record_that_is_no_record_is_refused(file: CopiesFile, text: str) -> None:
    """Nobody guesses which copy leads."""
    file.path.write_text(text)
    with pytest.raises(DataRefused, match="which copy leads"):
        file.read()


def test_while_one_copy_is_accepted_nobody_becomes_in_sync(file: CopiesFile) -> None:
    """What is acknowledged then may be on the primary alone, however near the other is."""
    file.change(one_copy=ACCEPTED)
    file.mark_in_sync(primary=1, other=2)
    assert file.read().in_sync == []


def test_a_former_primary_is_given_up_until_nothing_is_left_of_it(file: CopiesFile) -> None:
    """A promotion, in one write, names the new primary and forgets who was in sync."""
    file.mark_in_sync(primary=1, other=2)
    file.hand_over(former=1, to=2)
    assert file.read() == CopiesRecord(primary=2, given_up=[1])
    assert file.is_given_up(1)
    file.take_back(1)
    assert not file.is_given_up(1)


def test_the_history_is_bounded(file: CopiesFile) -> None:
    """A night of crashes does not grow the record for ever."""
    for number in range(HISTORY_COUNT_MAX + 5):
        file.note(StoreEvent(at=str(number), what="restarted", node="n"))
    history = file.read().history
    assert len(history) == HISTORY_COUNT_MAX
    assert history[-1].at == str(HISTORY_COUNT_MAX + 4)


def test_the_copy_that_has_most_is_chosen() -> None:
    """Of several copies in sync the one with the highest position leads."""
    record = CopiesRecord(primary=1, in_sync=[2, 3])
    positions = [Position(number=2, offset=5), Position(number=3, offset=7)]
    assert choose(positions, record, is_forced=False).number == 3


@pytest.mark.parametrize(
    ("record", "position", "reason"),
    [
        (CopiesRecord(primary=1), WHOLE, "no other copy is known"),
        (IN_SYNC, Position(number=3, offset=99, replication_id="abc"), "no other copy is known"),
        (IN_SYNC, Position(number=2, offset=10, replication_id="xyz"), "no other copy is known"),
        (
            CopiesRecord(primary=1, in_sync=[2], replication_id="abc", one_copy=ACCEPTED),
            WHOLE,
            "one copy is accepted until 2026",
        ),
    ],
    ids=["never in sync", "another node", "another history", "one copy accepted"],
)
def test_a_copy_that_may_lack_something_is_not_chosen(
    record: CopiesRecord, position: Position, reason: str
) -> None:
    """Only what was in sync, with the same history, may lead; unless somebody forces it."""
    with pytest.raises(PromotionRefused, match=reason):
        choose([position], record, is_forced=False)
    assert choose([position], record, is_forced=True) is position


def test_too_few_copies_compared_choose_nobody() -> None:
    """k + m > n: a copy that can't be compared may hold what was acknowledged. No force helps."""
    with pytest.raises(PromotionRefused, match="0 of 1 copies"):
        choose([], IN_SYNC, is_forced=True)


def test_what_the_books_are_owed_is_kept_until_they_have_it(file: CopiesFile) -> None:
    """Neither another start nor a promotion forgets it, and each is taken off alone."""
    first, second = (
        OwedAudit(actor="test", action="stores.promote", detail={"at": at}) for at in ("1", "2")
    )
    file.owe(first)
    file.owe(second)
    file.hand_over(former=1, to=2)
    again = CopiesFile(file.path, "Store")
    assert again.read().audits_owed == [first, second]
    again.audited(first)
    assert file.read().audits_owed == [second]
