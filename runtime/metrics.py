"""Metrics: a typed catalogue. Each is declared once, with its unit in its name.

A process creates one ``Metrics`` and asks it for the series it records; nothing is global, so tests
and several parts of one process never mix their counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from runtime.dispatcher_metrics import DISPATCHER_CATALOGUE
from runtime.host_metrics import HOST_CATALOGUE
from runtime.metric_collectors import BatchHistogram, BatchHistograms, ReadSeries, Sample
from runtime.metric_specs import BATCH_BUCKETS, LATENCY_BUCKETS_S, MetricSpec
from runtime.metric_specs import CounterSpec as CounterSpec
from runtime.metric_specs import GaugeSpec as GaugeSpec
from runtime.metric_specs import HistogramSpec as HistogramSpec

# When each series began: as many lines again, of which the catalogue says nothing.
disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

GATEWAY_ANSWERS = CounterSpec(
    name="tallystick_gateway_answers_total",
    help="HTTP answers by route template and status.",
    labels=("route", "status"),
)
GATEWAY_PROBLEMS = CounterSpec(
    name="tallystick_gateway_problems_total",
    help="Problems answered, by code.",
    labels=("code",),
)
GATEWAY_ACCEPT_SECONDS = HistogramSpec(
    name="tallystick_gateway_accept_seconds",
    help="From a valid payment order to its verdict: append, replication and look-up.",
    buckets=LATENCY_BUCKETS_S,
)
GATEWAY_APPEND_ENTRIES = HistogramSpec(
    name="tallystick_gateway_append_entries",
    help="Orders in one micro-batch, that is in one call of the append script.",
    buckets=BATCH_BUCKETS,
)
GATEWAY_APPEND_SECONDS = HistogramSpec(
    name="tallystick_gateway_append_seconds",
    help="One call of the append script.",
    buckets=LATENCY_BUCKETS_S,
)
GATEWAY_SHORT_WAITS = CounterSpec(
    name="tallystick_gateway_short_waits_total",
    help="Waits for the replicas that ended before enough of them had answered.",
)
GATEWAY_LOOKUP_KEYS = HistogramSpec(
    name="tallystick_gateway_lookup_keys",
    help="Orders asked for in one look-up in Postgres.",
    buckets=BATCH_BUCKETS,
)
GATEWAY_LOOKUP_FAILURES = CounterSpec(
    name="tallystick_gateway_lookup_failures_total",
    help="Look-ups that Postgres did not answer.",
)
GATEWAY_VERDICTS = CounterSpec(
    name="tallystick_gateway_verdicts_total",
    help="What became of payment orders at the door.",
    labels=("verdict",),
)
GATEWAY_PENDING_ORDERS = GaugeSpec(
    name="tallystick_gateway_pending_orders",
    help="Payment orders that wait for their verdict.",
)
GATEWAY_WAITERS = GaugeSpec(
    name="tallystick_gateway_waiters",
    help="Requests held by Prefer: wait.",
)
GATEWAY_UNREPORTED_ORDERS = GaugeSpec(
    name="tallystick_gateway_unreported_orders",
    help="Acknowledged orders whose intake no owner has reported yet.",
)
GATEWAY_PRIMARY_CHANGES = CounterSpec(
    name="tallystick_gateway_primary_changes_total",
    help="Times that the queue had another primary, or the same one after a restart.",
)
GATEWAY_RESENT_ORDERS = CounterSpec(
    name="tallystick_gateway_resent_orders_total",
    help="Acknowledged orders appended again after the queue's primary changed.",
)
GATEWAY_PSP_EVENTS = CounterSpec(
    name="tallystick_gateway_psp_events_total",
    help="PSPs' webhooks, by PSP and by what they were answered: queued, ignored, refused, unavailable.",
    labels=("psp", "answer"),
)
GATEWAY_STREAMS = GaugeSpec(
    name="tallystick_gateway_streams",
    help="Open streams of events.",
)
GATEWAY_STREAM_EVENTS = CounterSpec(
    name="tallystick_gateway_stream_events_total",
    help="Events told to streams.",
)
GATEWAY_REQUEST_LOG_WRITTEN = CounterSpec(
    name="tallystick_gateway_request_log_written_total",
    help="Requests written to the request log.",
)
GATEWAY_REQUEST_LOG_DROPPED = CounterSpec(
    name="tallystick_gateway_request_log_dropped_total",
    help="Requests that the request log has not: no room (full), no store, or a defect.",
    labels=("reason",),
)
GATEWAY_REQUEST_LOG_WAITING = GaugeSpec(
    name="tallystick_gateway_request_log_waiting",
    help="Requests that wait to be written to the request log.",
)
GATEWAY_CONNECTIONS_REFUSED = CounterSpec(
    name="tallystick_gateway_connections_refused_total",
    help="Connections closed because of the limit or because no request came in time.",
    labels=("reason",),
)

CATALOGUE: tuple[MetricSpec, ...] = (
    GATEWAY_ANSWERS,
    GATEWAY_PROBLEMS,
    GATEWAY_ACCEPT_SECONDS,
    GATEWAY_APPEND_ENTRIES,
    GATEWAY_APPEND_SECONDS,
    GATEWAY_SHORT_WAITS,
    GATEWAY_LOOKUP_KEYS,
    GATEWAY_LOOKUP_FAILURES,
    GATEWAY_VERDICTS,
    GATEWAY_PENDING_ORDERS,
    GATEWAY_WAITERS,
    GATEWAY_UNREPORTED_ORDERS,
    GATEWAY_PRIMARY_CHANGES,
    GATEWAY_RESENT_ORDERS,
    GATEWAY_PSP_EVENTS,
    GATEWAY_STREAMS,
    GATEWAY_STREAM_EVENTS,
    GATEWAY_REQUEST_LOG_WRITTEN,
    GATEWAY_REQUEST_LOG_DROPPED,
    GATEWAY_REQUEST_LOG_WAITING,
    GATEWAY_CONNECTIONS_REFUSED,
    *DISPATCHER_CATALOGUE,
    *HOST_CATALOGUE,
)


class Metrics:
    """The metrics of one process. Ask for a series once and keep it: recording is then one call."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self._batches: dict[str, BatchHistograms] = {}

    def counter(self, spec: CounterSpec, *labels: str) -> Counter:
        """Return the series of these label values."""
        counter = self._counters.get(spec.name)
        if counter is None:
            counter = Counter(spec.name, spec.help, spec.labels, registry=self._registry)
            self._counters[spec.name] = counter
        return counter.labels(*labels) if spec.labels else counter

    def gauge(self, spec: GaugeSpec, *labels: str) -> Gauge:
        """Return the series of these label values."""
        gauge = self._gauges.get(spec.name)
        if gauge is None:
            gauge = Gauge(spec.name, spec.help, spec.labels, registry=self._registry)
            self._gauges[spec.name] = gauge
        return gauge.labels(*labels) if spec.labels else gauge

    def histogram(self, spec: HistogramSpec, *labels: str) -> Histogram:
        """Return the series of these label values."""
        histogram = self._histograms.get(spec.name)
        if histogram is None:
            histogram = Histogram(
                spec.name, spec.help, spec.labels, registry=self._registry, buckets=spec.buckets
            )
            self._histograms[spec.name] = histogram
        return histogram.labels(*labels) if spec.labels else histogram

    def batches(self, spec: HistogramSpec, *labels: str) -> BatchHistogram:
        """Return the series of these label values, for values that come by the batch."""
        histograms = self._batches.get(spec.name)
        if histograms is None:
            histograms = self._batches[spec.name] = BatchHistograms(spec)
            self._registry.register(histograms)
        return histograms.of(labels)

    def read(self, spec: CounterSpec | GaugeSpec, samples: Callable[[], Iterable[Sample]]) -> None:
        """Show what somebody else keeps: ``samples`` is called whenever the metrics are shown."""
        self._registry.register(ReadSeries(spec, samples))

    def add_process(self) -> None:
        """Show this process's memory, CPU time and descriptors under Prometheus' own names."""
        ProcessCollector(registry=self._registry)

    def exposition(self) -> bytes:
        """Return all series in Prometheus' text format (CONTENT_TYPE)."""
        return generate_latest(self._registry)
