"""What one process did between two looks at it."""

from __future__ import annotations

from ops.top.exposition import Distribution, Samples
from runtime.metrics import CounterSpec, GaugeSpec, HistogramSpec

# What every process tells of itself, under names that Prometheus gives.
MEMORY = "process_resident_memory_bytes"
CPU_SECONDS = "process_cpu_seconds_total"
STARTED_AT = "process_start_time_seconds"


class Change:
    """What one process did between two looks. Unknown where the first look did not see it."""

    def __init__(self, before: Samples | None, now: Samples, seconds: float) -> None:
        self._before = before
        if before is not None and before.value(STARTED_AT) != now.value(STARTED_AT):
            self._before = Samples(())  # another life: its counters began at zero meanwhile
        self._now = now
        self._seconds = seconds

    @property
    def is_known(self) -> bool:
        """Whether both looks could read it."""
        return self._before is not None

    def rate(self, spec: CounterSpec | str, **labels: str) -> float | None:
        """How much a counter grew a second. One without a series has counted nothing yet."""
        if self._before is None or self._seconds <= 0:
            return None
        now, before = (each.value(spec, **labels) or 0.0 for each in (self._now, self._before))
        return max(0.0, now - before) / self._seconds

    def growth(self, spec: GaugeSpec, **labels: str) -> float | None:
        """How much a gauge grew a second; unknown unless both looks saw it."""
        now = self._now.value(spec, **labels)
        before = None if self._before is None else self._before.value(spec, **labels)
        if now is None or before is None or self._seconds <= 0:
            return None
        return max(0.0, now - before) / self._seconds

    def distribution(self, spec: HistogramSpec) -> Distribution:
        """What came in between; nothing where the first look did not see it: that may be its whole life."""
        if self._before is None:
            return Distribution()
        return self._now.distribution(spec).minus(self._before.distribution(spec))
