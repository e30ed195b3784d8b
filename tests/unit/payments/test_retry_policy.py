"""The rules of trying again: each strategy, and its ends."""

from __future__ import annotations

from typing import Any

import pytest

from payments.open_order import OpenOrder
from payments.retry_policy import (
    RETRY_AFTER_S_MAX,
    UNKNOWN_SCHEDULE_MS,
    RetryPolicy,
    RetryRule,
    Strategy,
)
from tests.scenario import BookWorld, an_order


def tried(try_count: int, *, number: int = 1) -> OpenOrder:
    (order,) = BookWorld().post(an_order(number)).opened
    return order._replace(attempt=order.attempt._replace(try_count=try_count))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (RetryRule(strategy=Strategy.IMMEDIATE), [0, 0, 0]),
        (RetryRule(strategy=Strategy.FIXED, first_ms=70), [70, 70, 70]),
        (RetryRule(strategy=Strategy.INCREMENTAL, first_ms=70, max_ms=150), [70, 140, 150]),
        (RetryRule(strategy=Strategy.SCHEDULE, schedule_ms=(5, 9)), [5, 9, 9]),
        (RetryRule(strategy=Strategy.CANCEL), [0, 0, 0]),
    ],
)
def test_the_waits_of_each_strategy(rule: RetryRule, expected: list[int]) -> None:
    """After the first, the second and the third try."""
    assert [rule.wait_ms(tried(count)) for count in (1, 2, 3)] == expected


def test_exponential_waits_have_full_jitter() -> None:
    """Drawn from all below a ceiling that doubles, by the order and the try alone."""
    rule = RetryRule(strategy=Strategy.EXPONENTIAL, first_ms=200, max_ms=10_000)
    for try_count, ceiling_ms in ((1, 200), (2, 400), (3, 800), (20, 10_000), (10_000, 10_000)):
        waits = [rule.wait_ms(tried(try_count, number=number)) for number in range(60)]
        assert all(0 <= wait_ms <= ceiling_ms for wait_ms in waits)
        assert min(waits) < ceiling_ms / 4
        assert max(waits) > ceiling_ms * 3 / 4
        assert waits == [rule.wait_ms(tried(try_count, number=number)) for number in range(60)]


@pytest.mark.parametrize("retry_after_s", [float("inf"), float("nan"), -5.0, 0.0, 1e300, None])
def test_no_retry_after_breaks_the_wait(retry_after_s: float | None) -> None:
    """Whatever a PSP asks for, the wait is finite."""
    delay_ms = RetryPolicy().not_sent.wait_ms(tried(1), retry_after_s)
    assert 0 <= delay_ms <= RETRY_AFTER_S_MAX * 1000 + 1


def test_retry_after_is_honoured() -> None:
    """Never earlier than the PSP asked for, also where the rule's own longest wait is shorter."""
    assert RetryPolicy().not_sent.wait_ms(tried(1), 20.0) == 20_001
    assert RetryRule(strategy=Strategy.IMMEDIATE).wait_ms(tried(1), 2.0) == 2_001


def test_a_rule_is_over_by_count_or_by_age() -> None:
    """Whichever comes first; and cancel is over before it begins."""
    rule = RetryRule(strategy=Strategy.FIXED, first_ms=1, count_max=3, age_s_max=60)
    assert not rule.is_over(try_count=2, age_s=60)
    assert rule.is_over(try_count=3, age_s=0)
    assert rule.is_over(try_count=1, age_s=60.1)
    assert RetryRule(strategy=Strategy.CANCEL).is_over(try_count=0, age_s=0)


def test_an_unknown_outcome_is_looked_for_within_a_minute() -> None:
    """The defaults look four times in the first 40 s, and at last daily."""
    assert sum(UNKNOWN_SCHEDULE_MS[:4]) < 40_000
    assert UNKNOWN_SCHEDULE_MS[2:] == (5_000, 30_000, 300_000, 3_600_000, 86_400_000)


@pytest.mark.parametrize(
    "fields",
    [
        {"strategy": Strategy.FIXED, "first_ms": 10, "max_ms": 5},
        {"strategy": Strategy.FIXED, "first_ms": -1},
        {"strategy": Strategy.FIXED, "schedule_ms": (1,)},
        {"strategy": Strategy.SCHEDULE},
        {"strategy": Strategy.SCHEDULE, "schedule_ms": (5, -1)},
        {"strategy": Strategy.FIXED, "count_max": 0},
        {"strategy": Strategy.FIXED, "age_s_max": -1},
    ],
)
def test_rules_that_contradict_themselves_are_refused(fields: dict[str, Any]) -> None:
    """A rule is whole when it is made."""
    with pytest.raises(ValueError, match=r"must|schedule_ms"):
        RetryRule(**fields)
