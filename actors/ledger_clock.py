"""The ledger's time between two flushes: decisions use the database's clock, never the host's."""

from __future__ import annotations

from datetime import datetime, timedelta

from payments.defects import InvariantViolation
from runtime.clock import Clock


class LedgerClock:
    """Carries the last transaction time forward by the monotonic clock; a step of the wall clock moves nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._recorded_at: datetime | None = None
        self._seen_at_s = 0.0

    def observe(self, recorded_at: datetime) -> None:
        """Take the database's time from a claim or a receipt that has just arrived."""
        self._recorded_at = recorded_at
        self._seen_at_s = self._clock.monotonic_s()

    def now(self) -> datetime:
        """The ledger's present, aware UTC. Raises InvariantViolation before the first claim told it."""
        if self._recorded_at is None:
            raise InvariantViolation("a decision was asked for before any claim told the time")
        return self._recorded_at + timedelta(seconds=self._clock.monotonic_s() - self._seen_at_s)
