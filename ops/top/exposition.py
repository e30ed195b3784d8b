"""What one process's ``/metrics`` said: samples by name and labels, and what can be asked of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from runtime.metrics import CounterSpec, GaugeSpec, HistogramSpec


class NoExposition(ValueError):
    """The text is not what Prometheus would read."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram, or the difference of two: how many values lie at or below each bound."""

    bounds: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()
    """Cumulative, one a bound; the last bound is infinity."""
    value_sum: float = 0.0

    @property
    def count(self) -> float:
        return self.counts[-1] if self.counts else 0.0

    @property
    def mean(self) -> float | None:
        return self.value_sum / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        """Return the value below which this share lies, spread evenly within its bucket.

        Beyond the largest bound nothing is known: then it is that bound. None without values.
        """
        if not self.count:
            return None
        rank = share * self.count
        lower, below = 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if count >= rank:
                if math.isinf(bound):
                    return lower
                return lower + (bound - lower) * (rank - below) / (count - below)
            lower, below = bound, count
        return lower

    def plus(self, other: Distribution) -> Distribution:
        """Add another one of the same bounds."""
        if not self.bounds:
            return other
        if not other.bounds:
            return self
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Distribution(self.bounds, counts, self.value_sum + other.value_sum)

    def minus(self, before: Distribution) -> Distribution:
        """What came since ``before``."""
        if not before.bounds:
            return self
        counts = tuple(a - b for a, b in zip(self.counts, before.counts, strict=True))
        return Distribution(self.bounds, counts, self.value_sum - before.value_sum)


_Labels = Mapping[str, str]


class Samples:
    """All samples of one answer."""

    def __init__(self, samples: Iterable[tuple[str, _Labels, float]]) -> None:
        self._by_name: dict[str, list[tuple[_Labels, float]]] = {}
        for name, labels, value in samples:
            self._by_name.setdefault(name, []).append((labels, value))

    @classmethod
    def parse(cls, text: str) -> Samples:
        """Raises NoExposition."""
        try:
            return cls(
                (sample.name, sample.labels, sample.value)
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            )
        except ValueError as error:
            raise NoExposition(str(error)) from error

    def value(self, spec: CounterSpec | GaugeSpec | str, **labels: str) -> float | None:
        """The sum of the series with these labels; None when there is none."""
        name = spec if isinstance(spec, str) else spec.name
        found = [
            value for own, value in self._by_name.get(name, ()) if labels.items() <= own.items()
        ]
        return sum(found) if found else None

    def by_label(
        self, spec: CounterSpec | GaugeSpec, label: str, **labels: str
    ) -> dict[str, float]:
        """Values by one label, summed over the others."""
        found: dict[str, float] = {}
        for own, value in self._by_name.get(spec.name, ()):
            if label in own and labels.items() <= own.items():
                found[own[label]] = found.get(own[label], 0.0) + value
        return found

    def distribution(self, spec: HistogramSpec) -> Distribution:
        """All series of a histogram together."""
        by_bound: dict[float, float] = {}
        for labels, value in self._by_name.get(f"{spec.name}_bucket", ()):
            bound = float(labels["le"])
            by_bound[bound] = by_bound.get(bound, 0.0) + value
        bounds: Sequence[float] = sorted(by_bound)
        return Distribution(
            tuple(bounds),
            tuple(by_bound[bound] for bound in bounds),
            self.value(f"{spec.name}_sum") or 0.0,
        )
