"""A clock that tests move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_START = datetime(2026, 11, 1, 12, tzinfo=UTC)


class TickingClock:
    """Stands still until it is told how much time has passed."""

    def __init__(self) -> None:
        self._passed_s = 0.0

    def monotonic_s(self) -> float:
        return self._passed_s

    def now(self) -> datetime:
        return _START + timedelta(seconds=self._passed_s)

    def pass_s(self, seconds: float) -> None:
        self._passed_s += seconds
