"""The dispatcher's part of the catalogue. Labels are words of ours: none names a merchant or an endpoint."""

from __future__ import annotations

from runtime.metric_specs import (
    LATENCY_BUCKETS_S,
    CounterSpec,
    GaugeSpec,
    HistogramSpec,
    MetricSpec,
)

RECORD_BUCKETS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0)

DISPATCHER_TRIES = CounterSpec(
    name="tallystick_dispatcher_tries_total",
    help="Tries of webhooks, by what became of them: delivered, or why not.",
    labels=("result",),
)
DISPATCHER_TRY_SECONDS = HistogramSpec(
    name="tallystick_dispatcher_try_seconds",
    help="One try of a webhook, connecting included.",
    buckets=(*LATENCY_BUCKETS_S, 15.0),
)
DISPATCHER_DEAD = CounterSpec(
    name="tallystick_dispatcher_dead_total",
    help="Deliveries given up after their last try, or because their endpoint is gone.",
)
DISPATCHER_STOPPED = CounterSpec(
    name="tallystick_dispatcher_endpoints_stopped_total",
    help="Endpoints that the dispatcher stopped: paused after failures, or gone.",
    labels=("status",),
)
DISPATCHER_ENDPOINTS = GaugeSpec(
    name="tallystick_dispatcher_endpoints",
    help="Webhook endpoints, by status.",
    labels=("status",),
)
DISPATCHER_IN_FLIGHT = GaugeSpec(
    name="tallystick_dispatcher_in_flight",
    help="Tries under way.",
)
DISPATCHER_WAITING = GaugeSpec(
    name="tallystick_dispatcher_waiting",
    help="Deliveries that wait to be tried again, at enabled endpoints.",
)
DISPATCHER_BEHIND_SECONDS = GaugeSpec(
    name="tallystick_dispatcher_behind_seconds",
    help="How old the oldest event is that was read for an endpoint and has no delivery yet.",
)
DISPATCHER_HELD_UP_SECONDS = GaugeSpec(
    name="tallystick_dispatcher_feed_held_up_seconds",
    help="How long one transaction that still runs has ended the feed; 0 while it moves.",
)
DISPATCHER_LEADS = GaugeSpec(
    name="tallystick_dispatcher_leads",
    help="1 while this process dispatches, 0 while another one does.",
)
DISPATCHER_RECORDS = HistogramSpec(
    name="tallystick_dispatcher_records",
    help="Results of tries in one transaction.",
    buckets=RECORD_BUCKETS,
)

DISPATCHER_CATALOGUE: tuple[MetricSpec, ...] = (
    DISPATCHER_TRIES,
    DISPATCHER_TRY_SECONDS,
    DISPATCHER_DEAD,
    DISPATCHER_STOPPED,
    DISPATCHER_ENDPOINTS,
    DISPATCHER_IN_FLIGHT,
    DISPATCHER_WAITING,
    DISPATCHER_BEHIND_SECONDS,
    DISPATCHER_HELD_UP_SECONDS,
    DISPATCHER_LEADS,
    DISPATCHER_RECORDS,
)
