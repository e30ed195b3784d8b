"""The partition hosts' part of the catalogue, with what they see of their stores.

Labels are bounded: partitions, configured PSPs, classes of answers, standbys and replicas. None of
them holds a merchant, a key, or anything of a buyer.
"""

from __future__ import annotations

from runtime.metric_specs import (
    LATENCY_BUCKETS_S,
    CounterSpec,
    GaugeSpec,
    HistogramSpec,
    MetricSpec,
)

# A flush holds up to a thousand commands of one partition or several.
FLUSH_BUCKETS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0)
PARTITION_BUCKETS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
# Orders that wait for a buyer, or for a PSP that is down, settle after minutes.
ORDER_BUCKETS_S = (*LATENCY_BUCKETS_S, 30.0, 60.0, 300.0, 900.0, 3_600.0)

HOST_TAKEN_IN = CounterSpec(
    name="tallystick_host_orders_taken_in_total",
    help="Orders whose intake was committed.",
)
HOST_SETTLED = CounterSpec(
    name="tallystick_host_orders_settled_total",
    help="Orders and operations on payments whose outcome was committed, by its state.",
    labels=("state",),
)
HOST_REFUSED = CounterSpec(
    name="tallystick_host_requests_refused_total",
    help="Late requests under a used key that were kept as refused.",
)
HOST_DEAD_LETTERS = CounterSpec(
    name="tallystick_host_dead_letters_total",
    help="Messages set aside because they can't be taken in.",
)
HOST_PSP_EVENTS = CounterSpec(
    name="tallystick_host_psp_events_total",
    help="PSPs' events with a result, by what became of them: applied, agrees, ignored, contradicts, unmatched.",
    labels=("result",),
)
HOST_INTAKE_SECONDS = HistogramSpec(
    name="tallystick_host_intake_seconds",
    help="From an order's acceptance, by its gateway's clock, to its intake, by the database's.",
    buckets=LATENCY_BUCKETS_S,
)
HOST_SETTLE_SECONDS = HistogramSpec(
    name="tallystick_host_settle_seconds",
    help="From an order's last attempt, for most their intake, to its outcome in the books.",
    buckets=ORDER_BUCKETS_S,
)
HOST_ORDER_SECONDS = HistogramSpec(
    name="tallystick_host_order_seconds",
    help="From an order's acceptance to its outcome in the books.",
    buckets=ORDER_BUCKETS_S,
)
HOST_FLUSH_SECONDS = HistogramSpec(
    name="tallystick_host_flush_seconds",
    help="One flush that was committed, from its first statement to the answer of its COMMIT.",
    buckets=LATENCY_BUCKETS_S,
)
HOST_FLUSH_PART_SECONDS = HistogramSpec(
    name="tallystick_host_flush_part_seconds",
    help="A part of a committed flush: begin, write, commit.",
    labels=("part",),
    buckets=LATENCY_BUCKETS_S,
)
HOST_FLUSH_FAULTS = CounterSpec(
    name="tallystick_host_flush_faults_total",
    help="Flushes that were not surely written, by the reason.",
    labels=("fault",),
)
HOST_LATE_WRITES = CounterSpec(
    name="tallystick_host_late_writes_total",
    help="Partitions' writes refused because another owner had them, by fence or by termination.",
    labels=("refused_by",),
)
HOST_FLUSH_ORDERS = HistogramSpec(
    name="tallystick_host_flush_orders",
    help="Orders taken in by one flush.",
    buckets=FLUSH_BUCKETS,
)
HOST_FLUSH_OUTCOMES = HistogramSpec(
    name="tallystick_host_flush_outcomes",
    help="Orders settled by one flush.",
    buckets=FLUSH_BUCKETS,
)
HOST_FLUSH_PARTITIONS = HistogramSpec(
    name="tallystick_host_flush_partitions",
    help="Partitions of one flush.",
    buckets=PARTITION_BUCKETS,
)
HOST_READ_MESSAGES = HistogramSpec(
    name="tallystick_host_read_messages",
    help="Messages of one read of the streams that found any.",
    buckets=FLUSH_BUCKETS,
)
HOST_REMOVED = CounterSpec(
    name="tallystick_host_messages_removed_total",
    help="Messages deleted from the streams after their intake.",
)
HOST_REMOVALS_DROPPED = CounterSpec(
    name="tallystick_host_removals_dropped_total",
    help="Messages whose removal came too late, or found nothing; those still there are read again.",
)
HOST_PSP_SECONDS = HistogramSpec(
    name="tallystick_host_psp_call_seconds",
    help="One call to a PSP, by what its answer means.",
    labels=("psp", "result"),
    buckets=LATENCY_BUCKETS_S,
)
HOST_RETRIES = CounterSpec(
    name="tallystick_host_psp_retries_total",
    help="Calls for an attempt that may have run before: sent again, asked for, canceled.",
)
HOST_CALLS_IN_FLIGHT = GaugeSpec(
    name="tallystick_host_psp_calls_in_flight",
    help="PSP calls under way.",
)
HOST_CALLS_WAITING = GaugeSpec(
    name="tallystick_host_psp_calls_waiting",
    help="PSP calls that wait for a place, or for a commit that is late.",
)
HOST_CALLS_REFUSED = CounterSpec(
    name="tallystick_host_psp_calls_refused_total",
    help="PSP calls that were not made because a circuit breaker was open.",
)
HOST_BREAKER_STATE = GaugeSpec(
    name="tallystick_host_psp_breaker_state",
    help="The circuit breaker of a PSP: 0 closed, 1 half open, 2 open.",
    labels=("psp",),
)
HOST_BREAKER_OPENED = CounterSpec(
    name="tallystick_host_psp_breaker_opened_total",
    help="How often the circuit breaker of a PSP opened.",
    labels=("psp",),
)
HOST_PARKED = GaugeSpec(
    name="tallystick_host_orders_parked",
    help="Orders that rest, by the PSP of their attempt and the reason; 0 where none does.",
    labels=("psp", "reason"),
)
HOST_RESUMED = CounterSpec(
    name="tallystick_host_orders_resumed_total",
    help="Parked orders that were brought up again.",
)
HOST_CLAIMS = CounterSpec(
    name="tallystick_host_claims_total",
    help="Partitions claimed: free ones, another host's (a takeover), our own after a doubt.",
    labels=("kind",),
)
HOST_REPLIES_DROPPED = CounterSpec(
    name="tallystick_host_replies_dropped_total",
    help="Replies to gateways that could not be published; they read the books instead.",
)
HOST_PARTITIONS = GaugeSpec(
    name="tallystick_host_partitions",
    help="Partitions owned: all, and those halted, suspended until a new claim, or with their intake paused.",
    labels=("state",),
)
HOST_COMMIT_AGE_SECONDS = GaugeSpec(
    name="tallystick_host_commit_age_seconds",
    help="How long the oldest commit has been under way, or in doubt.",
)

PARTITION_EPOCH = GaugeSpec(
    name="tallystick_partition_epoch",
    help="The epoch under which this host owns the partition.",
    labels=("partition",),
)
PARTITION_ORDER_NO = GaugeSpec(
    name="tallystick_partition_last_order_no",
    help="The partition's last order number: it grows by one an order, whoever owns it.",
    labels=("partition",),
)
PARTITION_OPEN = GaugeSpec(
    name="tallystick_partition_open_orders",
    help="Orders of the partition that have not ended.",
    labels=("partition",),
)
PARTITION_INBOX = GaugeSpec(
    name="tallystick_partition_inbox_messages",
    help="Messages of the partition that were read and not yet decided.",
    labels=("partition",),
)
PARTITION_STREAM = GaugeSpec(
    name="tallystick_partition_stream_messages",
    help="Messages in the partition's stream: not read, not taken in, or not yet removed.",
    labels=("partition",),
)
PARTITION_OLDEST_SECONDS = GaugeSpec(
    name="tallystick_partition_oldest_message_seconds",
    help="Age of the stream's oldest message, by the queue's clock; 0 for an empty stream.",
    labels=("partition",),
)

STORE_READABLE = GaugeSpec(
    name="tallystick_store_readable",
    help="1 if the lag of this store's copies could be read for this answer; at 0 the lag's series are left out.",
    labels=("store",),
)
STANDBY_LAG_BYTES = GaugeSpec(
    name="tallystick_postgres_standby_lag_bytes",
    help="WAL that a standby has not yet flushed, or replayed.",
    labels=("standby", "position"),
)
STANDBY_LAG_SECONDS = GaugeSpec(
    name="tallystick_postgres_standby_lag_seconds",
    help="How long recent WAL took until a standby had flushed, or replayed it.",
    labels=("standby", "position"),
)
REPLICA_LAG_BYTES = GaugeSpec(
    name="tallystick_redis_replica_lag_bytes",
    help="Bytes of the queue's replication stream that a replica has not acknowledged.",
    labels=("replica",),
)
REPLICA_SILENT_SECONDS = GaugeSpec(
    name="tallystick_redis_replica_silent_seconds",
    help="Whole seconds since a replica last told how far it is.",
    labels=("replica",),
)

HOST_CATALOGUE: tuple[MetricSpec, ...] = (
    HOST_TAKEN_IN,
    HOST_SETTLED,
    HOST_REFUSED,
    HOST_DEAD_LETTERS,
    HOST_PSP_EVENTS,
    HOST_INTAKE_SECONDS,
    HOST_SETTLE_SECONDS,
    HOST_ORDER_SECONDS,
    HOST_FLUSH_SECONDS,
    HOST_FLUSH_PART_SECONDS,
    HOST_FLUSH_FAULTS,
    HOST_LATE_WRITES,
    HOST_FLUSH_ORDERS,
    HOST_FLUSH_OUTCOMES,
    HOST_FLUSH_PARTITIONS,
    HOST_READ_MESSAGES,
    HOST_REMOVED,
    HOST_REMOVALS_DROPPED,
    HOST_PSP_SECONDS,
    HOST_RETRIES,
    HOST_CALLS_IN_FLIGHT,
    HOST_CALLS_WAITING,
    HOST_CALLS_REFUSED,
    HOST_BREAKER_STATE,
    HOST_BREAKER_OPENED,
    HOST_PARKED,
    HOST_RESUMED,
    HOST_CLAIMS,
    HOST_REPLIES_DROPPED,
    HOST_PARTITIONS,
    HOST_COMMIT_AGE_SECONDS,
    PARTITION_EPOCH,
    PARTITION_ORDER_NO,
    PARTITION_OPEN,
    PARTITION_INBOX,
    PARTITION_STREAM,
    PARTITION_OLDEST_SECONDS,
    STORE_READABLE,
    STANDBY_LAG_BYTES,
    STANDBY_LAG_SECONDS,
    REPLICA_LAG_BYTES,
    REPLICA_SILENT_SECONDS,
)
