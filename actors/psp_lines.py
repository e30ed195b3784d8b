"""The line in front of one PSP: what waits, what runs, its limits, and its breaker."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from actors.breakers import Breaker, BreakerSettings, BreakerState, Verdict
from payments.attempts import PspAnswer, ResultClass
from payments.open_order import PspCall
from payments.rows import TimerKind
from runtime.clock import Clock

# The latest charges that a rule looks at, within SUCCESS_S. Below twenty one decline would be five percent;
# a PSP that was asked last for a minute is tried again.
SUCCESS_CHARGES_MAX = 200
SUCCESS_CHARGES_MIN = 20
SUCCESS_S = 60.0

_SUCCESSES = frozenset({ResultClass.APPROVED, ResultClass.REQUIRES_ACTION})
_UNWELL = frozenset({ResultClass.NOT_SENT, ResultClass.UNKNOWN})

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
    is_success_watched: bool = False
    """Whether a routing rule asks how many of its latest charges were approved."""


class SuccessWindow:
    """How well a PSP's latest charges ended. What is old is forgotten, so that a PSP which is asked last
    gets its turn again. Constant work a charge.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends: deque[tuple[float, bool]] = deque()
        self._approved_count = 0

    def ended(self, *, is_approved: bool) -> None:
        """Note how one charge ended."""
        if len(self._ends) >= SUCCESS_CHARGES_MAX:
            self._forget_first()
        self._ends.append((self._clock.monotonic_s(), is_approved))
        self._approved_count += is_approved

    def percent(self) -> int | None:
        """How many in a hundred were approved; None when there are too few to tell."""
        oldest_s = self._clock.monotonic_s() - SUCCESS_S
        while self._ends and self._ends[0][0] < oldest_s:
            self._forget_first()
        if len(self._ends) < SUCCESS_CHARGES_MIN:
            return None
        return 100 * self._approved_count // len(self._ends)

    def _forget_first(self) -> None:
        _, was_approved = self._ends.popleft()
        self._approved_count -= was_approved


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
        self._success = SuccessWindow(clock) if limits.is_success_watched else None
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

    def note_success(self, call: PspCall, answer: PspAnswer) -> None:
        """Take in how a charge ended, for rules that ask. Questions and first halves end none."""
        if self._success is None or call.step is not TimerKind.SEND:
            return
        if answer.result is not ResultClass.PREPARED:
            self._success.ended(is_approved=answer.result in _SUCCESSES)

    def success_percent(self) -> int | None:
        """How many in a hundred of the latest charges were approved; None where nobody asks, or knows."""
        return None if self._success is None else self._success.percent()

    def timeout_s(self, step: TimerKind) -> float:
        """The time limit of one call."""
        return self._timeouts_s[step]

    def verdict(self, call: PspCall, answer: PspAnswer, seconds: float) -> Verdict:
        """What the answer tells about the PSP, apart from its order."""
        if answer.result not in _UNWELL:
            return Verdict.WELL
        if answer.result is ResultClass.NOT_SENT:
            # What it says of a key that it has seen before may be about that key alone.
            is_about_key = call.attempt.is_tainted and not answer.is_silent
            return Verdict.UNCLEAR if is_about_key else Verdict.FAILED
        if not answer.is_silent:
            return Verdict.UNCLEAR
        has_timed_out = seconds >= _TIMED_OUT_SHARE * self.timeout_s(call.step)
        return Verdict.FAILED if has_timed_out else Verdict.CUT
