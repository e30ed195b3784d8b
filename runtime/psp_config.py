"""The configuration of what meets a PSP: its accounts, time limits, retries, and circuit breakers."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from payments.currencies import EXPONENTS
from payments.retry_policy import RetryPolicy, RetryRule, Strategy
from payments.routing import Cost

Count = Annotated[int, msgspec.Meta(ge=1)]
TimeoutMs = Annotated[int, msgspec.Meta(ge=0, le=120_000)]
# The database counts a wait in 32 bits.
WaitMs = Annotated[int, msgspec.Meta(ge=0, le=2_000_000_000)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]

_DEFAULTS = RetryPolicy()


class PspConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One account at one PSP. Their order is the order in which they are asked to take a payment."""

    name: str
    kind: str = "simulator"
    url: str = ""
    account: str = "default"
    seed: int = 0
    calls_in_flight_max: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Calls of one host to this PSP at one time; 0: ``actors.calls_in_flight_max``. Each PSP has its
    own, so that a slow one leaves the others theirs."""
    charge_timeout_ms: TimeoutMs = 0
    """From the first step of connecting to the answer's last byte; 0: ``actors.call_timeout_ms``."""
    query_timeout_ms: TimeoutMs = 0
    cancel_timeout_ms: TimeoutMs = 0
    webhook_secret_files: list[str] = []
    """Secrets by which the PSP signs its webhooks: any of them counts, so that one can follow another.
    None: its webhooks are not taken."""
    webhook_tolerance_s: Annotated[int, msgspec.Meta(ge=1, le=3_600)] = 300
    """How far a webhook's time of signing may be from the gateway's clock."""
    cost_basis_points: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    """What it takes of each charge, for routing by cost; nothing is booked by it."""
    cost_fixed: dict[str, Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]] = {}
    """... and beside it, in minor units by currency."""
    secret_key_file: str = ""
    """Stripe: what its API is asked with."""
    mode: Literal["test", "live"] = "test"
    """Stripe: whether money is real; the secret key has to be of the same."""
    return_url: str = ""
    """Stripe: where a buyer's browser goes after 3-D Secure. Without it nobody can be sent there."""

    def __post_init__(self) -> None:
        is_stripe = self.kind == "stripe"
        if is_stripe != bool(self.secret_key_file):
            needs = "needs" if is_stripe else "takes no"
            raise ValueError(f"{self.name}: kind {self.kind} {needs} secret_key_file")
        if not is_stripe and (self.mode != "test" or self.return_url):
            raise ValueError(f"{self.name}: mode and return_url belong to kind stripe")
        unknown = [code for code in self.cost_fixed if code not in EXPONENTS]
        if unknown:
            raise ValueError(f"{self.name}: cost_fixed: {unknown[0]!r} is no currency of ISO 4217")

    @property
    def cost(self) -> Cost:
        """Its price, as routing reads it."""
        return Cost(self.cost_basis_points, self.cost_fixed)


class RuleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule of the retry policy (payments/retry_policy.py)."""

    strategy: Strategy
    first_ms: WaitMs = 0
    max_ms: WaitMs = 86_400_000
    schedule_ms: list[WaitMs] = []
    count_max: Count = 100_000
    age_s_max: Annotated[int, msgspec.Meta(ge=0)] = 86_400

    def __post_init__(self) -> None:
        self.rule()

    def rule(self) -> RetryRule:
        """The rule itself. Raises ValueError where the fields don't fit together."""
        return RetryRule(
            strategy=self.strategy,
            first_ms=self.first_ms,
            max_ms=self.max_ms,
            schedule_ms=tuple(self.schedule_ms),
            count_max=self.count_max,
            age_s_max=self.age_s_max,
        )

    @classmethod
    def of(cls, rule: RetryRule) -> RuleConfig:
        """The configuration that says the same as a rule."""
        return cls(
            strategy=rule.strategy,
            first_ms=rule.first_ms,
            max_ms=rule.max_ms,
            schedule_ms=list(rule.schedule_ms),
            count_max=rule.count_max,
            age_s_max=rule.age_s_max,
        )


def _rule(name: str) -> RuleConfig:
    """A field whose default is the policy's own rule of that name."""
    default = RuleConfig.of(getattr(_DEFAULTS, name))
    field: RuleConfig = msgspec.field(default_factory=lambda: default)
    return field


class RetryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When what failed is tried again: one rule a class of failure."""

    not_sent: RuleConfig = _rule("not_sent")
    unknown: RuleConfig = _rule("unknown")
    psp_down: RuleConfig = _rule("psp_down")
    requires_action: RuleConfig = _rule("requires_action")
    soft_decline: RuleConfig = _rule("soft_decline")
    soft_decline_codes: list[str] = msgspec.field(
        default_factory=lambda: sorted(_DEFAULTS.soft_decline_codes)
    )
    fallback_tries: Count = _DEFAULTS.fallback_tries
    attempts_max: Annotated[int, msgspec.Meta(ge=1, le=100)] = _DEFAULTS.attempts_max
    authorization_s_max: Annotated[int, msgspec.Meta(ge=1, le=29 * 86_400)] = (
        _DEFAULTS.authorization_s_max
    )
    """How old an authorization may be before what is left of it is given back."""

    def policy(self) -> RetryPolicy:
        """The policy that owners decide by."""
        return RetryPolicy(
            not_sent=self.not_sent.rule(),
            unknown=self.unknown.rule(),
            psp_down=self.psp_down.rule(),
            requires_action=self.requires_action.rule(),
            soft_decline=self.soft_decline.rule(),
            soft_decline_codes=frozenset(self.soft_decline_codes),
            fallback_tries=self.fallback_tries,
            attempts_max=self.attempts_max,
            authorization_s_max=self.authorization_s_max,
        )


class BreakerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a host stops calling a PSP, and how it begins again. One breaker a PSP and host."""

    window_calls: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 50
    """How many of the latest calls are looked at."""
    calls_min: Count = 20
    """Fewer calls than this open no breaker."""
    failure_share: Share = 0.5
    """The part of them that timed out or was refused, from which on the breaker opens."""
    streak_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    """It also opens when nothing at all has succeeded for this long."""
    open_ms: Count = 5_000
    """How long it stays open at first; doubles each time the probes fail."""
    open_ms_max: Count = 60_000
    probes: Count = 3
    """Calls at one time that find out whether the PSP is back; as many successes close the breaker."""
    resume_per_s: Count = 100
    """Parked orders that one host resumes a second for each PSP, in turn among merchants."""

    def __post_init__(self) -> None:
        if self.calls_min > self.window_calls:
            raise ValueError(
                f"calls_min={self.calls_min} must not exceed window_calls={self.window_calls}"
            )
        if self.open_ms > self.open_ms_max:
            raise ValueError(
                f"open_ms={self.open_ms} must not exceed open_ms_max={self.open_ms_max}"
            )
