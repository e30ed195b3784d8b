"""Attempts: clean only while proven, tainted for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.attempts import Attempt, PspAnswer, ResultClass

AT = datetime(2026, 11, 23, tzinfo=UTC)
CLEAN = Attempt(
    attempt_no=1,
    psp="psp",
    psp_account="main",
    psp_key="key",
    request=b"{}",
    epoch=4,
    created_at=AT,
    is_tainted=False,
)


@given(st.lists(st.sampled_from(ResultClass), max_size=8))
def test_taint_never_washes_off(results: list[ResultClass]) -> None:
    """After one try that was not proven unsent an attempt is tainted, whatever follows."""
    attempt = CLEAN
    for count, result in enumerate(results, start=1):
        attempt = attempt.after_try(result)
        assert attempt.try_count == count
        proven = all(earlier is ResultClass.NOT_SENT for earlier in results[:count])
        assert attempt.is_clean_for(4) == proven


def test_an_inherited_attempt_is_tainted() -> None:
    """Of what an earlier owner did with its attempt nothing is known; another epoch is never clean."""
    fixed = {
        name: getattr(CLEAN, name)
        for name in ("attempt_no", "psp", "psp_account", "psp_key", "request", "epoch")
    }
    assert not Attempt.inherited(**fixed, created_at=AT).is_clean_for(4)
    assert not CLEAN.is_clean_for(5)


def test_what_ends_an_attempt() -> None:
    """Only an approval, a final decline or a confirmed cancellation is definitive."""
    assert {result for result in ResultClass if result.is_definitive} == {
        ResultClass.APPROVED,
        ResultClass.DECLINED_FINAL,
        ResultClass.CANCELED,
    }


@given(st.text(max_size=20), st.text(max_size=20), st.datetimes())
def test_a_storable_answer_has_only_what_postgres_takes(text: str, url: str, at: datetime) -> None:
    """No zero character, no lone surrogate, no time without a zone; a proper answer is unchanged."""
    answer = PspAnswer(
        result=ResultClass.APPROVED,
        reference=text,
        decline_code=text,
        message=text,
        next_action_url=url,
        effective_at=at,
    ).storable()
    for kept in (answer.reference, answer.decline_code, answer.message, answer.next_action_url):
        assert kept is not None
        assert "\0" not in kept
        kept.encode()
    assert answer.effective_at is None
    proper = answer._replace(effective_at=AT)
    assert proper.storable() == proper


@pytest.mark.parametrize("hours", [-14, 0, 14])
@pytest.mark.parametrize(("year", "inward"), [(1, 1), (9999, -1)])
def test_a_time_at_the_end_of_the_calendar_is_left_out(year: int, inward: int, hours: int) -> None:
    """In UTC it may have no date, or stand for no end of time: a year from there it is as good as any."""
    edge = AT.replace(year=year, tzinfo=timezone(timedelta(hours=hours)))
    answer = PspAnswer(result=ResultClass.APPROVED, effective_at=edge)
    assert answer.storable().effective_at is None
    proper = answer._replace(effective_at=edge.replace(year=year + inward))
    assert proper.storable() == proper
