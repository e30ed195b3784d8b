"""From two looks at a stack to what is shown of it. Pure: no clock, no I/O.

A figure that can't be known is None, and is shown as such. Zero means that it was read, and is zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ops.top.change import CPU_SECONDS, MEMORY, Change
from ops.top.exposition import Distribution
from ops.top.figures import (
    GatewayFigures,
    HostFigures,
    PartitionFigures,
    ReplicaFigures,
    StageFigures,
    StandbyFigures,
    StoreFigures,
    Totals,
    Unreadable,
    View,
)
from ops.top.reading import HostReading, ProcessReading, Reading
from payments.lifecycle import PaymentState
from runtime.host_metrics import (
    HOST_CALLS_IN_FLIGHT,
    HOST_DEAD_LETTERS,
    HOST_FLUSH_FAULTS,
    HOST_FLUSH_ORDERS,
    HOST_FLUSH_SECONDS,
    HOST_INTAKE_SECONDS,
    HOST_LATE_WRITES,
    HOST_ORDER_SECONDS,
    HOST_PARTITIONS,
    HOST_PSP_SECONDS,
    HOST_RETRIES,
    HOST_SETTLE_SECONDS,
    HOST_SETTLED,
    HOST_TAKEN_IN,
    PARTITION_EPOCH,
    PARTITION_INBOX,
    PARTITION_OLDEST_SECONDS,
    PARTITION_OPEN,
    PARTITION_ORDER_NO,
    PARTITION_STREAM,
    REPLICA_LAG_BYTES,
    REPLICA_SILENT_SECONDS,
    STORE_READABLE,
)
from runtime.metrics import (
    GATEWAY_ACCEPT_SECONDS,
    GATEWAY_ANSWERS,
    GATEWAY_APPEND_ENTRIES,
    GATEWAY_PENDING_ORDERS,
    GATEWAY_PROBLEMS,
    GATEWAY_UNREPORTED_ORDERS,
    GATEWAY_VERDICTS,
    GATEWAY_WAITERS,
    GaugeSpec,
    HistogramSpec,
)

# Verdicts that are answered with an order; all others refuse. An order that its owner took in faster
# than the gateway looked it up is "running" or "frozen", as a repeated request is.
ACCEPTED_VERDICTS = ("accepted", "accepted_deferred", "running", "frozen")

# The stages of a payment, in its order, and the flushes and calls that they are made of.
GATEWAY_STAGES = (("accept", GATEWAY_ACCEPT_SECONDS),)
HOST_STAGES = (
    ("intake", HOST_INTAKE_SECONDS),
    ("psp call", HOST_PSP_SECONDS),
    ("settle", HOST_SETTLE_SECONDS),
    ("order", HOST_ORDER_SECONDS),
    ("flush", HOST_FLUSH_SECONDS),
)


def view_of(before: Reading | None, now: Reading) -> View:
    """Compare two looks. Without the first one there are no rates."""
    seconds = 0.0 if before is None else now.at_s - before.at_s
    gateways = _changes(() if before is None else before.gateways, now.gateways, seconds)
    hosts = _changes((before and before.hosts) or (), now.hosts or (), seconds)
    return View(
        seconds=seconds,
        totals=_totals(now, list(gateways.values()), list(hosts.values())),
        stages=[
            *_stages(GATEWAY_STAGES, gateways.values(), seconds),
            *_stages(HOST_STAGES, hosts.values(), seconds),
        ],
        gateways=[_gateway(process, gateways.get(process.name)) for process in now.gateways],
        hosts=[_host(host, hosts.get(host.name)) for host in now.hosts or ()],
        are_hosts_known=now.hosts is not None,
        partitions=_partitions(now, hosts),
        stores=_stores(now),
        unreadable=list(_unreadable(now)),
    )


def _changes(
    before: Sequence[ProcessReading], now: Sequence[ProcessReading], seconds: float
) -> dict[str, Change]:
    earlier = {process.name: process.samples for process in before}
    return {
        process.name: Change(earlier.get(process.name), process.samples, seconds)
        for process in now
        if process.samples is not None
    }


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum of what is known; None when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _count(values: Iterable[float | None]) -> int | None:
    total = _sum(values)
    return None if total is None else int(total)


def _totals(now: Reading, gateways: Sequence[Change], hosts: Sequence[Change]) -> Totals:
    of_gateways = [each.samples for each in now.gateways if each.samples is not None]
    of_hosts = [each.samples for each in now.hosts or () if each.samples is not None]
    failed = PaymentState.FAILED.wire
    return Totals(
        accepted=_count(
            samples.value(GATEWAY_VERDICTS, verdict=verdict)
            for samples in of_gateways
            for verdict in ACCEPTED_VERDICTS
        ),
        taken_in=_count(samples.value(HOST_TAKEN_IN) for samples in of_hosts),
        settled=_count(samples.value(HOST_SETTLED) for samples in of_hosts),
        failed=_count(samples.value(HOST_SETTLED, state=failed) for samples in of_hosts),
        accepted_per_s=_sum(
            change.rate(GATEWAY_VERDICTS, verdict=verdict)
            for change in gateways
            for verdict in ACCEPTED_VERDICTS
        ),
        taken_in_per_s=_sum(change.rate(HOST_TAKEN_IN) for change in hosts),
        settled_per_s=_sum(change.rate(HOST_SETTLED) for change in hosts),
        failed_per_s=_sum(change.rate(HOST_SETTLED, state=failed) for change in hosts),
        open_orders=_count(samples.value(PARTITION_OPEN) for samples in of_hosts),
        are_gateways_complete=len(of_gateways) == len(now.gateways),
        are_hosts_complete=now.hosts is not None and len(of_hosts) == len(now.hosts),
    )


def _stages(
    stages: Iterable[tuple[str, HistogramSpec]], changes: Iterable[Change], seconds: float
) -> list[StageFigures]:
    found: list[StageFigures] = []
    known = [change for change in changes if change.is_known]
    for name, spec in stages:
        total = Distribution()
        for change in known:
            total = total.plus(change.distribution(spec))
        found.append(
            StageFigures(
                name=name,
                count=int(total.count) if known else None,
                per_s=total.count / seconds if known and seconds > 0 else None,
                p50_ms=_ms(total.quantile(0.5)),
                p99_ms=_ms(total.quantile(0.99)),
            )
        )
    return found


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1_000, 3)


def _gateway(process: ProcessReading, change: Change | None) -> GatewayFigures:
    samples = process.samples
    if samples is None or change is None:
        return GatewayFigures(name=process.name, reason=process.reason)
    return GatewayFigures(
        name=process.name,
        answers_per_s=change.rate(GATEWAY_ANSWERS),
        accepted_per_s=_sum(
            change.rate(GATEWAY_VERDICTS, verdict=verdict) for verdict in ACCEPTED_VERDICTS
        ),
        problems_per_s=change.rate(GATEWAY_PROBLEMS),
        pending=_int(samples.value(GATEWAY_PENDING_ORDERS)),
        waiters=_int(samples.value(GATEWAY_WAITERS)),
        unreported=_int(samples.value(GATEWAY_UNREPORTED_ORDERS)),
        orders_per_append=change.distribution(GATEWAY_APPEND_ENTRIES).mean,
        memory_bytes=_int(samples.value(MEMORY)),
        cpu_share=change.rate(CPU_SECONDS),
    )


def _host(host: HostReading, change: Change | None) -> HostFigures:
    samples = host.samples
    if samples is None or change is None:
        return HostFigures(
            name=host.name,
            pid=host.pid,
            partition_count=len(host.partition_indexes),
            reason=host.reason,
        )
    return HostFigures(
        name=host.name,
        pid=host.pid,
        partition_count=len(host.partition_indexes),
        halted=_int(samples.value(HOST_PARTITIONS, state="halted")),
        taken_in_per_s=change.rate(HOST_TAKEN_IN),
        settled_per_s=change.rate(HOST_SETTLED),
        flushes_per_s=change.rate(f"{HOST_FLUSH_SECONDS.name}_count"),
        orders_per_flush=change.distribution(HOST_FLUSH_ORDERS).mean,
        in_flight=_int(samples.value(HOST_CALLS_IN_FLIGHT)),
        retries_per_s=change.rate(HOST_RETRIES),
        late_writes=_int(samples.value(HOST_LATE_WRITES)),
        flush_faults=_int(samples.value(HOST_FLUSH_FAULTS)),
        dead_letters=_int(samples.value(HOST_DEAD_LETTERS)),
        memory_bytes=_int(samples.value(MEMORY)),
        cpu_share=change.rate(CPU_SECONDS),
    )


def _int(value: float | None) -> int | None:
    return None if value is None else int(value)


def _partitions(now: Reading, changes: Mapping[str, Change]) -> list[PartitionFigures]:
    if now.hosts is None:
        return []
    owners = {index: host for host in now.hosts for index in host.partition_indexes}
    return [_partition(index, owners.get(index), changes) for index in range(now.partition_count)]


def _partition(
    index: int, owner: HostReading | None, changes: Mapping[str, Change]
) -> PartitionFigures:
    if owner is None or owner.samples is None:
        return PartitionFigures(index=index, owner=None if owner is None else owner.name)
    samples, label = owner.samples, str(index)

    def read(spec: GaugeSpec) -> float | None:
        return samples.value(spec, partition=label)

    return PartitionFigures(
        index=index,
        owner=owner.name,
        epoch=_int(read(PARTITION_EPOCH)),
        stream=_int(read(PARTITION_STREAM)),
        oldest_s=read(PARTITION_OLDEST_SECONDS),
        inbox=_int(read(PARTITION_INBOX)),
        open_orders=_int(read(PARTITION_OPEN)),
        orders_per_s=changes[owner.name].growth(PARTITION_ORDER_NO, partition=label),
    )


def _stores(now: Reading) -> StoreFigures:
    standbys = None
    if now.store is not None:
        standbys = [
            StandbyFigures(
                name=standby.application_name or "(hidden)",
                sync_state=standby.sync_state,
                flush_lag_bytes=standby.flush_lag_bytes,
                replay_lag_bytes=standby.replay_lag_bytes,
                flush_lag_ms=_ms(standby.flush_lag_s),
                replay_lag_ms=_ms(standby.replay_lag_s),
            )
            for standby in now.store.standbys
        ]
    return StoreFigures(
        standbys=standbys,
        synchronous_standby_names=None
        if now.store is None
        else now.store.synchronous_standby_names,
        database_bytes=None if now.store is None else now.store.database_bytes,
        replicas=_replicas(now.hosts or ()),
    )


def _replicas(hosts: Sequence[HostReading]) -> list[ReplicaFigures] | None:
    """What the first host says that can see the queue; all see the same."""
    for host in hosts:
        if host.samples is None or host.samples.value(STORE_READABLE, store="redis") != 1.0:
            continue
        silent_s = host.samples.by_label(REPLICA_SILENT_SECONDS, "replica")
        return [
            ReplicaFigures(address=address, lag_bytes=int(lag), silent_s=int(silent_s[address]))
            for address, lag in sorted(host.samples.by_label(REPLICA_LAG_BYTES, "replica").items())
        ]
    return None


def _unreadable(now: Reading) -> Iterable[Unreadable]:
    for process in (*now.gateways, *(now.hosts or ())):
        if process.samples is None:
            yield Unreadable(source=process.name, reason=process.reason)
    if now.hosts is None or now.store is None:
        yield Unreadable(source="books", reason="Postgres does not answer")
    for host in now.hosts or ():
        if host.samples is not None and host.samples.value(STORE_READABLE, store="redis") == 0.0:
            yield Unreadable(source="queue", reason=f"{host.name} can't read it")
