"""Webhook endpoints and deliveries in memory: the gateway's side, and the dispatcher's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from payments.feed import FeedPosition
from payments.mode import Mode
from runtime.faults import StorageUnavailable
from storage.dispatch_ports import (
    DispatchEndpoint,
    DispatchRecord,
    DueDelivery,
    TriedDelivery,
)
from storage.sealing import open_sealed
from storage.webhook_ports import Delivery, DeliveryState, Endpoint, EndpointStatus, ResendRange
from tests.fakes.fake_event_feed import FakeEventFeed
from tests.fakes.fake_queries import FAKE_NOW, check_available

DeliveryKey = tuple[int, FeedPosition]


@dataclass
class FakeWebhookBooks:
    """The rows. ``now`` is the database's clock."""

    feed: FakeEventFeed
    now: Callable[[], datetime] = lambda: FAKE_NOW
    endpoints: dict[int, Endpoint] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)
    secrets: dict[int, list[tuple[bytes, datetime | None]]] = field(default_factory=dict)
    """Sealed, the newest first, and when each ends."""
    places: dict[int, FeedPosition] = field(default_factory=dict)
    deliveries: dict[DeliveryKey, Delivery] = field(default_factory=dict)
    rounds: dict[DeliveryKey, int] = field(default_factory=dict)
    lead: FakeDispatchStore | None = None
    beat: int = 0

    def valid_secrets(self, endpoint_no: int) -> list[tuple[bytes, datetime | None]]:
        now = self.now()
        return [one for one in self.secrets[endpoint_no] if one[1] is None or one[1] > now]


class FakeWebhooks:
    """Webhooks over dictionaries."""

    def __init__(self, books: FakeWebhookBooks) -> None:
        self.books = books
        self.is_available = True

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
        check_available(self.is_available)
        books = self.books
        if len(self._of(merchant_no, mode)) >= count_max:
            return None
        number = len(books.endpoints) + 1
        books.endpoints[number] = Endpoint(
            endpoint_no=number,
            merchant_no=merchant_no,
            mode=mode,
            url=url,
            types=list(types),
            status=EndpointStatus.ENABLED,
            status_reason=None,
            status_at=books.now(),
            created_at=books.now(),
            failing_since=None,
            secret_count=1,
            secret_expires_at=None,
        )
        books.secrets[number] = [(sealed_secret, None)]
        books.places[number] = await books.feed.horizon()
        return await self.endpoint(merchant_no, mode, number)

    async def endpoint(self, merchant_no: int, mode: Mode, endpoint_no: int) -> Endpoint | None:
        check_available(self.is_available)
        return next(
            (one for one in self._of(merchant_no, mode) if one.endpoint_no == endpoint_no), None
        )

    async def endpoints(
        self, merchant_no: int, mode: Mode, *, below: int, count_max: int
    ) -> Sequence[Endpoint]:
        check_available(self.is_available)
        found = [one for one in self._of(merchant_no, mode) if one.endpoint_no < below]
        return sorted(found, key=lambda one: -one.endpoint_no)[:count_max]

    async def delete(self, merchant_no: int, mode: Mode, endpoint_no: int) -> bool:
        if await self.endpoint(merchant_no, mode, endpoint_no) is None:
            return False
        self.books.deleted.add(endpoint_no)
        return True

    async def set_status(
        self,
        merchant_no: int,
        mode: Mode,
        endpoint_no: int,
        status: EndpointStatus,
        reason: str | None,
    ) -> bool:
        before = await self.endpoint(merchant_no, mode, endpoint_no)
        if before is None:
            return False
        is_enabled = status is EndpointStatus.ENABLED
        self.books.endpoints[endpoint_no] = replace(
            before,
            status=status,
            status_reason=reason,
            status_at=before.status_at if before.status is status else self.books.now(),
            failing_since=None if is_enabled else before.failing_since,
        )
        return True

    async def rotate(
        self,
        merchant_no: int,
        mode: Mode,
        endpoint_no: int,
        *,
        sealed_secret: bytes,
        overlap_s: int,
    ) -> bool:
        if await self.endpoint(merchant_no, mode, endpoint_no) is None:
            return False
        now = self.books.now()
        ends_at = now + timedelta(seconds=overlap_s)
        ended = [
            (sealed, ends_at if expires_at is None else min(expires_at, now))
            for sealed, expires_at in self.books.secrets[endpoint_no]
        ]
        self.books.secrets[endpoint_no] = [(sealed_secret, None), *ended]
        return True

    async def deliveries(
        self,
        endpoint_no: int,
        *,
        below: FeedPosition,
        state: DeliveryState | None,
        count_max: int,
    ) -> Sequence[Delivery]:
        check_available(self.is_available)
        found = [
            delivery
            for (number, position), delivery in self.books.deliveries.items()
            if number == endpoint_no and position < below and state in (None, delivery.state)
        ]
        return sorted(found, key=lambda one: one.position, reverse=True)[:count_max]

    async def resend(self, endpoint_no: int, position: FeedPosition) -> bool:
        check_available(self.is_available)
        key = (endpoint_no, position)
        if key not in self.books.deliveries:
            return False
        self._begin(key)
        return True

    async def resend_range(self, endpoint_no: int, wanted: ResendRange) -> int:
        check_available(self.is_available)
        found = sorted(
            key
            for key, delivery in self.books.deliveries.items()
            if key[0] == endpoint_no
            and wanted.transaction_first <= key[1].db_transaction < wanted.transaction_end
            and wanted.created_from <= delivery.event_created_at < wanted.created_to
            and delivery.state in wanted.states
        )[: wanted.count_max]
        for key in found:
            self._begin(key)
        return len(found)

    def _begin(self, key: DeliveryKey) -> None:
        before = self.books.deliveries[key]
        if before.state is not DeliveryState.WAITING:
            self.books.rounds[key] = 0
        self.books.deliveries[key] = replace(
            before, state=DeliveryState.WAITING, due_at=self.books.now()
        )

    def _of(self, merchant_no: int, mode: Mode) -> list[Endpoint]:
        books = self.books
        found: list[Endpoint] = []
        for number, one in books.endpoints.items():
            if (one.merchant_no, one.mode) == (merchant_no, mode) and number not in books.deleted:
                valid = books.valid_secrets(number)
                ends = [ends_at for _, ends_at in valid if ends_at is not None]
                found.append(
                    replace(one, secret_count=len(valid), secret_expires_at=min(ends, default=None))
                )
        return found


class FakeDispatchStore:
    """DispatchStore over the same dictionaries. ``end_session`` is what a lost connection does."""

    def __init__(self, books: FakeWebhookBooks) -> None:
        self.books = books
        self.records: list[DispatchRecord] = []
        self.is_available = True

    def end_session(self) -> None:
        """Lose the connection, and the lead with it."""
        if self.books.lead is self:
            self.books.lead = None

    async def take_lead(self, name: str, metrics_address: str | None) -> bool:
        check_available(self.is_available)
        if self.books.lead is None:
            self.books.lead = self
            self.books.beat += 1
        return self.books.lead is self

    async def last_beat(self) -> int | None:
        check_available(self.is_available)
        return self.books.beat

    async def end_silent(self, beat: int) -> None:
        check_available(self.is_available)
        if self.books.beat == beat:
            self.books.lead = None

    async def beat(self, *, behind_s: float, held_up_s: float) -> None:
        self._check_lead()
        self.books.beat += 1

    async def endpoints(self) -> Sequence[DispatchEndpoint]:
        self._check_lead()
        books = self.books
        return [
            DispatchEndpoint(
                endpoint_no=number,
                merchant_no=one.merchant_no,
                mode=one.mode,
                url=one.url,
                types=tuple(one.types),
                status=one.status,
                position=books.places[number],
                failing_since=one.failing_since,
                secrets=tuple(open_sealed(sealed) for sealed, _ in books.valid_secrets(number)),
            )
            for number, one in sorted(books.endpoints.items())
            if number not in books.deleted
        ]

    async def recorded(
        self, endpoint_nos: Sequence[int], *, count_max: int
    ) -> Mapping[int, frozenset[FeedPosition]]:
        self._check_lead()
        found: dict[int, list[FeedPosition]] = {}
        for number, position in sorted(self.books.deliveries):
            if number in endpoint_nos and position > self.books.places[number]:
                found.setdefault(number, []).append(position)
        return {number: frozenset(places[:count_max]) for number, places in found.items()}

    async def waiting_counts(
        self, endpoint_nos: Sequence[int], *, count_max: int
    ) -> Mapping[int, int]:
        self._check_lead()
        states = [(key[0], one.state) for key, one in self.books.deliveries.items()]
        return {
            number: min(states.count((number, DeliveryState.WAITING)), count_max)
            for number in endpoint_nos
        }

    async def due(self, rooms: Mapping[int, int]) -> Sequence[DueDelivery]:
        self._check_lead()
        now = self.books.now()
        found: list[DueDelivery] = []
        for number, count_max in rooms.items():
            of_endpoint = [
                (one.due_at, position, one)
                for (its_number, position), one in self.books.deliveries.items()
                if its_number == number and one.due_at is not None and one.due_at <= now
            ]
            found += [
                DueDelivery(
                    number,
                    position,
                    one.type,
                    one.event_created_at,
                    self.books.rounds[number, position],
                )
                for _, position, one in sorted(of_endpoint, key=lambda item: item[:2])[:count_max]
            ]
        return found

    async def record(self, record: DispatchRecord) -> None:
        self._check_lead()
        self.records.append(record)
        books = self.books
        for tried in record.tried:
            self._write(tried)
        for moved in record.moved:
            books.places[moved.endpoint_no] = moved.position
            before = books.endpoints[moved.endpoint_no]
            since = (before.failing_since or books.now()) if moved.is_failing else None
            books.endpoints[moved.endpoint_no] = replace(before, failing_since=since)
        for stopped in record.stopped:
            before = books.endpoints[stopped.endpoint_no]
            if before.status is EndpointStatus.ENABLED:
                books.endpoints[stopped.endpoint_no] = replace(
                    before,
                    status=stopped.status,
                    status_reason=stopped.reason,
                    status_at=books.now(),
                )

    async def prune(self, endpoint_no: int, *, before: datetime, count_max: int) -> int:
        self._check_lead()
        first = sorted(key for key in self.books.deliveries if key[0] == endpoint_no)[:count_max]
        old = [
            key
            for key in first
            if self.books.deliveries[key].event_created_at < before
            and self.books.deliveries[key].state is not DeliveryState.WAITING
        ]
        for key in old:
            del self.books.deliveries[key]
        return len(old)

    async def close(self) -> None:
        self.end_session()

    def _check_lead(self) -> None:
        check_available(self.is_available)
        if self.books.lead is not self:
            raise StorageUnavailable("postgres", "the fake's session has ended")

    def _write(self, tried: TriedDelivery) -> None:
        key = (tried.endpoint_no, tried.position)
        before = self.books.deliveries.get(key)
        is_waiting = tried.state is DeliveryState.WAITING
        self.books.rounds[key] = tried.round_try_count
        self.books.deliveries[key] = Delivery(
            endpoint_no=tried.endpoint_no,
            position=tried.position,
            type=tried.type,
            event_created_at=tried.event_created_at,
            state=tried.state,
            try_count=1 if before is None else before.try_count + 1,
            due_at=self.books.now() + timedelta(seconds=tried.delay_s) if is_waiting else None,
            first_try_at=tried.tried_at if before is None else before.first_try_at,
            last_try_at=tried.tried_at,
            last_http_status=tried.http_status,
            last_error=tried.error,
            last_duration_ms=tried.duration_ms,
        )
