"""What an event says, from the rows that a payment leaves: as it stood then, and the same for ever."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import pytest

from payments.answer import payment_body
from payments.feed import EventKey, event_id
from payments.lifecycle import PaymentEvent, PaymentState
from storage.event_feed import FEED_SETTINGS, PostgresEventFeed
from storage.read_pool import ReadPool
from tests.contract.books_data import (
    EndSample,
    OpenSample,
    RoleConnector,
    SampleOrder,
    create_books,
    insert_order,
)
from tests.contract.read_books import PostgresBooks, sample_of

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def connection(database_dsn: str) -> AsyncIterator[Connection]:
    await create_books(database_dsn)
    opened = await asyncpg.connect(database_dsn)
    yield opened
    await opened.close()


@pytest.fixture
async def books(connection: Connection, database_dsn: str) -> AsyncIterator[PostgresBooks]:
    found = PostgresBooks(connection, database_dsn)
    found.merchant_no, found.seller_no = await found.add_merchant()
    yield found
    await found.pool.close()


@pytest.fixture
async def feed(database_dsn: str) -> AsyncIterator[PostgresEventFeed]:
    pool = ReadPool(
        RoleConnector(database_dsn, "tally_gateway"), session_count_max=1, settings=FEED_SETTINGS
    )
    yield PostgresEventFeed(pool)
    await pool.close()


async def put(
    connection: Connection, sample: SampleOrder, sequence: int, event: PaymentEvent
) -> EventKey:
    await connection.execute(
        "INSERT INTO event (partition_index, order_no, sequence, batch_seq, type, merchant_no, mode)"
        " VALUES ($1, $2, $3, 1, $4, $5, $6)",
        *(sample.partition_index, sample.order_no, sequence, event),
        *(sample.merchant_no, sample.mode),
    )
    return EventKey(sample.partition_index, sample.order_no, sequence)


async def shown(feed: PostgresEventFeed, key: EventKey) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((await feed.events([key]))[key].body)
    return document


async def test_an_end_shows_the_frozen_answer(
    connection: Connection, books: PostgresBooks, feed: PostgresEventFeed
) -> None:
    """The last event's data are the bytes that the POST was answered with."""
    sample = sample_of(books, state=EndSample(), metadata={"cart": "c-9"})
    await insert_order(connection, sample)
    key = await put(connection, sample, 2, PaymentEvent.SUCCEEDED)
    body = (await feed.events([key]))[key].body
    assert payment_body(sample.stored().view) in body
    document = json.loads(body)
    assert document["id"] == event_id(key)
    assert document["type"] == "payment_order.succeeded"
    assert (document["object"], document["sequence"]) == ("payment_order", 2)
    assert document["object_id"] == str(sample.idempotency_key)


async def test_a_beginning_shows_no_end(
    connection: Connection, books: PostgresBooks, feed: PostgresEventFeed
) -> None:
    """The first event of a payment that has ended since still says that it was under way."""
    sample = sample_of(books, state=EndSample())
    await insert_order(connection, sample)
    first = await put(connection, sample, 1, PaymentEvent.CREATED)
    document = await shown(feed, first)
    assert document["type"] == "payment_order.created"
    assert document["data"]["status"] == "processing"
    assert document["data"]["amount_captured"] == 0
    assert document["data"]["psp_reference"] is None
    assert document["data"]["effective_at"] is None


async def test_attempts_are_those_of_that_time(
    connection: Connection, books: PostgresBooks, feed: PostgresEventFeed
) -> None:
    """An attempt that was made later is not counted by an earlier event."""
    sample = sample_of(books, state=OpenSample(attempt_no=1))
    await insert_order(connection, sample)
    key = await put(connection, sample, 1, PaymentEvent.CREATED)
    before = (await feed.events([key]))[key].body
    await connection.execute(
        "INSERT INTO attempt (partition_index, order_no, attempt_no, psp, psp_account, psp_key, epoch)"
        " VALUES ($1, $2, 2, 'other', 'account', 'key', 1)",
        *(sample.partition_index, sample.order_no),
    )
    assert (await feed.events([key]))[key].body == before
    later = await put(connection, sample, 2, PaymentEvent.ACTION_REQUIRED)
    document = await shown(feed, later)
    assert (document["data"]["attempts"], document["data"]["psp"]) == (2, "other")
    assert document["data"]["status"] == PaymentState.REQUIRES_ACTION.wire


async def test_the_feed_reads_by_its_index(connection: Connection, books: PostgresBooks) -> None:
    """A page costs a look into the index, however many events others have: no scan, no sort."""
    sample = sample_of(books)
    await insert_order(connection, sample)
    await put(connection, sample, 1, PaymentEvent.CREATED)
    for name, value in FEED_SETTINGS.items():
        await connection.execute(f"SET {name} = '{value}'")
    plan = "\n".join(
        row[0]
        for row in await connection.fetch(
            "EXPLAIN SELECT db_transaction FROM event WHERE merchant_no = 1 AND mode = 1"
            " AND (db_transaction, partition_index, order_no, sequence) > ('5'::xid8, 1, 1, 1)"
            " ORDER BY db_transaction, partition_index, order_no, sequence LIMIT 10"
        )
    )
    assert "Seq Scan" not in plan
    assert "Sort  " not in plan
    assert plan.count("event_h0_merchant_no") == 1, plan
