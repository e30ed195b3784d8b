"""What a host's parts keep anyway, shown as metrics when somebody asks: nothing here runs otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from actors.calls import PspCalls
from actors.claiming import CLAIM_FREE, CLAIM_OWN, CLAIM_TAKEOVER, Claiming
from actors.exposing_psps import expose_psps
from actors.lag import LagWatch
from actors.lane_worker import LaneWorker
from actors.parking import Resumer
from actors.reading import StreamReader
from actors.replying import Replier
from payments.book import PartitionBook
from runtime.host_metrics import (
    HOST_CALLS_IN_FLIGHT,
    HOST_CALLS_WAITING,
    HOST_CLAIMS,
    HOST_COMMIT_AGE_SECONDS,
    HOST_LATE_WRITES,
    HOST_PARTITIONS,
    HOST_REMOVALS_DROPPED,
    HOST_REMOVED,
    HOST_REPLIES_DROPPED,
    HOST_RETRIES,
    PARTITION_EPOCH,
    PARTITION_INBOX,
    PARTITION_OLDEST_SECONDS,
    PARTITION_OPEN,
    PARTITION_ORDER_NO,
    PARTITION_STREAM,
    REPLICA_LAG_BYTES,
    REPLICA_SILENT_SECONDS,
    STANDBY_LAG_BYTES,
    STANDBY_LAG_SECONDS,
    STORE_READABLE,
)
from runtime.metric_collectors import Sample
from runtime.metrics import Metrics


@dataclass(frozen=True, slots=True)
class HostParts:
    """The parts of one host that count something."""

    lanes: Sequence[LaneWorker]
    reader: StreamReader
    claiming: Claiming
    calls: PspCalls
    replier: Replier
    resumer: Resumer

    @property
    def halted_count(self) -> int:
        """Partitions at rest because of a defect, at work or at their claim."""
        by_lane = (lane.partitions.halted for lane in self.lanes)
        return len(self.claiming.halted.union(*by_lane))

    @property
    def paused(self) -> frozenset[int]:
        """Partitions that take nothing in, because most of it would be set aside."""
        return frozenset().union(*(lane.partitions.guard.paused for lane in self.lanes))

    @property
    def suspended_count(self) -> int:
        return sum(len(lane.partitions.suspended) for lane in self.lanes)


def expose(metrics: Metrics, hosts: Sequence[HostParts]) -> None:
    """Show the hosts of one process, one a shard."""

    def total(count: Callable[[HostParts], float]) -> Callable[[], Iterable[Sample]]:
        return lambda: [((), sum(count(host) for host in hosts))]

    def labelled(*counts: tuple[str, Callable[[HostParts], float]]) -> Callable[[], list[Sample]]:
        return lambda: [((name,), sum(map(count, hosts))) for name, count in counts]

    metrics.read(HOST_REMOVED, total(lambda host: host.reader.removed_count))
    metrics.read(HOST_REMOVALS_DROPPED, total(lambda host: host.reader.unremoved_count))
    metrics.read(HOST_REPLIES_DROPPED, total(lambda host: host.replier.dropped_count))
    metrics.read(HOST_RETRIES, total(lambda host: host.calls.retry_count))
    metrics.read(HOST_CALLS_IN_FLIGHT, total(lambda host: host.calls.in_flight_count))
    metrics.read(HOST_CALLS_WAITING, total(lambda host: host.calls.waiting_count))
    metrics.read(
        HOST_COMMIT_AGE_SECONDS,
        lambda: [((), max(lane.commit_age_s() for host in hosts for lane in host.lanes))],
    )
    metrics.read(
        HOST_LATE_WRITES,
        labelled(
            ("fence", lambda host: sum(lane.fenced_count for lane in host.lanes)),
            ("termination", lambda host: host.claiming.terminated_count),
        ),
    )
    metrics.read(
        HOST_CLAIMS,
        labelled(
            (CLAIM_FREE, lambda host: host.claiming.claim_counts[CLAIM_FREE]),
            (CLAIM_TAKEOVER, lambda host: host.claiming.claim_counts[CLAIM_TAKEOVER]),
            (CLAIM_OWN, lambda host: host.claiming.claim_counts[CLAIM_OWN]),
        ),
    )
    metrics.read(
        HOST_PARTITIONS,
        labelled(
            ("owned", lambda host: len(host.claiming.held | host.claiming.halted)),
            ("halted", lambda host: host.halted_count),
            ("suspended", lambda host: host.suspended_count),
            ("intake_paused", lambda host: len(host.paused)),
        ),
    )
    _expose_partitions(metrics, hosts)
    expose_psps(
        metrics,
        [host.calls for host in hosts],
        [host.resumer for host in hosts],
        [lane.partitions for host in hosts for lane in host.lanes],
    )


def _expose_partitions(metrics: Metrics, hosts: Sequence[HostParts]) -> None:
    def books() -> Iterator[tuple[LaneWorker, PartitionBook]]:
        for host in hosts:
            for lane in host.lanes:
                yield from ((lane, book) for book in lane.partitions.books.values())

    def each(
        value: Callable[[LaneWorker, PartitionBook], float],
    ) -> Callable[[], Iterable[Sample]]:
        return lambda: [
            ((str(book.head.partition_index),), value(lane, book)) for lane, book in books()
        ]

    metrics.read(PARTITION_EPOCH, each(lambda _, book: book.head.epoch))
    metrics.read(PARTITION_ORDER_NO, each(lambda _, book: book.head.order_no_last))
    metrics.read(PARTITION_OPEN, each(lambda _, book: book.open_count))
    metrics.read(
        PARTITION_INBOX,
        each(lambda lane, book: lane.partitions.message_count_of(book.head.partition_index)),
    )


def expose_lag(metrics: Metrics, watch: LagWatch) -> None:
    """Show what a LagWatch saw last; what it could not see has no series."""
    metrics.read(
        STORE_READABLE,
        lambda: [
            (("redis",), float(watch.queue is not None)),
            (("postgres",), float(watch.standbys is not None)),
        ],
    )
    metrics.read(
        PARTITION_STREAM,
        lambda: [((str(index),), stream.message_count) for index, stream in watch.streams()],
    )
    metrics.read(
        PARTITION_OLDEST_SECONDS,
        lambda: [((str(index),), stream.oldest_age_s) for index, stream in watch.streams()],
    )
    metrics.read(
        REPLICA_LAG_BYTES,
        lambda: [((replica.address,), replica.lag_bytes) for replica in watch.replicas()],
    )
    metrics.read(
        REPLICA_SILENT_SECONDS,
        lambda: [((replica.address,), replica.silent_s) for replica in watch.replicas()],
    )
    metrics.read(STANDBY_LAG_BYTES, watch.standby_lag_bytes)
    metrics.read(STANDBY_LAG_SECONDS, watch.standby_lag_s)
