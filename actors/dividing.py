"""How large the next flush may be, after flushes that were not written.

A store that is away and a flush that is too large for it look alike: it was not written. Both are
answered in one way. Each failure halves the next flush, down to a few rows of one partition, and each
success doubles it again; so what is too large gets through in parts, and a store that comes back is
soon given whole flushes. What can't be written even then waits a little longer each time, so that the
lane's other partitions get their turn; it is never given up, since nothing says that it won't be
written in the end, and each time it is said loudly.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from actors.settings import FLUSH_DIVISOR_MAX, STORE_RETRY_S, STUCK_PAUSE_S_MAX
from runtime.clock import Clock

# Beyond, the pause is at its longest anyway.
_DOUBLINGS_MAX = 10

_log = structlog.get_logger(__name__)


class FlushDivision:
    """One lane's. Times are monotonic seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._divisor = 1
        self._failing_since_s: float | None = None
        self._stuck: dict[int, tuple[int, float]] = {}
        """Partitions whose smallest flush failed: how often, and until when they wait."""

    @property
    def failing_since_s(self) -> float | None:
        """When the first of the failures came since the last success; None after one."""
        return self._failing_since_s

    def part_of(self, count: int) -> int:
        """Return the part of a whole flush's count that the next one may have."""
        return max(1, count // self._divisor)

    def rest(self) -> None:
        """Note that nothing is left to be written: no failure lasts."""
        self._failing_since_s = None

    def waiting(self) -> frozenset[int]:
        """Return the partitions that wait, so that others get their turn."""
        now_s = self._clock.monotonic_s()
        return frozenset(index for index, (_, until_s) in self._stuck.items() if until_s > now_s)

    def failed(self, partition_indexes: Iterable[int], reason: str) -> None:
        """Note a flush that was not written, of these partitions."""
        now_s = self._clock.monotonic_s()
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        if self._divisor < FLUSH_DIVISOR_MAX:
            self._divisor *= 2
            return
        for index in partition_indexes:
            tries, _ = self._stuck.get(index, (0, 0.0))
            tries += 1
            pause_s = min(STUCK_PAUSE_S_MAX, STORE_RETRY_S * 2 ** min(tries, _DOUBLINGS_MAX))
            self._stuck[index] = (tries, now_s + pause_s)
            _log.error("flush_stuck", partition=index, tries=tries, reason=reason)

    def written(self, partition_indexes: Iterable[int]) -> None:
        """Note a flush that was written."""
        self._failing_since_s = None
        self._divisor = max(1, self._divisor // 2)
        for index in partition_indexes:
            self._stuck.pop(index, None)
        if len(self._stuck) > 1:
            # Several partitions at once: that was the store, and it is back.
            self._stuck.clear()
