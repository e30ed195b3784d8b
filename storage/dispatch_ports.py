"""What the dispatcher asks of the books, and tells them, as values and as a port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from payments.feed import FeedPosition
from payments.mode import Mode
from storage.webhook_ports import DeliveryState, EndpointStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchEndpoint:
    """An endpoint as the dispatcher needs it. Its secrets never appear in its repr."""

    endpoint_no: int
    merchant_no: int
    mode: Mode
    url: str
    types: tuple[str, ...]
    status: EndpointStatus
    position: FeedPosition
    failing_since: datetime | None
    secrets: tuple[bytes, ...] = field(repr=False)
    """Valid now, the newest first."""


class DueDelivery(NamedTuple):
    """A delivery whose next try is due."""

    endpoint_no: int
    position: FeedPosition
    type: int
    event_created_at: datetime
    round_try_count: int
    """Tries since it was last begun."""


class TriedDelivery(NamedTuple):
    """One try, and what it leaves behind."""

    endpoint_no: int
    position: FeedPosition
    type: int
    event_created_at: datetime
    state: DeliveryState
    round_try_count: int
    delay_s: float
    """Until the next try, of one that waits."""
    tried_at: datetime
    http_status: int | None
    error: str | None
    duration_ms: int


class MovedEndpoint(NamedTuple):
    """How far an endpoint is, and whether its last try failed."""

    endpoint_no: int
    position: FeedPosition
    is_failing: bool


class StoppedEndpoint(NamedTuple):
    """An endpoint that is sent nothing any more, and why."""

    endpoint_no: int
    status: EndpointStatus
    reason: str


@dataclass(slots=True)
class DispatchRecord:
    """What is written together. No delivery and no endpoint stands in it twice."""

    tried: list[TriedDelivery] = field(default_factory=list)
    moved: list[MovedEndpoint] = field(default_factory=list)
    stopped: list[StoppedEndpoint] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.tried or self.moved or self.stopped)


class DispatchStore(Protocol):
    """Every method but ``take_lead`` and ``close`` needs the lead. Every one raises StorageUnavailable.

    After that the lead is lost, and what was to be written may have been written.
    """

    async def take_lead(self, name: str, metrics_address: str | None) -> bool:
        """Become the one who dispatches, unless somebody is."""
        ...

    async def last_beat(self) -> int | None:
        """Return the count of the one who leads, for who waits for the lead."""
        ...

    async def end_silent(self, beat: int) -> None:
        """End the session of a lead that has not counted on from ``beat``."""
        ...

    async def beat(self, *, behind_s: float, held_up_s: float) -> None: ...

    async def endpoints(self) -> Sequence[DispatchEndpoint]: ...

    async def recorded(
        self, endpoint_nos: Sequence[int], *, count_max: int
    ) -> Mapping[int, frozenset[FeedPosition]]:
        """Return by endpoint the places behind its own that have a delivery already."""
        ...

    async def waiting_counts(
        self, endpoint_nos: Sequence[int], *, count_max: int
    ) -> Mapping[int, int]: ...

    async def due(self, rooms: Mapping[int, int]) -> Sequence[DueDelivery]:
        """Return by endpoint at most so many deliveries whose next try is due, the oldest first."""
        ...

    async def record(self, record: DispatchRecord) -> None: ...

    async def prune(self, endpoint_no: int, *, before: datetime, count_max: int) -> int:
        """Forget the oldest deliveries that have ended, of events before a time; return how many."""
        ...

    async def close(self) -> None: ...
