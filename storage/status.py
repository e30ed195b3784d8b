"""What `status` shows of a shard: its store, its hosts, and how many orders stand where."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from payments.lifecycle import PaymentState
from payments.parking import ParkReason
from storage.read_pool import ReadPool
from storage.sessions import Session
from storage.sql_files import load_statements
from storage.webhook_ports import EndpointStatus

# Outcomes are counted by reading them all, some millions a second; status must answer within a second
# or two on books of any size, and rather shows no number than an old one.
OUTCOME_COUNT_MS_MAX = 1_500

# Nobody closes an event that contradicts: an old one is history, which `tally psp-events list` tells.
EVENT_DAYS = 7

# Deliveries that wait: status says that it is many, not how many millions.
WAITING_COUNT_MAX = 100_000

_OF_DISPATCHER = (
    *("waiting_count", "lead_name", "metrics_address", "beat_age_s"),
    *("behind_s", "held_up_s"),
)

COUNT_TRANSACTION = f"BEGIN READ ONLY; SET LOCAL statement_timeout = {OUTCOME_COUNT_MS_MAX}"

_SQL = load_statements("status.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotStatus:
    """A replication slot: the WAL that the primary keeps for one standby."""

    name: str
    is_active: bool
    wal_status: str | None
    """Postgres' word: reserved, extended, unreserved, lost; None before its first use."""
    retained_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StandbyStatus:
    """A standby that is connected now. Details are None where the migrations' role may not see them."""

    application_name: str | None
    state: str | None
    sync_state: str | None
    """Postgres' word: sync, quorum, potential, async."""
    flush_lag_bytes: int | None
    replay_lag_bytes: int | None
    flush_lag_s: float | None
    """How long recent WAL took to be flushed there; None when nothing was written for a while."""
    replay_lag_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """One Postgres server. ``started_at`` changes with every start."""

    is_standby: bool
    started_at: datetime
    database_bytes: int
    synchronous_standby_names: str
    """Which standbys commits wait for; empty when one copy has been accepted."""
    slots: Sequence[SlotStatus]
    standbys: Sequence[StandbyStatus]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatus:
    """A host incarnation whose lease is not released. It lives as long as ``counter`` rises."""

    incarnation: UUID
    host_name: str
    node: str
    pid: int
    counter: int
    started_at: datetime
    age_s: float
    """Since its start, by the database's clock."""
    partition_indexes: Sequence[int]
    metrics_address: str | None = None
    """``host:port`` of its metrics; None when it serves none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedCount:
    """Open orders that rest, for one reason at one PSP."""

    psp: str
    reason: str
    order_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCounts:
    """How many orders stand where, by the wire name of their state."""

    open_by_status: Mapping[str, int]
    parked: Sequence[ParkedCount]
    """Which of the open ones rest."""
    ended_by_status: Mapping[str, int] | None
    """None when there are too many to count in OUTCOME_COUNT_MS_MAX."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What waits for a person, and makes nothing unhealthy by that."""

    dead_letter_count: int
    """Neither replayed nor discarded, and nobody has said so yet."""
    contradicting_event_count: int
    """PSPs' events that tell otherwise than the books, of the last EVENT_DAYS days."""
    unmatched_event_count: int
    """Those that found no order, of the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What hosts can't go on with by themselves."""

    paused: Sequence[int]
    """Partitions that take nothing in, because most of what comes would be set aside."""
    stalled: Sequence[int]
    """Partitions over which hosts have died in a row."""
    parked_order_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookStatus:
    """How webhooks fare. What only a dispatcher tells is None as long as none has ever led."""

    endpoint_counts: Mapping[str, int]
    """By the API's word for their status; deleted ones don't count."""
    waiting_count: int
    """Deliveries that wait to be tried again, counted up to WAITING_COUNT_MAX."""
    lead_name: str | None
    metrics_address: str | None
    beat_age_s: float | None
    """Since its last sign of life, by the database's clock."""
    behind_s: float | None
    """How old the oldest event is that was read for an endpoint and has no delivery yet."""
    held_up_s: float | None
    """How long one transaction that still runs has ended the feed."""


class StatusQueries:
    """Asks one shard. Every method raises StorageUnavailable."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def store(self) -> StoreStatus:
        """Return how the server fares that the pool leads to: the primary."""
        return await self._pool.run(_store)

    async def standbys(self) -> Sequence[StandbyStatus]:
        """Return how far each connected standby is behind the primary."""
        return await self._pool.run(_standbys)

    async def hosts(self) -> Sequence[HostStatus]:
        """Return hosts by name. One whose process died stays until somebody releases its lease."""
        return [HostStatus(**row) for row in await self._pool.fetch(_SQL["hosts"])]

    async def trouble(self) -> Trouble:
        """Return what people have to look after."""
        return Trouble(**(await self._pool.fetch(_SQL["trouble"]))[0])

    async def decisions(self) -> Decisions:
        """Return what people have to decide."""
        return Decisions(**(await self._pool.fetch(_SQL["decisions"], EVENT_DAYS))[0])

    async def webhooks(self) -> WebhookStatus:
        """Return how webhooks fare."""
        (row,) = await self._pool.fetch(_SQL["webhooks"], WAITING_COUNT_MAX)
        counts = json.loads(row["endpoint_counts"] or "{}")
        return WebhookStatus(
            endpoint_counts={
                EndpointStatus(int(status)).wire: count for status, count in counts.items()
            },
            **{name: row[name] for name in _OF_DISPATCHER},
        )

    async def counts(self) -> OrderCounts:
        """Return the counts; each is exact, but they are not of one moment."""
        open_rows = await self._pool.fetch(_SQL["open_counts"])
        parked_rows = await self._pool.fetch(_SQL["parked_counts"])
        return OrderCounts(
            open_by_status=_by_status(open_rows),
            parked=[_parked(row) for row in parked_rows],
            ended_by_status=await self._pool.run(_ended_by_status),
        )


async def _store(session: Session) -> StoreStatus:
    server = (await session.fetch(_SQL["store"]))[0]
    slots = await session.fetch(_SQL["slots"])
    return StoreStatus(
        is_standby=server["is_standby"],
        started_at=server["started_at"],
        database_bytes=server["database_bytes"],
        synchronous_standby_names=server["synchronous_standby_names"],
        slots=[
            SlotStatus(
                name=row["slot_name"],
                is_active=row["is_active"],
                wal_status=row["wal_status"],
                retained_bytes=row["retained_bytes"],
            )
            for row in slots
        ],
        standbys=await _standbys(session),
    )


async def _standbys(session: Session) -> Sequence[StandbyStatus]:
    return [StandbyStatus(**row) for row in await session.fetch(_SQL["standbys"])]


async def _ended_by_status(session: Session) -> Mapping[str, int] | None:
    await session.execute(COUNT_TRANSACTION)
    try:
        counts = _by_status(await session.fetch(_SQL["outcome_counts"]))
    except asyncpg.QueryCanceledError:
        counts = None
    # Rolls back what the server has canceled, and ends the read-only transaction otherwise.
    await session.execute("ROLLBACK")
    return counts


def _parked(row: asyncpg.Record) -> ParkedCount:
    return ParkedCount(
        psp=row["psp"],
        reason=ParkReason(row["parked_reason"]).wire,
        order_count=row["order_count"],
    )


def _by_status(rows: Sequence[asyncpg.Record]) -> Mapping[str, int]:
    return {PaymentState(row["status"]).wire: row["order_count"] for row in rows}
