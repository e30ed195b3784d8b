"""How far readers, replicas and standbys are behind: looked at when the metrics are asked for.

No loop runs for it, so a host that nobody watches asks nothing. A look is bounded in time, and what
could not be read is left out of the answer: an old number would pass for a present one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from runtime.asking import in_time
from runtime.clock import Clock
from runtime.metric_collectors import Sample
from storage.queue_status import QueueStatus, ReplicaStatus, StreamStatus
from storage.status import StandbyStatus

# Several scrapers at once share one look.
FRESH_S = 0.5
# Shorter than any scraper waits, so that the host's own numbers come in any case.
LOOK_S_MAX = 1.0


class LagWatch:
    """The last look at both stores; None where they did not answer."""

    def __init__(
        self,
        read_queue: Callable[[Sequence[int]], Coroutine[Any, Any, QueueStatus]],
        read_standbys: Callable[[], Coroutine[Any, Any, Sequence[StandbyStatus]]],
        *,
        partition_indexes: Callable[[], Iterable[int]],
        clock: Clock,
    ) -> None:
        self._read_queue = read_queue
        self._read_standbys = read_standbys
        self._partition_indexes = partition_indexes
        self._clock = clock
        self._turn = asyncio.Lock()
        self._looked_at_s: float | None = None
        self._looked_for: Sequence[int] = ()
        self.queue: QueueStatus | None = None
        self.standbys: Sequence[StandbyStatus] | None = None

    async def look(self) -> None:
        """Look at both stores, unless that was done a moment ago."""
        async with self._turn:
            partition_indexes = sorted(self._partition_indexes())
            if self._is_fresh(partition_indexes):
                return
            self.queue, self.standbys = await asyncio.gather(
                in_time(self._read_queue(partition_indexes), LOOK_S_MAX),
                in_time(self._read_standbys(), LOOK_S_MAX),
            )
            self._looked_at_s = self._clock.monotonic_s()
            self._looked_for = partition_indexes

    def _is_fresh(self, partition_indexes: Sequence[int]) -> bool:
        """A moment old, and of the partitions that are ours now."""
        if self._looked_at_s is None or self._looked_for != partition_indexes:
            return False
        return self._clock.monotonic_s() - self._looked_at_s < FRESH_S

    def streams(self) -> Iterable[tuple[int, StreamStatus]]:
        """The streams seen, by partition."""
        return [] if self.queue is None else self.queue.streams.items()

    def replicas(self) -> Sequence[ReplicaStatus]:
        """The queue's replicas seen."""
        return [] if self.queue is None else self.queue.replicas

    def standby_lag_bytes(self) -> Iterable[Sample]:
        """Samples by standby and position."""
        return _least(
            ((standby.application_name, position), lag_bytes)
            for standby in self.standbys or ()
            for position, lag_bytes in (
                ("flush", standby.flush_lag_bytes),
                ("replay", standby.replay_lag_bytes),
            )
        )

    def standby_lag_s(self) -> Iterable[Sample]:
        """Samples by standby and position. Postgres tells none for a standby that has all: that is 0."""
        return _least(
            ((standby.application_name, position), 0.0 if lag_bytes == 0 else lag_s)
            for standby in self.standbys or ()
            for position, lag_bytes, lag_s in (
                ("flush", standby.flush_lag_bytes, standby.flush_lag_s),
                ("replay", standby.replay_lag_bytes, standby.replay_lag_s),
            )
        )


def _least(found: Iterable[tuple[tuple[str | None, str], float | None]]) -> Iterable[Sample]:
    """Leave out what is not known; of two connections of one standby the older one is dying."""
    least: dict[tuple[str, str], float] = {}
    for (standby, position), value in found:
        if standby is not None and value is not None:
            key = (standby, position)
            least[key] = min(value, least.get(key, value))
    return least.items()
