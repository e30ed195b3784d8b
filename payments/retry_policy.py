"""When to try again, as data: one rule for each class of failure.

What a rule reads (the number of tries, the age) is in rows, so a new owner goes on where the former
one was. Jitter is drawn from the order's own id: the same order at the same try waits as long
wherever it is decided.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

from payments.open_order import OpenOrder

# A PSP that asks for more is looked at again after an hour: it may have meant milliseconds.
RETRY_AFTER_S_MAX = 3_600.0

DAY_S = 86_400
DAY_MS = DAY_S * 1_000

# Beyond it doubling has reached any ceiling there may be.
_DOUBLINGS_MAX = 24


class Strategy(StrEnum):
    """How the waits of one rule follow each other."""

    IMMEDIATE = "immediate"
    FIXED = "fixed"
    INCREMENTAL = "incremental"
    """One ``first_ms`` more with each try."""
    EXPONENTIAL = "exponential"
    """The ceiling doubles with each try; the wait is drawn from all of it (full jitter)."""
    SCHEDULE = "schedule"
    """The waits of ``schedule_ms`` one after the other; the last one repeats."""
    CANCEL = "cancel"
    """Not again: a clean attempt ends its order; a tainted one has its key canceled at the PSP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """One rule. Raises ValueError where its fields don't fit together."""

    strategy: Strategy
    first_ms: int = 0
    """The first wait, each wait, or each step, as the strategy says."""
    max_ms: int = DAY_MS
    """The longest wait of its own; a PSP's Retry-After may ask for more."""
    schedule_ms: tuple[int, ...] = ()
    count_max: int = 100_000
    """Tries, after which the rule is over."""
    age_s_max: int = DAY_S
    """Seconds since the order's first try here, after which the rule is over."""

    def __post_init__(self) -> None:
        if self.first_ms < 0 or self.max_ms < self.first_ms:
            raise ValueError(
                f"max_ms={self.max_ms} must not be below first_ms={self.first_ms} >= 0"
            )
        if (self.strategy is Strategy.SCHEDULE) != bool(self.schedule_ms):
            raise ValueError("schedule_ms belongs to the strategy schedule, and to no other")
        if any(wait_ms < 0 for wait_ms in self.schedule_ms):
            raise ValueError("schedule_ms holds a wait below zero")
        if self.count_max < 1 or self.age_s_max < 0:
            raise ValueError("count_max must be at least 1, and age_s_max not below zero")

    def wait_ms(self, order: OpenOrder, retry_after_s: float | None = None) -> int:
        """The wait after the order's present number of tries, never shorter than the PSP asked for."""
        try_count = max(order.attempt.try_count, 1)
        own = min(self._own_ms(order, try_count), max(self.max_ms, 0))
        asked_for = 0
        if retry_after_s is not None and retry_after_s > 0:
            # Rounded up: a try a fraction of a millisecond early would be refused again.
            asked_for = int(min(retry_after_s, RETRY_AFTER_S_MAX) * 1000) + 1
        return max(own, asked_for)

    def _own_ms(self, order: OpenOrder, try_count: int) -> int:
        match self.strategy:
            case Strategy.IMMEDIATE | Strategy.CANCEL:
                return 0
            case Strategy.FIXED:
                return self.first_ms
            case Strategy.INCREMENTAL:
                return self.first_ms * try_count
            case Strategy.EXPONENTIAL:
                ceiling_ms = min(self.first_ms << min(try_count - 1, _DOUBLINGS_MAX), self.max_ms)
                return _draw(order, try_count) % (ceiling_ms + 1)
            case Strategy.SCHEDULE:
                return self.schedule_ms[min(try_count, len(self.schedule_ms)) - 1]

    def is_over(self, *, try_count: int, age_s: float) -> bool:
        """Whether nothing may be tried under this rule any more."""
        is_spent = try_count >= self.count_max or age_s > self.age_s_max
        return self.strategy is Strategy.CANCEL or is_spent


def _draw(order: OpenOrder, try_count: int) -> int:
    attempt_no = order.attempt.attempt_no
    seed = order.command.order_uuid.bytes + (attempt_no << 32 | try_count).to_bytes(8, "big")
    return int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest(), "big")


# Quick first tries, since most PSPs are back, or found, within seconds; then 5 s, 30 s, 5 min, 1 h, daily.
UNKNOWN_SCHEDULE_MS = (500, 2_000, 5_000, 30_000, 300_000, 3_600_000, DAY_MS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """One rule a class of failure, and how far an order may travel from PSP to PSP."""

    not_sent: RetryRule = RetryRule(
        strategy=Strategy.EXPONENTIAL, first_ms=200, max_ms=10_000, age_s_max=DAY_S
    )
    """Proven that it did not run. Over: the order fails as ``psp_unavailable``, if still clean."""
    unknown: RetryRule = RetryRule(
        strategy=Strategy.SCHEDULE, schedule_ms=UNKNOWN_SCHEDULE_MS, age_s_max=30 * DAY_S
    )
    """It may have run: asked for and sent again in turns, under its own key. Over: only asked for,
    at the longest wait, for ever; a person may look."""
    psp_down: RetryRule = RetryRule(strategy=Strategy.FIXED, first_ms=5_000, age_s_max=DAY_S)
    """Parked while the PSP's breaker is open. Over: as ``not_sent``."""
    requires_action: RetryRule = RetryRule(strategy=Strategy.FIXED, first_ms=1_000, age_s_max=900)
    """How often a buyer's pending action is looked up, and (``age_s_max``) how long it may take;
    then the key is canceled at the PSP."""
    soft_decline: RetryRule = RetryRule(strategy=Strategy.IMMEDIATE)
    """Before a declined order is sent to another PSP. ``cancel``: it never is."""
    soft_decline_codes: frozenset[str] = field(
        default_factory=lambda: frozenset(
            {"issuer_unavailable", "processing_error", "try_again_later"}
        )
    )
    """Declines that another PSP may decide otherwise; any other is final at once."""
    fallback_tries: int = 2
    """Tries proven not sent, after which a clean attempt gives way to another PSP."""
    attempts_max: int = 6
    """Attempts after which an order stays with the PSP that it has."""
    authorization_s_max: int = 6 * DAY_S
    """How old an authorization may be; then what is left of it is given back. Cards hold seven days, so
    that a capture in the last moment still finds its money."""
