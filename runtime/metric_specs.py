"""What a metric's declaration says, and the buckets that several of them share."""

from __future__ import annotations

from dataclasses import dataclass

# From a wait inside one machine to a request's whole deadline.
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# A micro-batch holds 1 to 100 entries.
BATCH_BUCKETS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """One metric: its name, what it says, and the names of its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterSpec(MetricSpec):
    """Something that only grows; its name ends in ``_total``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeSpec(MetricSpec):
    """Something that goes up and down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramSpec(MetricSpec):
    """How something is spread, in the unit of its name."""

    buckets: tuple[float, ...]
