"""Metrics: each declared once, with its unit, and nothing shared between processes' parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from runtime.host_metrics import HOST_CLAIMS
from runtime.metric_specs import LATENCY_BUCKETS_S, MetricSpec
from runtime.metrics import (
    CATALOGUE,
    GATEWAY_ACCEPT_SECONDS,
    GATEWAY_PROBLEMS,
    GATEWAY_WAITERS,
    CounterSpec,
    GaugeSpec,
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


@given(st.lists(st.floats(0, 100) | st.sampled_from(LATENCY_BUCKETS_S)))
def test_a_batch_counts_as_its_values_would_one_by_one(values: list[float]) -> None:
    """A batch shows as the same lines as its values would, each observed by the library itself."""
    batches, each = Metrics(), Metrics()
    series, expected_series = (
        batches.batches(GATEWAY_ACCEPT_SECONDS),
        each.histogram(GATEWAY_ACCEPT_SECONDS),
    )
    series.observe_all(values[1:])
    for value in values[:1]:
        series.observe(value)
    for value in values:
        expected_series.observe(value)
    found, expected = (
        {
            (sample.name, sample.labels.get("le")): sample.value
            for family in text_string_to_metric_families(metrics.exposition().decode())
            for sample in family.samples
        }
        for metrics in (batches, each)
    )
    assert found == pytest.approx(expected)


def test_what_others_keep_is_read_when_it_is_shown() -> None:
    """A counter or gauge that somebody else keeps shows its present value, and no series it hasn't."""
    metrics = Metrics()
    values: dict[str, float] = {}
    metrics.read(HOST_CLAIMS, lambda: [((kind,), value) for kind, value in values.items()])
    assert b"claims_total{" not in metrics.exposition()
    values["free"] = 3
    assert b'tallystick_host_claims_total{kind="free"} 3.0' in metrics.exposition()


def test_a_process_tells_of_itself() -> None:
    """Memory, CPU time and start of the process stand beside our own series."""
    metrics = Metrics()
    metrics.add_process()
    for name in (b"process_resident_memory_bytes", b"process_start_time_seconds"):
        assert b"\n" + name + b" " in metrics.exposition()


def test_two_registries_never_mix() -> None:
    """Two parts of one process, or two tests, count apart."""
    first, second = Metrics(), Metrics()
    first.counter(GATEWAY_PROBLEMS, "not_found").inc()
    assert b"not_found" not in second.exposition()


def test_every_metric_is_documented_with_its_kind_and_labels() -> None:
    """Whoever reads a dashboard finds each series in the documentation, and no series that is none."""
    page = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(tallystick_\w+)` \| (.+?) \| .+ \|$", page, re.MULTILINE)
    assert dict(rows) == {spec.name: _kind_and_labels(spec) for spec in CATALOGUE}
    assert len(rows) == len(CATALOGUE)


def _kind_and_labels(spec: MetricSpec) -> str:
    kinds = {CounterSpec: "counter", GaugeSpec: "gauge", HistogramSpec: "histogram"}
    labels = ", ".join(f"`{label}`" for label in spec.labels)
    return f"{kinds[type(spec)]}: {labels}" if labels else kinds[type(spec)]
