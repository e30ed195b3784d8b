"""Time as a port: production reads the machine, tests and the simulation hand in their own."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two clocks that must not be mixed up: one to measure with, one to write down."""

    def monotonic_s(self) -> float:
        """Seconds that only go forward. For deadlines, leases and durations; never stored."""
        ...

    def now(self) -> datetime:
        """The present as an aware UTC datetime. For records shown to people; never for leases."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)
