"""Everything that `tally top` shows, as values: also the document of its JSON.

None always means that it is not known. Rates are over the ``seconds`` between two looks; counts
without ``_per_s`` are since their process started.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """All present gateways, and hosts, together. Incomplete where one of them could not be read.

    What ended processes counted is not in it: the totals of the books are those of `tally status`.
    """

    accepted: int | None
    taken_in: int | None
    settled: int | None
    failed: int | None
    """Of the settled ones."""
    accepted_per_s: float | None
    taken_in_per_s: float | None
    settled_per_s: float | None
    failed_per_s: float | None
    open_orders: int | None
    are_gateways_complete: bool
    are_hosts_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFigures:
    """How long a stage took for what ended between the two looks, in processes that both could read."""

    name: str
    count: int | None
    per_s: float | None
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayFigures:
    """One gateway process. ``reason`` says why it can't be read, and is empty when it could."""

    name: str
    reason: str = ""
    answers_per_s: float | None = None
    accepted_per_s: float | None = None
    problems_per_s: float | None = None
    pending: int | None = None
    waiters: int | None = None
    unreported: int | None = None
    orders_per_append: float | None = None
    memory_bytes: int | None = None
    cpu_share: float | None = None
    """Of one core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFigures:
    """One partition host. ``partition_count`` is what the books say, the rest what it says itself."""

    name: str
    pid: int
    partition_count: int
    reason: str = ""
    halted: int | None = None
    taken_in_per_s: float | None = None
    settled_per_s: float | None = None
    flushes_per_s: float | None = None
    orders_per_flush: float | None = None
    in_flight: int | None = None
    retries_per_s: float | None = None
    late_writes: int | None = None
    flush_faults: int | None = None
    dead_letters: int | None = None
    memory_bytes: int | None = None
    cpu_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionFigures:
    """One partition. Only its owner knows more than who owns it."""

    index: int
    owner: str | None
    epoch: int | None = None
    stream: int | None = None
    oldest_s: float | None = None
    inbox: int | None = None
    open_orders: int | None = None
    orders_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StandbyFigures:
    name: str
    sync_state: str | None
    flush_lag_bytes: int | None
    replay_lag_bytes: int | None
    flush_lag_ms: float | None
    replay_lag_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaFigures:
    address: str
    lag_bytes: int
    silent_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFigures:
    """The stores' copies. None where the primary, or every host, could not be asked."""

    standbys: Sequence[StandbyFigures] | None
    synchronous_standby_names: str | None
    database_bytes: int | None
    replicas: Sequence[ReplicaFigures] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A source that did not answer, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One picture of the stack."""

    seconds: float
    totals: Totals
    stages: Sequence[StageFigures]
    gateways: Sequence[GatewayFigures]
    hosts: Sequence[HostFigures]
    are_hosts_known: bool
    partitions: Sequence[PartitionFigures]
    stores: StoreFigures
    unreadable: Sequence[Unreadable]
