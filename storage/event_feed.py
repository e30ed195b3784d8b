"""The feed of events on Postgres: read by gateways for storefronts, and by the dispatcher for webhooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import asyncpg

from payments.feed import FEED_START, EventKey, FeedPosition, before_transaction
from payments.mode import Mode
from storage.connections import INDEX_LOOPS
from storage.event_rendering import rendered_event
from storage.read_pool import ReadPool
from storage.sql_files import load_statements

# The index has the feed's order: whatever the statistics say, rows come from it and are never sorted.
FEED_SETTINGS: Mapping[str, str] = {
    **INDEX_LOOPS,
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "enable_incremental_sort": "off",
}

_SQL = load_statements("event_feed.sql")


class FeedQuery(NamedTuple):
    """Which places somebody wants: those of a merchant and mode behind ``after``, at most so many."""

    merchant_no: int
    mode: Mode
    after: FeedPosition
    count_max: int


class FeedEntry(NamedTuple):
    """One place, and the type of the event there."""

    position: FeedPosition
    type: int
    created_at: datetime


class FeedPage(NamedTuple):
    """Places in the feed's order. Behind ``reached`` the next page begins; nothing comes up before it.

    ``reached`` is the place of an event, or where the page began, and never how far could be looked: numbers of
    transactions that left nothing on the standby are given anew after a promotion, perhaps to events.
    """

    entries: Sequence[FeedEntry]
    reached: FeedPosition
    is_full: bool
    """Whether there may be more already."""


class StoredEvent(NamedTuple):
    """One event, whose it is, and its bytes for ever."""

    merchant_no: int | None
    """None of an event that was written before there were feeds."""
    mode: Mode | None
    type: int
    created_at: datetime
    body: bytes


class EventFeed(Protocol):
    """Every method raises StorageUnavailable."""

    async def pages(self, wanted: Sequence[FeedQuery]) -> Sequence[FeedPage]:
        """Return a page for each, in their order: one round trip, one snapshot."""
        ...

    async def newest(self, merchant_no: int, mode: Mode) -> FeedPosition:
        """Return the place of the last event that can be shown now: what comes is behind it."""
        ...

    async def horizon(self) -> FeedPosition:
        """Return the place behind everything that can be shown now. To be used now: a promotion may pass it by."""
        ...

    async def horizon_held(self) -> tuple[FeedPosition, bool]:
        """Return the same, and whether a transaction that still runs is what ends the feed there."""
        ...

    async def events(self, keys: Sequence[EventKey]) -> Mapping[EventKey, StoredEvent]:
        """Return those that exist, in one round trip; a key may be named twice."""
        ...

    async def first_since(
        self, merchant_no: int, mode: Mode, db_transaction: int
    ) -> tuple[int, datetime] | None:
        """Return transaction and time of the first event that one of these, or a later one, wrote."""
        ...


class PostgresEventFeed:
    """EventFeed of one shard. Its pool's sessions need FEED_SETTINGS."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def pages(self, wanted: Sequence[FeedQuery]) -> Sequence[FeedPage]:
        """See ``EventFeed``."""
        if not wanted:
            return []
        rows = await self._pool.fetch(_SQL["pages"], *_columns(wanted))
        found: list[list[FeedEntry]] = [[] for _ in wanted]
        for row in rows:
            found[row["request_no"] - 1].append(_entry(row))
        return [page_of(query, entries) for query, entries in zip(wanted, found, strict=True)]

    async def newest(self, merchant_no: int, mode: Mode) -> FeedPosition:
        """See ``EventFeed``."""
        row = await self._pool.fetchrow(_SQL["newest"], merchant_no, mode)
        return FEED_START if row is None else _place(row)

    async def horizon(self) -> FeedPosition:
        """See ``EventFeed``."""
        return (await self.horizon_held())[0]

    async def horizon_held(self) -> tuple[FeedPosition, bool]:
        """See ``EventFeed``."""
        (row,) = await self._pool.fetch(_SQL["horizon"])
        return before_transaction(row["horizon"]), row["is_held"]

    async def events(self, keys: Sequence[EventKey]) -> Mapping[EventKey, StoredEvent]:
        """See ``EventFeed``. Raises InvariantViolation for an event of a type that is not known here."""
        if not keys:
            return {}
        found: dict[EventKey, StoredEvent] = {}
        # Most are of payments; what is none may be of something that was done to one.
        for statement in ("events", "operation_events", "dispute_events"):
            if others := [key for key in keys if key not in found]:
                found |= await self._events(statement, others)
        return found

    async def _events(
        self, statement: str, keys: Sequence[EventKey]
    ) -> dict[EventKey, StoredEvent]:
        rows = await self._pool.fetch(_SQL[statement], *zip(*keys, strict=True))
        return {
            EventKey(row["partition_index"], row["order_no"], row["sequence"]): _stored(row)
            for row in rows
        }

    async def first_since(
        self, merchant_no: int, mode: Mode, db_transaction: int
    ) -> tuple[int, datetime] | None:
        """See ``EventFeed``."""
        row = await self._pool.fetchrow(_SQL["first_since"], merchant_no, mode, db_transaction)
        return None if row is None else (row["db_transaction"], row["created_at"])


def page_of(query: FeedQuery, entries: Sequence[FeedEntry]) -> FeedPage:
    """Return the page of what was found."""
    reached = entries[-1].position if entries else query.after
    return FeedPage(entries=entries, reached=reached, is_full=len(entries) >= query.count_max)


def _columns(wanted: Sequence[FeedQuery]) -> Sequence[Sequence[int]]:
    return [
        [query.merchant_no for query in wanted],
        [query.mode for query in wanted],
        [query.after.db_transaction for query in wanted],
        [query.after.partition_index for query in wanted],
        [query.after.order_no for query in wanted],
        [query.after.sequence for query in wanted],
        [query.count_max for query in wanted],
    ]


def _entry(row: asyncpg.Record) -> FeedEntry:
    return FeedEntry(_place(row), row["type"], row["created_at"])


def _place(row: asyncpg.Record) -> FeedPosition:
    return FeedPosition(
        row["db_transaction"], row["partition_index"], row["order_no"], row["sequence"]
    )


def _stored(row: asyncpg.Record) -> StoredEvent:
    return StoredEvent(
        merchant_no=row["merchant_no"],
        mode=None if row["mode"] is None else Mode(row["mode"]),
        type=row["type"],
        created_at=row["created_at"],
        body=rendered_event(row),
    )
