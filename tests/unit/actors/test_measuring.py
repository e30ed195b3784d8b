"""What a host says of itself, on fakes: the numbers are those of what it did."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from actors.exposing import expose
from actors.host import PartitionHost
from actors.measuring import FLUSH_FAULTS
from payments.lifecycle import FREEZING_STATES
from runtime.metrics import Metrics
from tests.fakes.fake_host import PARTITION_COUNT, World
from tests.fakes.fake_ledger import AppendFault


class Scrape:
    """A host's exposition, read as Prometheus reads it."""

    def __init__(self, host: PartitionHost, metrics: Metrics) -> None:
        host._ports.metrics.called(host.calls.take_durations())
        self.samples = [
            sample
            for family in text_string_to_metric_families(metrics.exposition().decode())
            for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the series with these labels."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == f"tallystick_{name}" and labels.items() <= sample.labels.items()
        )

    def labels(self, label: str) -> set[Any]:
        return {sample.labels[label] for sample in self.samples if label in sample.labels}


def watched(host: PartitionHost) -> Metrics:
    """The host's metrics, its parts included."""
    metrics = host._ports.metrics.metrics
    expose(metrics, [host.parts])
    return metrics


async def test_orders_flushes_and_calls_are_counted_as_they_happened() -> None:
    """Counters equal what the books and the PSP hold; histograms have a value for each order."""
    world = World()
    host = world.host()
    metrics = watched(host)
    async with world.running(host):
        paid = [await world.post(amount_minor=100 + n) for n in range(20)]
        declined = await world.post(token="tok_decline_do_not_honor")
        await world.until(lambda: all(world.status_of(order) for order in [*paid, declined]))
        await world.until(lambda: not any(world.server.copy.streams.values()))
        scrape = Scrape(host, metrics)
    assert scrape.value("host_orders_taken_in_total") == 21
    assert scrape.value("host_orders_settled_total", state="succeeded") == 20
    assert scrape.value("host_orders_settled_total", state="failed") == 1
    assert scrape.value("host_messages_removed_total") == 21
    assert scrape.value("host_read_messages_sum") == 21
    for stage in ("intake", "settle", "order"):
        assert scrape.value(f"host_{stage}_seconds_count") == 21
    assert scrape.value("host_flush_orders_sum") == 21
    assert scrape.value("host_flush_outcomes_sum") == 21
    assert scrape.value("host_flush_seconds_count") == scrape.value("host_flush_partitions_count")
    results = {"approved": 20, "declined_final": 1}
    for result, count in results.items():
        assert scrape.value("host_psp_call_seconds_count", psp="simulator", result=result) == count
    assert scrape.value("host_claims_total", kind="free") == PARTITION_COUNT
    assert scrape.value("host_partitions", state="owned") == PARTITION_COUNT
    assert scrape.value("partition_last_order_no") == 21
    assert scrape.value("partition_open_orders") == 0
    assert scrape.value("host_psp_retries_total") == 0


async def test_labels_hold_nothing_of_a_payment() -> None:
    """Labels are partitions, PSPs and words of our own: no merchant, key or amount, however many orders."""
    world = World()
    host = world.host()
    metrics = watched(host)
    async with world.running(host):
        orders = [await world.post() for _ in range(30)]
        await world.until(lambda: all(world.status_of(order) for order in orders))
        scrape = Scrape(host, metrics)
    assert scrape.labels("partition") == {str(index) for index in range(PARTITION_COUNT)}
    assert scrape.labels("psp") == {"simulator"}
    assert scrape.labels("state") == {
        *(state.wire for state in FREEZING_STATES),
        *("owned", "halted", "suspended", "intake_paused"),
    }
    names = {label for sample in scrape.samples for label in sample.labels}
    assert names <= {
        "le",
        "partition",
        "psp",
        "state",
        "reason",
        "result",
        "part",
        "fault",
        "refused_by",
        "kind",
    }


async def test_a_retry_is_counted() -> None:
    """A charge whose answer got lost shows as an unknown call, and as a retry."""
    world = World()
    host = world.host()
    metrics = watched(host)
    async with world.running(host):
        order = await world.post(token="tok_charge_then_timeout")
        await world.until(lambda: world.status_of(order) is not None)
        scrape = Scrape(host, metrics)
    assert scrape.value("host_psp_call_seconds_count", result="unknown") >= 1
    assert scrape.value("host_psp_retries_total") >= 1


async def test_a_commit_in_doubt_is_counted_with_what_followed() -> None:
    """An unknown commit shows as one, and as a claim of the host's own partition."""
    world = World()
    host = world.host(lane_count=1)
    metrics = watched(host)
    async with world.running(host):
        await world.until(lambda: len(host.partition_indexes) == PARTITION_COUNT)
        world.ledgers[0].faults.append(AppendFault.UNKNOWN_LOST)
        order = await world.post()
        await world.until(lambda: world.status_of(order) is not None)
        scrape = Scrape(host, metrics)
    assert scrape.value("host_flush_faults_total", fault="commit_unknown") == 1
    assert scrape.value("host_claims_total", kind="own") >= 1
    assert scrape.labels("fault") == set(FLUSH_FAULTS.values())


async def test_a_fenced_flush_is_counted() -> None:
    """Writes that came too late show by what refused them."""
    world = World()
    host = world.host(lane_count=1)
    metrics = watched(host)
    async with world.running(host):
        await world.until(lambda: len(host.partition_indexes) == PARTITION_COUNT)
        for head in world.books.partitions.values():
            head.head = head.head._replace(epoch=head.head.epoch + 1)
        await world.post()
        await world.until(lambda: host.fenced_count > 0)
        scrape = Scrape(host, metrics)
    assert scrape.value("host_flush_faults_total", fault="fenced") >= 1
    assert scrape.value("host_late_writes_total", refused_by="fence") >= 1


async def test_a_halted_partition_shows() -> None:
    """A partition that a defect stopped is counted as halted, and still as owned."""
    world = World()
    host = world.host(lane_count=1)
    metrics = watched(host)
    async with world.running(host):
        await world.until(lambda: len(host.partition_indexes) == PARTITION_COUNT)
        host.parts.lanes[0].partitions.halt(2)
        scrape = Scrape(host, metrics)
    assert scrape.value("host_partitions", state="halted") == 1
    assert scrape.value("host_partitions", state="owned") == PARTITION_COUNT
