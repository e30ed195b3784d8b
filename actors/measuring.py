"""What a host records as it works: once a flush and once a read, never for a single payment.

What its parts count for themselves is not recorded here but read from them (actors/exposing.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any

from payments.attempts import ResultClass
from payments.decided import Decided
from payments.defects import InvariantViolation
from payments.event_rows import EventVerdict
from payments.lifecycle import FREEZING_STATES, PaymentState
from runtime.clock import Clock
from runtime.host_metrics import (
    HOST_DEAD_LETTERS,
    HOST_FLUSH_FAULTS,
    HOST_FLUSH_ORDERS,
    HOST_FLUSH_OUTCOMES,
    HOST_FLUSH_PART_SECONDS,
    HOST_FLUSH_PARTITIONS,
    HOST_FLUSH_SECONDS,
    HOST_INTAKE_SECONDS,
    HOST_ORDER_SECONDS,
    HOST_PSP_EVENTS,
    HOST_PSP_SECONDS,
    HOST_READ_MESSAGES,
    HOST_REFUSED,
    HOST_SETTLE_SECONDS,
    HOST_SETTLED,
    HOST_TAKEN_IN,
)
from runtime.metrics import Metrics
from storage.ports import (
    CommitUnknown,
    Flush,
    FlushReceipt,
    Lane,
    LaneReplaced,
    PartitionFenced,
    StorageUnavailable,
)

# How a flush can end without a receipt: the label of each.
FLUSH_FAULTS: Mapping[type[Exception], str] = {
    StorageUnavailable: "unavailable",
    LaneReplaced: "lane_replaced",
    PartitionFenced: "fenced",
    CommitUnknown: "commit_unknown",
    InvariantViolation: "defect",
}


class HostMetrics:
    """The series of one host process. Its hosts, one a shard, and their lanes share them."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        """Without ``metrics`` it records where nobody looks, as in tests."""
        self.metrics = metrics = metrics or Metrics()
        self.address: str | None = None
        """``host:port`` where they are served; known once the process listens."""
        self._taken_in = metrics.counter(HOST_TAKEN_IN)
        self._settled = {
            state: metrics.counter(HOST_SETTLED, state.wire) for state in FREEZING_STATES
        }
        self._refused = metrics.counter(HOST_REFUSED)
        self._dead_letters = metrics.counter(HOST_DEAD_LETTERS)
        self._psp_events = {
            verdict: metrics.counter(HOST_PSP_EVENTS, verdict.name.lower())
            for verdict in EventVerdict
        }
        self._intake_s = metrics.batches(HOST_INTAKE_SECONDS)
        self._settle_s = metrics.batches(HOST_SETTLE_SECONDS)
        self._order_s = metrics.batches(HOST_ORDER_SECONDS)
        self._flush_s = metrics.batches(HOST_FLUSH_SECONDS)
        self._flush_orders = metrics.batches(HOST_FLUSH_ORDERS)
        self._flush_outcomes = metrics.batches(HOST_FLUSH_OUTCOMES)
        self._flush_partitions = metrics.batches(HOST_FLUSH_PARTITIONS)
        self._read_messages = metrics.batches(HOST_READ_MESSAGES)
        self._flush_faults = {
            fault: metrics.counter(HOST_FLUSH_FAULTS, fault) for fault in FLUSH_FAULTS.values()
        }

    def read(self, message_count: int) -> None:
        """A read of the streams found that many messages. One that found none was only a wait."""
        if message_count:
            self._read_messages.observe(message_count)

    def flushed(self, flush: Flush, receipt: FlushReceipt, seconds: float) -> None:
        """A flush was committed."""
        self._flush_s.observe(seconds)
        for part, lap_s in receipt.laps_s.items():
            self.metrics.batches(HOST_FLUSH_PART_SECONDS, part).observe(lap_s)
        self._flush_partitions.observe(len(flush.heads))
        if flush.orders:
            self._flush_orders.observe(len(flush.orders))
            self._taken_in.inc(len(flush.orders))
        if flush.outcomes:
            self._flush_outcomes.observe(len(flush.outcomes))
            for status, count in Counter(row.status for row in flush.outcomes).items():
                self._settled[PaymentState(status)].inc(count)
        self._refused.inc(len(flush.refused))
        self._dead_letters.inc(len(flush.dead_letters))
        for event in flush.psp_event_results:
            self._psp_events[EventVerdict(event.result)].inc()

    def called(self, durations: Sequence[tuple[str, ResultClass, float]]) -> None:
        """These PSP calls ended: ``(psp, result, seconds)`` each."""
        by_series: dict[tuple[str, ResultClass], list[float]] = {}
        for psp, result, seconds in durations:
            by_series.setdefault((psp, result), []).append(seconds)
        for (psp, result), values in by_series.items():
            self.metrics.batches(HOST_PSP_SECONDS, psp, result.name.lower()).observe_all(values)

    async def counting_faults(self, flushing: Coroutine[Any, Any, None]) -> None:
        """Await a flush with all that leads to it, and count how it fails, if it does."""
        try:
            await flushing
        except tuple(FLUSH_FAULTS) as fault:
            self._flush_faults[_fault_of(fault)].inc()
            raise

    def decided(self, decisions: Sequence[Decided], recorded_at: datetime) -> None:
        """These decisions are in the books, since ``recorded_at`` by the database's clock.

        A gateway's clock may lead the database's: an age below zero counts as none.
        """
        opened = [order.command.accepted_at for each in decisions for order in each.opened]
        if opened:
            self._intake_s.observe_all(_ages_s(opened, recorded_at))
        closed = [order for each in decisions for order in each.closed.values()]
        if closed:
            self._order_s.observe_all(
                _ages_s([order.command.accepted_at for order in closed], recorded_at)
            )
            self._settle_s.observe_all(
                _ages_s([order.attempt.created_at for order in closed], recorded_at)
            )


def _fault_of(fault: Exception) -> str:
    return next(name for kind, name in FLUSH_FAULTS.items() if isinstance(fault, kind))


def _ages_s(since: Sequence[datetime], now: datetime) -> list[float]:
    return [max(0.0, (now - at).total_seconds()) for at in since]


class MeasuredLane:
    """A lane that tells HostMetrics how each flush went."""

    def __init__(self, lane: Lane, metrics: HostMetrics, clock: Clock) -> None:
        self._lane = lane
        self._metrics = metrics
        self._clock = clock

    async def append(self, flush: Flush) -> FlushReceipt:
        """See ``storage.ports.Lane``."""
        started_s = self._clock.monotonic_s()
        receipt = await self._lane.append(flush)
        self._metrics.flushed(flush, receipt, self._clock.monotonic_s() - started_s)
        return receipt
