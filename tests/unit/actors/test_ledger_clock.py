"""The ledger's time between two flushes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from actors.ledger_clock import LedgerClock
from payments.defects import InvariantViolation
from tests.manual_clock import ManualClock

RECORDED_AT = datetime(2031, 5, 1, tzinfo=UTC)


class SteppedClock(ManualClock):
    """Its wall clock is wrong."""

    def now(self) -> datetime:
        return datetime(1999, 1, 1, tzinfo=UTC)


def test_only_the_monotonic_clock_carries_it_on() -> None:
    """Once the ledger's time is known, the host's wall clock decides nothing."""
    clock = SteppedClock()
    ledger_clock = LedgerClock(clock)
    with pytest.raises(InvariantViolation):
        ledger_clock.now()
    ledger_clock.observe(RECORDED_AT)
    clock.advance(90.5)
    assert ledger_clock.now() == RECORDED_AT + timedelta(seconds=90.5)
