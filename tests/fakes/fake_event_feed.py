"""The feed in memory: events of transactions that run, commit in any order, and hold it up meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from payments.feed import FEED_START, EventKey, FeedPosition, before_transaction
from payments.mode import Mode
from storage.event_feed import FeedEntry, FeedPage, FeedQuery, StoredEvent, page_of
from tests.fakes.fake_queries import FAKE_NOW, check_available


@dataclass
class FakeTransaction:
    """One that runs, until it is committed."""

    number: int
    feed: FakeEventFeed
    events: dict[FeedPosition, StoredEvent] = field(default_factory=dict)

    def write(
        self,
        key: EventKey,
        *,
        type: int,  # noqa: A002  # as the row's column
        merchant_no: int = 1,
        mode: Mode = Mode.TEST,
        created_at: datetime = FAKE_NOW,
        body: bytes | None = None,
    ) -> FeedPosition:
        """Write one event; nobody sees it yet."""
        position = FeedPosition(self.number, *key)
        told = b'{"id":"%d-%d-%d"}' % key if body is None else body
        self.events[position] = StoredEvent(merchant_no, mode, type, created_at, told)
        return position

    def commit(self) -> None:
        """End it: its events are there."""
        self.feed.events_by_place.update(self.events)
        self.feed.running.discard(self.number)


class FakeEventFeed:
    """EventFeed over a dictionary."""

    def __init__(self) -> None:
        self.is_available = True
        self.events_by_place: dict[FeedPosition, StoredEvent] = {}
        self.running: set[int] = set()
        self.look_count = 0
        self._transaction_last = 100

    def begin(self) -> FakeTransaction:
        """Begin a transaction that is going to write."""
        self._transaction_last += 1
        self.running.add(self._transaction_last)
        return FakeTransaction(self._transaction_last, self)

    def put(self, key: EventKey, **columns: object) -> FeedPosition:
        """Write one event in a transaction of its own."""
        transaction = self.begin()
        position = transaction.write(key, **columns)  # type: ignore[arg-type]
        transaction.commit()
        return position

    async def pages(self, wanted: Sequence[FeedQuery]) -> Sequence[FeedPage]:
        check_available(self.is_available)
        self.look_count += 1
        horizon = self._horizon()
        return [self._page(query, horizon) for query in wanted]

    async def newest(self, merchant_no: int, mode: Mode) -> FeedPosition:
        check_available(self.is_available)
        every = self._page(FeedQuery(merchant_no, mode, FEED_START, sys.maxsize), self._horizon())
        return every.reached

    async def horizon(self) -> FeedPosition:
        return (await self.horizon_held())[0]

    async def horizon_held(self) -> tuple[FeedPosition, bool]:
        check_available(self.is_available)
        return self._horizon(), bool(self.running)

    async def events(self, keys: Sequence[EventKey]) -> Mapping[EventKey, StoredEvent]:
        check_available(self.is_available)
        by_key = {place.key: event for place, event in self.events_by_place.items()}
        return {key: by_key[key] for key in keys if key in by_key}

    async def first_since(
        self, merchant_no: int, mode: Mode, db_transaction: int
    ) -> tuple[int, datetime] | None:
        check_available(self.is_available)
        query = FeedQuery(merchant_no, mode, before_transaction(db_transaction), 1)
        page = self._page(query, self._horizon())
        return (
            (page.entries[0].position.db_transaction, page.entries[0].created_at)
            if page.entries
            else None
        )

    def _horizon(self) -> FeedPosition:
        return before_transaction(min(self.running, default=self._transaction_last + 1))

    def _page(self, query: FeedQuery, horizon: FeedPosition) -> FeedPage:
        found = [
            FeedEntry(place, event.type, event.created_at)
            for place, event in sorted(self.events_by_place.items(), key=lambda item: item[0])
            if (event.merchant_no, event.mode) == (query.merchant_no, query.mode)
            and query.after < place < horizon
        ]
        return page_of(query, found[: query.count_max])
