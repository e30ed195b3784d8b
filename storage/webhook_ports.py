"""Webhook endpoints and their deliveries, as values and as the port of gateways and the command line."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Protocol

from payments.feed import DB_TRANSACTION_MAX, ENDPOINT_NO_MAX, FeedPosition
from payments.mode import Mode

ABOVE_ALL_ENDPOINTS = ENDPOINT_NO_MAX + 1
ABOVE_ALL_DELIVERIES = FeedPosition(DB_TRANSACTION_MAX, 0, 0, 0)


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
