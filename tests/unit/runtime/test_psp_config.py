"""What the configuration says of PSPs: rules that fit together, and are what owners decide by."""

from __future__ import annotations

import tomllib

import msgspec
import pytest

from payments.retry_policy import RetryPolicy, RetryRule, Strategy
from runtime.psp_config import BreakerConfig, PspConfig, RetryConfig


def test_without_a_word_the_policy_is_the_domain_s_own() -> None:
    """There is one place where the defaults are."""
    assert RetryConfig().policy() == RetryPolicy()


def test_a_rule_of_the_file_is_the_owner_s_rule() -> None:
    """Each key of a table has its effect, and the other rules stay as they are."""
    text = """
    fallback_tries = 1
    soft_decline_codes = ["do_not_honor"]
    [unknown]
    strategy = "schedule"
    schedule_ms = [1, 2]
    count_max = 7
    age_s_max = 8
    [not_sent]
    strategy = "incremental"
    first_ms = 3
    max_ms = 4
    """
    policy = msgspec.convert(tomllib.loads(text), RetryConfig).policy()
    assert policy.unknown == RetryRule(
        strategy=Strategy.SCHEDULE, schedule_ms=(1, 2), count_max=7, age_s_max=8
    )
    assert policy.not_sent == RetryRule(strategy=Strategy.INCREMENTAL, first_ms=3, max_ms=4)
    assert policy.psp_down == RetryPolicy().psp_down
    assert (policy.fallback_tries, policy.soft_decline_codes) == (
        1,
        frozenset({"do_not_honor"}),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('unknown = {strategy = "schedule"}', "schedule_ms"),
        ('not_sent = {strategy = "fixed", first_ms = 5, max_ms = 1}', "max_ms=1"),
        ('not_sent = {strategy = "often"}', "often"),
        ("not_sent = {first_ms = 5}", "strategy"),
        ("attempts_max = 0", "attempts_max"),
    ],
)
def test_rules_that_don_t_fit_are_refused(text: str, reason: str) -> None:
    """The message names the key, before anything starts."""
    with pytest.raises(msgspec.ValidationError, match=reason):
        msgspec.convert(tomllib.loads(text), RetryConfig)


@pytest.mark.parametrize(
    "fields",
    [{"calls_min": 60}, {"open_ms": 70_000}, {"failure_share": 0.0}, {"streak_s": 0.0}],
)
def test_a_breaker_that_never_opens_is_refused(fields: dict[str, float]) -> None:
    """Limits that contradict each other would switch it off unseen."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(fields, BreakerConfig)


def test_a_psp_has_the_hosts_limits_unless_it_has_its_own() -> None:
    """0 stands for the figure of all."""
    psp = msgspec.convert({"name": "a", "charge_timeout_ms": 700}, PspConfig)
    assert (psp.charge_timeout_ms, psp.query_timeout_ms, psp.calls_in_flight_max) == (700, 0, 0)
