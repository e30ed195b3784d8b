"""A circuit breaker for each PSP: a host that sees it fail stops calling it, and finds out when it is back.

Kept in memory, one a host and PSP: what a host sees may be its own network alone, and a fresh host
learns within seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from runtime.clock import Clock


class BreakerState(Enum):
    """What a breaker does with a call."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """A few calls go through, to find out."""


class Verdict(Enum):
    """What one call tells about its PSP."""

    WELL = "well"
    """It answered about the key."""
    UNCLEAR = "unclear"
    """It answered, and said nothing of use: this order's trouble, unless nothing else ever succeeds."""
    CUT = "cut"
    """The connection ended without an answer: as unclear, but nobody shows that the PSP is back by it."""
    FAILED = "failed"
    """It refused to run a first send, could not be reached, or kept silent until the time limit."""


# Of each call: an Enum looks its members up by code of its own, four times as slow as a name of the module.
_CLOSED, _WELL, _FAILED = BreakerState.CLOSED, Verdict.WELL, Verdict.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When to open, for how long, and how to begin again. See ``runtime.psp_config``."""

    window_calls: int = 50
    calls_min: int = 20
    failure_share: float = 0.5
    streak_s: float = 10.0
    open_ms: int = 5_000
    open_ms_max: int = 60_000
    probes: int = 3


class Breaker:
    """Watches the latest calls to one PSP. Constant work a call."""

    def __init__(self, settings: BreakerSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._state = BreakerState.CLOSED
        self._window: deque[bool] = deque(maxlen=settings.window_calls)
        self._failed_count = 0
        self._streak_count = 0
        self._streak_started_s = 0.0
        self._opened_until_s = 0.0
        self._open_ms = settings.open_ms
        self._probing_count = 0
        self._probed_count = 0
        self.opened_count = 0
        """How often it opened."""

    @property
    def state(self) -> BreakerState:
        if self._state is BreakerState.OPEN and self._clock.monotonic_s() >= self._opened_until_s:
            self._state = BreakerState.HALF_OPEN
            self._probing_count = self._probed_count = 0
        return self._state

    @property
    def probes_left(self) -> int:
        """How many calls may start while it is half open."""
        return self._settings.probes - self._probing_count

    def admits(self) -> bool:
        """Whether a call may start now."""
        if self._state is _CLOSED:
            return True
        return self.state is BreakerState.HALF_OPEN and self.probes_left > 0

    def retry_in_s(self) -> float:
        """How long until calls may start again, in seconds: at least; 0 when they may now."""
        if self.admits():
            return 0.0
        rest_s = self._opened_until_s - self._clock.monotonic_s()
        # Half open, with all probes under way: they tell within a moment.
        return max(rest_s, 0.1)

    def started(self) -> bool:
        """Note that a call starts. Returns whether it is a probe, which ``ended`` wants to know."""
        if self._state is _CLOSED:
            return False
        is_probe = self._state is BreakerState.HALF_OPEN
        self._probing_count += is_probe
        return is_probe

    def ended(self, verdict: Verdict, *, is_probe: bool) -> None:
        """Take in how a call ended. Calls from before the breaker opened say nothing new about it."""
        if self._state is _CLOSED:
            if not is_probe:
                self._watch(verdict)
        elif is_probe and self._state is BreakerState.HALF_OPEN:
            self._probing_count -= 1
            self._probe(verdict)

    def withdrawn(self) -> None:
        """A probe was not made after all."""
        if self._state is BreakerState.HALF_OPEN:
            self._probing_count -= 1

    def _watch(self, verdict: Verdict) -> None:
        settings, window = self._settings, self._window
        has_failed = verdict is _FAILED
        if len(window) == settings.window_calls:
            self._failed_count -= window[0]
        window.append(has_failed)
        self._failed_count += has_failed
        if verdict is _WELL:
            self._streak_count = 0
            return
        now_s = self._clock.monotonic_s()
        if self._streak_count == 0:
            self._streak_started_s = now_s
        self._streak_count += 1
        is_dead = (
            self._streak_count >= settings.calls_min
            and now_s - self._streak_started_s >= settings.streak_s
        )
        is_failing = len(
            window
        ) >= settings.calls_min and self._failed_count >= settings.failure_share * len(window)
        if is_dead or (has_failed and is_failing):
            self._open_ms = settings.open_ms
            self._open()

    def _probe(self, verdict: Verdict) -> None:
        if verdict is Verdict.UNCLEAR:
            return
        if verdict is not Verdict.WELL:
            self._open_ms = min(2 * self._open_ms, self._settings.open_ms_max)
            self._open()
            return
        self._probed_count += 1
        if self._probed_count >= self._settings.probes:
            self._state = BreakerState.CLOSED
            self._forget()

    def _open(self) -> None:
        self._state = BreakerState.OPEN
        self._opened_until_s = self._clock.monotonic_s() + self._open_ms / 1000
        self.opened_count += 1
        self._forget()

    def _forget(self) -> None:
        self._window.clear()
        self._failed_count = self._streak_count = 0
