"""Webhook endpoints and their delivery log on Postgres, for gateways and the command line."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Protocol

import asyncpg

from payments.feed import DB_TRANSACTION_MAX, ENDPOINT_NO_MAX, FeedPosition
from payments.mode import Mode
from storage.read_pool import ReadPool
from storage.sql_files import load_statements

ABOVE_ALL_ENDPOINTS = ENDPOINT_NO_MAX + 1
ABOVE_ALL_DELIVERIES = FeedPosition(DB_TRANSACTION_MAX, 0, 0, 0)

_SQL = load_statements("webhooks.sql")


class EndpointStatus(IntEnum):
    """Whether anything is sent to an endpoint. Stored; never renumber. The API's word is in lower case."""

    ENABLED = 1
    PAUSED = 2
    """By us: nothing has succeeded there for too long."""
    DISABLED = 3
    """By its merchant."""
    GONE = 4
    """It answered 410: it wants nothing any more."""

    @property
    def wire(self) -> str:
        return self.name.lower()


class DeliveryState(IntEnum):
    """Where a delivery stands. Stored; never renumber. The API's word is in lower case."""

    WAITING = 1
    """For its next try."""
    DELIVERED = 2
    DEAD = 3
    """Given up after its last try: a dead letter, which can be resent."""

    @property
    def wire(self) -> str:
        return self.name.lower()

    @classmethod
    def from_wire(cls, wire: str) -> DeliveryState | None:
        return next((state for state in cls if state.wire == wire), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint without its secrets, which nobody is shown a second time."""

    endpoint_no: int
    merchant_no: int
    mode: Mode
    url: str
    types: Sequence[str]
    status: EndpointStatus
    status_reason: str | None
    status_at: datetime
    created_at: datetime
    failing_since: datetime | None
    """No try has succeeded since; None while they do."""
    secret_count: int
    """Valid now: two while one replaces the other."""
    secret_expires_at: datetime | None
    """When the older of two ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of one event at one endpoint."""

    endpoint_no: int
    position: FeedPosition
    type: int
    event_created_at: datetime
    state: DeliveryState
    try_count: int
    due_at: datetime | None
    """Of one that waits: when it is tried next."""
    first_try_at: datetime
    last_try_at: datetime
    last_http_status: int | None
    """None when no answer came."""
    last_error: str | None
    """A word from actors/webhook_sending.py; None of a try that was answered with 2xx."""
    last_duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendRange:
    """Which deliveries shall begin anew: of events from a time up to another one."""

    created_from: datetime
    created_to: datetime
    transaction_first: int
    """Bounds in the feed that surely hold them: they make the search short."""
    transaction_end: int
    states: Collection[DeliveryState]
    count_max: int


class Webhooks(Protocol):
    """Every method raises StorageUnavailable; one that changes rows may have done it all the same."""

    async def create(
        self,
        merchant_no: int,
        mode: Mode,
        *,
        url: str,
        types: Sequence[str],
        sealed_secret: bytes,
        count_max: int,
    ) -> Endpoint | None:
        """Return the new endpoint; its events are those from now on. None: there are ``count_max``."""
        ...

    async def endpoint(self, merchant_no: int, mode: Mode, endpoint_no: int) -> Endpoint | None: ...

    async def endpoints(
        self, merchant_no: int, mode: Mode, *, below: int, count_max: int
    ) -> Sequence[Endpoint]:
        """Return those with a number below that, newest first."""
        ...

    async def delete(self, merchant_no: int, mode: Mode, endpoint_no: int) -> bool: ...

    async def set_status(
        self,
        merchant_no: int,
        mode: Mode,
        endpoint_no: int,
        status: EndpointStatus,
        reason: str | None,
    ) -> bool: ...

    async def rotate(
        self,
        merchant_no: int,
        mode: Mode,
        endpoint_no: int,
        *,
        sealed_secret: bytes,
        overlap_s: int,
    ) -> bool:
        """Add a secret; the one before is valid for ``overlap_s`` more, and any older one no longer."""
        ...

    async def deliveries(
        self,
        endpoint_no: int,
        *,
        below: FeedPosition,
        state: DeliveryState | None,
        count_max: int,
    ) -> Sequence[Delivery]:
        """Return one page of the log below a place, newest first."""
        ...

    async def resend(self, endpoint_no: int, position: FeedPosition) -> bool:
        """Have one delivery begin anew; False when there is none."""
        ...

    async def resend_range(self, endpoint_no: int, wanted: ResendRange) -> int:
        """Have deliveries begin anew, oldest first; return how many."""
        ...


class PostgresWebhooks:
    """Webhooks on the shard that holds the directory and the feed."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def create(
        self,
        merchant_no: int,
        mode: Mode,
        *,
        url: str,
        types: Sequence[str],
        sealed_secret: bytes,
        count_max: int,
    ) -> Endpoint | None:
        """See ``Webhooks``."""
        rows = await self._pool.write(
            _SQL["create_endpoint"],
            *(merchant_no, mode, url, list(types), sealed_secret, count_max),
        )
        if not rows:
            return None
        return await self.endpoint(merchant_no, mode, rows[0]["endpoint_no"])

    async def endpoint(self, merchant_no: int, mode: Mode, endpoint_no: int) -> Endpoint | None:
        """See ``Webhooks``."""
        row = await self._pool.fetchrow(
            _SQL["endpoints"], merchant_no, mode, endpoint_no, ABOVE_ALL_ENDPOINTS, 1
        )
        return None if row is None else _endpoint(row)

    async def endpoints(
        self, merchant_no: int, mode: Mode, *, below: int, count_max: int
    ) -> Sequence[Endpoint]:
        """See ``Webhooks``."""
        rows = await self._pool.fetch(_SQL["endpoints"], merchant_no, mode, None, below, count_max)
        return [_endpoint(row) for row in rows]

    async def of_everybody(
        self, *, endpoint_no: int | None, below: int, count_max: int
    ) -> Sequence[Endpoint]:
        """Return endpoints of all merchants and modes, newest first, for operators. Raises StorageUnavailable."""
        rows = await self._pool.fetch(_SQL["endpoints"], None, None, endpoint_no, below, count_max)
        return [_endpoint(row) for row in rows]

    async def delete(self, merchant_no: int, mode: Mode, endpoint_no: int) -> bool:
        """See ``Webhooks``."""
        return bool(await self._pool.write(_SQL["delete_endpoint"], merchant_no, mode, endpoint_no))

    async def set_status(
        self,
        merchant_no: int,
        mode: Mode,
        endpoint_no: int,
        status: EndpointStatus,
        reason: str | None,
    ) -> bool:
        """See ``Webhooks``."""
        return bool(
            await self._pool.write(
                _SQL["set_status"], merchant_no, mode, endpoint_no, status, reason
            )
        )

    async def rotate(
        self,
        merchant_no: int,
        mode: Mode,
        endpoint_no: int,
        *,
        sealed_secret: bytes,
        overlap_s: int,
    ) -> bool:
        """See ``Webhooks``."""
        return bool(
            await self._pool.write(
                _SQL["rotate_secret"], merchant_no, mode, endpoint_no, sealed_secret, overlap_s
            )
        )

    async def deliveries(
        self,
        endpoint_no: int,
        *,
        below: FeedPosition,
        state: DeliveryState | None,
        count_max: int,
    ) -> Sequence[Delivery]:
        """See ``Webhooks``."""
        rows = await self._pool.fetch(_SQL["deliveries"], endpoint_no, *below, state, count_max)
        return [_delivery(endpoint_no, row) for row in rows]

    async def resend(self, endpoint_no: int, position: FeedPosition) -> bool:
        """See ``Webhooks``."""
        return bool(await self._pool.write(_SQL["resend"], endpoint_no, *position))

    async def resend_range(self, endpoint_no: int, wanted: ResendRange) -> int:
        """See ``Webhooks``."""
        rows = await self._pool.write(
            _SQL["resend_range"],
            *(endpoint_no, wanted.transaction_first, wanted.transaction_end),
            *(wanted.created_from, wanted.created_to, sorted(wanted.states), wanted.count_max),
        )
        count: int = rows[0]["delivery_count"]
        return count

    async def audit(self, actor: str, action: str, subject: str, reason: str) -> None:
        """Note what an operator did, and why. Raises StorageUnavailable."""
        await self._pool.write(_SQL["audit"], actor, action, subject, reason)


def _endpoint(row: asyncpg.Record) -> Endpoint:
    members = dict(row)
    return Endpoint(
        **{**members, "mode": Mode(row["mode"]), "status": EndpointStatus(row["status"])}
    )


def _delivery(endpoint_no: int, row: asyncpg.Record) -> Delivery:
    position = FeedPosition(
        row["db_transaction"], row["partition_index"], row["order_no"], row["sequence"]
    )
    return Delivery(
        endpoint_no=endpoint_no,
        position=position,
        type=row["type"],
        event_created_at=row["event_created_at"],
        state=DeliveryState(row["state"]),
        try_count=row["try_count"],
        due_at=row["due_at"],
        first_try_at=row["first_try_at"],
        last_try_at=row["last_try_at"],
        last_http_status=row["last_http_status"],
        last_error=row["last_error"],
        last_duration_ms=row["last_duration_ms"],
    )
