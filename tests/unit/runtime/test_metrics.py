"""Metrics: each declared once, with its unit, and nothing shared between processes' parts."""

from __future__ import annotations

import re
from pathlib import Path

from runtime.metrics import (
    CATALOGUE,
    GATEWAY_ACCEPT_SECONDS,
    GATEWAY_PROBLEMS,
    GATEWAY_WAITERS,
    CounterSpec,
    HistogramSpec,
    Metrics,
)


def test_names_are_unique_and_carry_their_unit() -> None:
    """Each metric has one declaration, our prefix, and the ending that its kind demands."""
    names = [spec.name for spec in CATALOGUE]
    assert len(set(names)) == len(names)
    for spec in CATALOGUE:
        assert re.fullmatch(r"tallystick_[a-z_]+", spec.name)
        assert spec.help.endswith(".")
        assert spec.name.endswith("_total") == isinstance(spec, CounterSpec)
        if isinstance(spec, HistogramSpec):
            assert list(spec.buckets) == sorted(spec.buckets)


def test_what_is_recorded_is_shown() -> None:
    """Counters, gauges and histograms come out in Prometheus' text format."""
    metrics = Metrics()
    metrics.counter(GATEWAY_PROBLEMS, "not_found").inc()
    metrics.counter(GATEWAY_PROBLEMS, "not_found").inc()
    metrics.gauge(GATEWAY_WAITERS).set(3)
    metrics.histogram(GATEWAY_ACCEPT_SECONDS).observe(0.02)
    text = metrics.exposition().decode()
    assert 'tallystick_gateway_problems_total{code="not_found"} 2.0' in text
    assert "tallystick_gateway_waiters 3.0" in text
    assert 'tallystick_gateway_accept_seconds_bucket{le="0.025"} 1.0' in text


def test_two_registries_never_mix() -> None:
    """Two parts of one process, or two tests, count apart."""
    first, second = Metrics(), Metrics()
    first.counter(GATEWAY_PROBLEMS, "not_found").inc()
    assert b"not_found" not in second.exposition()


def test_every_metric_is_documented() -> None:
    """Whoever reads a dashboard finds each series in the documentation."""
    page = (Path(__file__).parents[3] / "docs" / "API.md").read_text(encoding="utf-8")
    assert [spec.name for spec in CATALOGUE if f"| `{spec.name}` | {spec.help} |" not in page] == []
