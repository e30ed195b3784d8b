"""The circuit breaker: when it opens, how it finds out, and what it does not count."""

from __future__ import annotations

from actors.breakers import Breaker, BreakerSettings, BreakerState, Verdict
from tests.manual_clock import ManualClock

SETTINGS = BreakerSettings(
    window_calls=10, calls_min=4, streak_s=10, open_ms=1_000, open_ms_max=3_000, probes=2
)


class Rig:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.breaker = Breaker(SETTINGS, self.clock)

    def state(self) -> BreakerState:
        return self.breaker.state

    def call(self, *verdicts: Verdict) -> None:
        for verdict in verdicts:
            assert self.breaker.admits()
            is_probe = self.breaker.started()
            self.breaker.ended(verdict, is_probe=is_probe)

    def open(self) -> None:
        self.call(*[Verdict.FAILED] * SETTINGS.calls_min)
        assert self.state() is BreakerState.OPEN


def test_it_opens_by_the_share_of_failures() -> None:
    """Half of the window, and not before there are enough calls to speak of a share."""
    rig = Rig()
    rig.call(*[Verdict.FAILED] * 3)
    assert rig.state() is BreakerState.CLOSED
    rig.call(Verdict.WELL, Verdict.WELL, Verdict.WELL, Verdict.WELL, Verdict.FAILED)
    assert rig.state() is BreakerState.OPEN
    assert not rig.breaker.admits()
    assert rig.breaker.retry_in_s() == 1.0
    assert rig.breaker.opened_count == 1


def test_old_calls_leave_the_window() -> None:
    """Failures of long ago open nothing."""
    rig = Rig()
    rig.call(*[Verdict.FAILED] * 3, *[Verdict.WELL] * 10)
    rig.call(Verdict.FAILED, Verdict.FAILED, Verdict.FAILED, Verdict.FAILED)
    assert rig.state() is BreakerState.CLOSED
    rig.call(Verdict.FAILED)
    assert rig.state() is BreakerState.OPEN


def test_orders_of_bad_luck_open_nothing_while_others_succeed() -> None:
    """Cut connections and empty answers are an order's own trouble, unless nothing succeeds for long."""
    rig = Rig()
    for _ in range(20):
        rig.call(*[Verdict.CUT] * 20, *[Verdict.UNCLEAR] * 20, Verdict.WELL)
        rig.clock.advance(9)
    assert rig.state() is BreakerState.CLOSED
    rig.call(*[Verdict.CUT] * 4)
    rig.clock.advance(10)
    rig.call(Verdict.UNCLEAR)
    assert rig.state() is BreakerState.OPEN


def test_probes_close_it() -> None:
    """After its time as many calls as it has probes go through, and their success closes it."""
    rig = Rig()
    rig.open()
    rig.clock.advance(1)
    assert rig.state() is BreakerState.HALF_OPEN
    probes = [rig.breaker.started(), rig.breaker.started()]
    assert probes == [True, True]
    assert not rig.breaker.admits()
    assert rig.breaker.retry_in_s() > 0
    for _ in probes:
        rig.breaker.ended(Verdict.WELL, is_probe=True)
    assert rig.state() is BreakerState.CLOSED
    assert rig.breaker.admits()


def test_failed_probes_open_it_for_longer() -> None:
    """Twice as long each time, up to the longest; a new opening begins anew."""
    rig = Rig()
    rig.open()
    for open_s in (1, 2, 3, 3):
        assert rig.breaker.retry_in_s() == open_s
        rig.clock.advance(open_s)
        rig.call(Verdict.FAILED)
    rig.clock.advance(3)
    rig.call(Verdict.WELL, Verdict.WELL)
    rig.open()
    assert rig.breaker.retry_in_s() == 1


def test_a_probe_that_shows_nothing_decides_nothing() -> None:
    """Its place is free again; so is that of one that was not made."""
    rig = Rig()
    rig.open()
    rig.clock.advance(1)
    assert rig.breaker.admits()
    rig.call(Verdict.UNCLEAR)
    assert rig.breaker.started()
    rig.breaker.withdrawn()
    assert rig.state() is BreakerState.HALF_OPEN
    assert rig.breaker.probes_left == 2


def test_calls_from_before_decide_nothing() -> None:
    """What had started before the breaker opened ends without a word about it."""
    rig = Rig()
    rig.open()
    rig.breaker.ended(Verdict.WELL, is_probe=False)
    assert rig.state() is BreakerState.OPEN
    rig.clock.advance(1)
    assert rig.breaker.admits()
    rig.breaker.ended(Verdict.FAILED, is_probe=False)
    assert rig.state() is BreakerState.HALF_OPEN
