"""A feed to read from, filled by a test in transactions that it commits when it likes: the fake, and Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol

import asyncpg
import pytest

from payments.feed import EventKey, FeedPosition
from payments.lifecycle import PaymentEvent
from payments.mode import Mode
from storage.event_feed import FEED_SETTINGS, EventFeed, PostgresEventFeed
from storage.read_pool import ReadPool
from tests.contract.books_data import RoleConnector, SampleOrder, create_books, insert_order
from tests.contract.read_books import ORDER_NOS, PostgresBooks
from tests.fakes.fake_event_feed import FakeEventFeed, FakeTransaction


class OpenTransaction(Protocol):
    """A transaction that has begun to write."""

    async def write(
        self, *, mode: Mode = Mode.TEST, merchant_no: int | None = None
    ) -> FeedPosition:
        """Write an order's first event, and return its place."""
        ...

    async def commit(self) -> None: ...


class FeedBooks(Protocol):
    """A feed, and how to write to it."""

    merchant_no: int

    @property
    def feed(self) -> EventFeed: ...

    async def begin(self) -> OpenTransaction: ...

    async def add_merchant(self) -> int: ...


class FakeOpenTransaction:
    """OpenTransaction of the fake."""

    def __init__(self, transaction: FakeTransaction, now: datetime) -> None:
        self._transaction = transaction
        self._now = now

    async def write(
        self, *, mode: Mode = Mode.TEST, merchant_no: int | None = None
    ) -> FeedPosition:
        key = EventKey(3, next(ORDER_NOS), 1)
        return self._transaction.write(
            key,
            type=PaymentEvent.CREATED,
            merchant_no=merchant_no or 1,
            mode=mode,
            created_at=self._now,
        )

    async def commit(self) -> None:
        self._transaction.commit()


class FakeFeedBooks:
    """In memory."""

    def __init__(self) -> None:
        self.merchant_no = 1
        self.feed = FakeEventFeed()

    async def begin(self) -> OpenTransaction:
        return FakeOpenTransaction(self.feed.begin(), datetime.now().astimezone())

    async def add_merchant(self) -> int:
        return 2


class PostgresOpenTransaction:
    """OpenTransaction on a connection of its own."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], books: PostgresFeedBooks):
        self._connection = connection
        self._books = books

    async def write(
        self, *, mode: Mode = Mode.TEST, merchant_no: int | None = None
    ) -> FeedPosition:
        sample = SampleOrder(
            merchant_no=merchant_no or self._books.merchant_no,
            seller_no=self._books.seller_no,
            seller_id="slr_shoes",
            order_no=next(ORDER_NOS),
            mode=mode,
        )
        await insert_order(self._connection, sample)
        row = await self._connection.fetchrow(
            "INSERT INTO event (partition_index, order_no, sequence, batch_seq, type, merchant_no, mode)"
            " VALUES ($1, $2, 1, 1, $3, $4, $5) RETURNING db_transaction",
            *(sample.partition_index, sample.order_no, PaymentEvent.CREATED),
            *(sample.merchant_no, mode),
        )
        assert row is not None
        return FeedPosition(row["db_transaction"], sample.partition_index, sample.order_no, 1)

    async def commit(self) -> None:
        await self._connection.execute("COMMIT")
        await self._connection.close()


class PostgresFeedBooks:
    """On Postgres, read under the gateway's role."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], dsn: str) -> None:
        self._dsn = dsn
        self.pool = ReadPool(
            RoleConnector(dsn, "tally_gateway"), session_count_max=2, settings=FEED_SETTINGS
        )
        self.feed = PostgresEventFeed(self.pool)
        self.directory = PostgresBooks(connection, dsn)
        self.merchant_no, self.seller_no = 0, 0
        self._open: list[asyncpg.Connection[asyncpg.Record]] = []

    async def begin(self) -> OpenTransaction:
        connection = await asyncpg.connect(self._dsn)
        self._open.append(connection)
        await connection.execute("BEGIN; SELECT pg_current_xact_id()")
        return PostgresOpenTransaction(connection, self)

    async def add_merchant(self) -> int:
        merchant_no, _ = await self.directory.add_merchant()
        return merchant_no

    async def close(self) -> None:
        for connection in self._open:
            connection.terminate()
        await self.pool.close()
        await self.directory.pool.close()


@pytest.fixture(params=["fake", pytest.param("postgres", marks=pytest.mark.integration)])
async def books(request: pytest.FixtureRequest) -> AsyncIterator[FeedBooks]:
    if request.param == "fake":
        yield FakeFeedBooks()
        return
    dsn = request.getfixturevalue("database_dsn")
    await create_books(dsn)
    connection = await asyncpg.connect(dsn)
    found = PostgresFeedBooks(connection, dsn)
    found.merchant_no, found.seller_no = await found.directory.add_merchant()
    try:
        yield found
    finally:
        await found.close()
        await connection.close()
