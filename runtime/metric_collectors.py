"""Series that cost nothing while they are recorded: whole batches at once, or read when they are shown.

``Histogram.observe`` takes a lock and walks the buckets, 1 to 2 us a value. A flush has hundreds of
values, so here they are sorted into plain integers in one pass (0.15 us a value). What parts count
for themselves anyway is not recorded again: it is read from them whenever somebody asks.

Both are recorded and shown on one thread, the process's event loop: there is no lock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from runtime.metric_specs import CounterSpec, GaugeSpec, HistogramSpec

Sample: TypeAlias = tuple[Sequence[str], float]
"""Label values, and the value."""


class BatchHistogram:
    """One series of a histogram: values are added by the batch."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Add one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def observe_all(self, values: Sequence[float]) -> None:
        """Add a batch of values."""
        counts, bounds = self._counts, self._bounds
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self._sum += sum(values)

    def cumulative(self) -> tuple[list[tuple[str, float]], float]:
        """Return how many values were at most each bound, and the sum of all."""
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            buckets.append((floatToGoString(bound), float(total)))  # type: ignore[no-untyped-call]
        return buckets, self._sum


class BatchHistograms(Collector):
    """All series of one histogram, as the registry wants them."""

    def __init__(self, spec: HistogramSpec) -> None:
        self._spec = spec
        self._series: dict[tuple[str, ...], BatchHistogram] = {}

    def of(self, labels: tuple[str, ...]) -> BatchHistogram:
        """Return the series of these label values; the same one each time."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = BatchHistogram(self._spec.buckets)
        return series

    def collect(self) -> Iterator[Metric]:
        """Return the present state; called when the metrics are shown."""
        spec = self._spec
        family = HistogramMetricFamily(spec.name, spec.help, labels=spec.labels)
        for labels, series in self._series.items():
            buckets, value_sum = series.cumulative()
            family.add_metric(labels, buckets, value_sum)
        yield family


class ReadSeries(Collector):
    """A counter or gauge whose samples are read from whoever keeps them, when they are shown."""

    def __init__(self, spec: CounterSpec | GaugeSpec, read: Callable[[], Iterable[Sample]]) -> None:
        self._spec = spec
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Return the present samples; what ``read`` leaves out has no series now."""
        spec = self._spec
        family: CounterMetricFamily | GaugeMetricFamily
        if isinstance(spec, CounterSpec):
            family = CounterMetricFamily(spec.name, spec.help, labels=spec.labels)
        else:
            family = GaugeMetricFamily(spec.name, spec.help, labels=spec.labels)
        for labels, value in self._read():
            family.add_metric(labels, value)
        yield family
