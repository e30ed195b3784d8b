"""The line in front of one PSP: what waits, what runs, its limits, and its breaker."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from actors.breakers import Breaker, BreakerSettings, BreakerState, Verdict
from payments.attempts import PspAnswer, ResultClass
from payments.open_order import PspCall
from payments.rows import TimerKind
from runtime.clock import Clock

# An answer that took this part of its time limit is its end: the connector gave up.
_TIMED_OUT_SHARE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class PspLimits:
    """What one PSP may take of a host. Times in milliseconds."""

    in_flight_max: int = 512
    charge_timeout_ms: int = 5_000
    query_timeout_ms: int = 5_000
    cancel_timeout_ms: int = 5_000
    breaker: BreakerSettings = field(default_factory=BreakerSettings)


class PspLine:
    """Calls to one PSP: those of another never stand in this line."""

    def __init__(self, limits: PspLimits, clock: Clock) -> None:
        self._limits = limits
        self._timeouts_s = {
            TimerKind.SEND: limits.charge_timeout_ms / 1000,
            TimerKind.QUERY: limits.query_timeout_ms / 1000,
            TimerKind.CANCEL: limits.cancel_timeout_ms / 1000,
        }
        self.breaker = Breaker(limits.breaker, clock)
        self.waiting: deque[PspCall] = deque()
        self.running_count = 0
        self.parked_count = 0
        """Orders of this host that rest because this PSP is down, about: counted anew by who resumes them."""

    @property
    def has_room(self) -> bool:
        return self.running_count < self._limits.in_flight_max

    @property
    def refuses(self) -> bool:
        """Whether its breaker keeps new orders away altogether."""
        return self.breaker.state is BreakerState.OPEN or not self.breaker.admits()

    def timeout_s(self, step: TimerKind) -> float:
        """The time limit of one call."""
        return self._timeouts_s[step]

    def verdict(self, call: PspCall, answer: PspAnswer, seconds: float) -> Verdict:
        """What the answer tells about the PSP, apart from its order."""
        if answer.result is ResultClass.NOT_SENT:
            # What it says of a key that it has seen before may be about that key alone.
            is_about_key = call.attempt.is_tainted and not answer.is_silent
            return Verdict.UNCLEAR if is_about_key else Verdict.FAILED
        if answer.result is not ResultClass.UNKNOWN:
            return Verdict.WELL
        if not answer.is_silent:
            return Verdict.UNCLEAR
        has_timed_out = seconds >= _TIMED_OUT_SHARE * self.timeout_s(call.step)
        return Verdict.FAILED if has_timed_out else Verdict.CUT
