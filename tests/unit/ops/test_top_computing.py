"""From two looks to figures: rates, quantiles, and never a number for what is not known."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.top.computing import view_of
from ops.top.exposition import Distribution, NoExposition, Samples
from ops.top.reading import HostReading, ProcessReading, Reading
from runtime.host_metrics import (
    HOST_FLUSH_ORDERS,
    HOST_INTAKE_SECONDS,
    HOST_SETTLED,
    HOST_TAKEN_IN,
    PARTITION_EPOCH,
    PARTITION_OPEN,
    PARTITION_ORDER_NO,
    PARTITION_STREAM,
    REPLICA_LAG_BYTES,
    REPLICA_SILENT_SECONDS,
    STORE_READABLE,
)
from runtime.metrics import GATEWAY_VERDICTS, GaugeSpec, Metrics

STARTED = GaugeSpec(name="process_start_time_seconds", help="Start of the process.")


def gateway_samples(accepted: int, refused: int = 0, *, started: float = 1.0) -> Samples:
    metrics = Metrics()
    metrics.gauge(STARTED).set(started)
    metrics.counter(GATEWAY_VERDICTS, "accepted").inc(accepted)
    metrics.counter(GATEWAY_VERDICTS, "backpressure").inc(refused)
    return Samples.parse(metrics.exposition().decode())


def host_samples(
    settled: int,
    *,
    failed: int = 0,
    partitions: tuple[int, ...] = (0, 1),
    started: float = 1.0,
    latencies_s: tuple[float, ...] = (),
    is_queue_readable: bool = True,
) -> Samples:
    metrics = Metrics()
    metrics.gauge(STARTED).set(started)
    metrics.counter(HOST_TAKEN_IN).inc(settled + failed)
    metrics.counter(HOST_SETTLED, "succeeded").inc(settled)
    metrics.counter(HOST_SETTLED, "failed").inc(failed)
    metrics.batches(HOST_INTAKE_SECONDS).observe_all(latencies_s)
    metrics.batches(HOST_FLUSH_ORDERS).observe_all([4.0] * (settled // 4))
    metrics.gauge(STORE_READABLE, "redis").set(is_queue_readable)
    if is_queue_readable:
        metrics.gauge(REPLICA_LAG_BYTES, "10.0.0.2:7404").set(70)
        metrics.gauge(REPLICA_SILENT_SECONDS, "10.0.0.2:7404").set(1)
    for index in partitions:
        metrics.gauge(PARTITION_EPOCH, str(index)).set(3)
        metrics.gauge(PARTITION_OPEN, str(index)).set(5)
        metrics.gauge(PARTITION_ORDER_NO, str(index)).set(1_000 + settled)
        if is_queue_readable:
            metrics.gauge(PARTITION_STREAM, str(index)).set(7)
    return Samples.parse(metrics.exposition().decode())


def a_host(name: str, partitions: tuple[int, ...], samples: Samples | None) -> HostReading:
    reason = "" if samples is not None else "no answer from 127.0.0.1:9"
    return HostReading(
        name=name, samples=samples, reason=reason, pid=1, partition_indexes=partitions
    )


def a_reading(
    at_s: float,
    accepted: int = 0,
    *hosts: HostReading,
    gateway: Samples | None = None,
    are_hosts_known: bool = True,
) -> Reading:
    return Reading(
        at_s=at_s,
        partition_count=4,
        gateways=[ProcessReading(name="gateway-0", samples=gateway or gateway_samples(accepted))],
        hosts=hosts if are_hosts_known else None,
        store=None,
    )


def test_rates_are_differences_over_the_time_between() -> None:
    """Counters of all processes, compared and divided by the seconds between two looks."""
    before = a_reading(10.0, 100, a_host("host-0", (0, 1), host_samples(80, failed=4)))
    now = a_reading(12.0, 160, a_host("host-0", (0, 1), host_samples(120, failed=6)))
    view = view_of(before, now)
    assert (view.totals.accepted, view.totals.accepted_per_s) == (160, 30.0)
    assert (view.totals.settled, view.totals.settled_per_s) == (126, 21.0)
    assert (view.totals.failed, view.totals.failed_per_s) == (6, 1.0)
    assert view.totals.open_orders == 10
    assert view.hosts[0].orders_per_flush == 4.0
    assert view.partitions[0].orders_per_s == 20.0


def test_refusals_are_not_accepted_orders() -> None:
    """Only verdicts that are answered with an order count as accepted."""
    view = view_of(None, a_reading(0.0, gateway=gateway_samples(3, refused=50)))
    assert view.totals.accepted == 3


def test_without_a_first_look_there_are_no_rates() -> None:
    """One look has counts; its rates are not known, and not zero."""
    view = view_of(None, a_reading(10.0, 100, a_host("host-0", (0,), host_samples(80))))
    assert view.totals.settled == 80
    assert view.totals.settled_per_s is None
    assert view.hosts[0].settled_per_s is None
    assert view.partitions[0].orders_per_s is None


def test_a_process_that_began_anew_counts_from_zero() -> None:
    """A restart between the looks makes no negative rate, and loses none of the new counts."""
    before = a_reading(10.0, 0, a_host("host-0", (0,), host_samples(5_000, started=1.0)))
    now = a_reading(11.0, 0, a_host("host-0", (0,), host_samples(30, started=2.0)))
    view = view_of(before, now)
    assert view.totals.settled_per_s == 30.0
    assert view.partitions[0].orders_per_s is None


def test_what_can_not_be_read_is_named_and_never_zero() -> None:
    """An unreadable host leaves its figures unknown, its partitions without numbers, the totals incomplete."""
    hosts = (a_host("host-0", (0, 1), host_samples(10)), a_host("host-1", (2,), None))
    view = view_of(a_reading(0.0, 0, *hosts), a_reading(1.0, 0, *hosts))
    assert [(item.source, item.reason) for item in view.unreadable] == [
        ("host-1", "no answer from 127.0.0.1:9"),
        ("books", "Postgres does not answer"),
    ]
    assert view.totals.settled == 10
    assert not view.totals.are_hosts_complete
    unreadable = asdict(view.hosts[1])
    known = {"name": "host-1", "pid": 1, "partition_count": 1, "reason": hosts[1].reason}
    assert unreadable == {**dict.fromkeys(unreadable), **known}
    assert (view.partitions[2].owner, view.partitions[2].stream) == ("host-1", None)
    assert view.partitions[3].owner is None
    assert view.stores.standbys is None


def test_without_the_books_nothing_is_known_of_hosts() -> None:
    """When the books can't say which hosts there are, there are no hosts, partitions or totals to show."""
    view = view_of(None, a_reading(0.0, 7, are_hosts_known=False))
    assert view.totals.accepted == 7
    assert view.totals.settled is None
    assert not view.are_hosts_known
    assert list(view.partitions) == []
    assert view.stores.replicas is None


def test_the_queues_copies_are_told_by_who_can_see_them() -> None:
    """A host that can't reach the queue is said so, and another one tells of the replicas."""
    blind = a_host("host-0", (0,), host_samples(1, partitions=(0,), is_queue_readable=False))
    view = view_of(None, a_reading(0.0, 0, blind))
    assert view.stores.replicas is None
    assert ("queue", "host-0 can't read it") in [(u.source, u.reason) for u in view.unreadable]
    assert view.partitions[0].stream is None
    assert view.partitions[0].open_orders == 5
    seeing = a_host("host-1", (1,), host_samples(1, partitions=(1,)))
    view = view_of(None, a_reading(0.0, 0, blind, seeing))
    assert [asdict(item) for item in view.stores.replicas or ()] == [
        {"address": "10.0.0.2:7404", "lag_bytes": 70, "silent_s": 1}
    ]


def test_stages_are_those_between_the_looks() -> None:
    """Quantiles are of what ended since the first look, not of all time."""
    slow = a_host("host-0", (0,), host_samples(2, latencies_s=(9.0,) * 50))
    fast = a_host("host-0", (0,), host_samples(2, latencies_s=(9.0,) * 50 + (0.003,) * 50))
    view = view_of(a_reading(0.0, 0, slow), a_reading(1.0, 0, fast))
    [intake] = [stage for stage in view.stages if stage.name == "intake"]
    assert intake.count == 50
    assert intake.p50_ms == pytest.approx(3.75)
    assert intake.p99_ms is not None
    assert intake.p99_ms <= 5.0


def test_a_life_that_no_first_look_saw_is_not_what_happened_since() -> None:
    """Stages and means leave out a process that only the second look could read; alone, they are unknown."""
    now = host_samples(40, latencies_s=(9.0,) * 50)
    unseen, seen = a_host("host-0", (0,), None), a_host("host-0", (0,), now)
    view = view_of(a_reading(0.0, 0, unseen), a_reading(1.0, 0, seen))
    [intake] = [stage for stage in view.stages if stage.name == "intake"]
    assert (intake.count, intake.per_s, intake.p50_ms, intake.p99_ms) == (None,) * 4
    assert view.hosts[0].orders_per_flush is None
    quiet = a_host("host-1", (1,), now)
    view = view_of(a_reading(0.0, 0, unseen, quiet), a_reading(1.0, 0, seen, quiet))
    [intake] = [stage for stage in view.stages if stage.name == "intake"]
    assert (intake.count, intake.per_s, intake.p50_ms) == (0, 0.0, None)


@given(st.lists(st.floats(0.0001, 9.9), min_size=1, max_size=50), st.sampled_from((0.5, 0.9, 0.99)))
def test_a_quantile_lies_in_the_bucket_of_the_value(values: list[float], share: float) -> None:
    """The estimate is never further from the true quantile than its bucket is wide."""
    metrics = Metrics()
    metrics.batches(HOST_INTAKE_SECONDS).observe_all(values)
    found = Samples.parse(metrics.exposition().decode()).distribution(HOST_INTAKE_SECONDS)
    estimate = found.quantile(share)
    rank = share * len(values)
    true = next(v for position, v in enumerate(sorted(values), start=1) if position >= rank)
    bounds = (0.0, *HOST_INTAKE_SECONDS.buckets)
    upper = next(bound for bound in bounds if bound >= true)
    lower = bounds[bounds.index(upper) - 1]
    assert estimate is not None
    assert lower <= estimate <= upper + 1e-9


def test_beyond_the_last_bound_nothing_is_invented() -> None:
    """Values above every bound show as the largest bound; no values at all show as unknown."""
    infinite = Distribution((1.0, float("inf")), (0.0, 3.0), 30.0)
    assert infinite.quantile(0.5) == 1.0
    assert infinite.mean == 10.0
    assert Distribution().quantile(0.5) is None
    assert Distribution().mean is None


def test_what_is_no_exposition_is_refused() -> None:
    """Another server's answer is not taken for metrics."""
    with pytest.raises(NoExposition):
        Samples.parse("<html> metrics {")


def test_a_gateway_without_a_port_of_its_own_is_not_guessed_at() -> None:
    """The reason why a process can't be read is carried along as it was told."""
    reading = replace(
        a_reading(0.0),
        gateways=[ProcessReading(name="gateway-0", samples=None, reason="on a shared port")],
    )
    view = view_of(None, reading)
    assert view.gateways[0].reason == "on a shared port"
    assert view.totals.accepted is None
