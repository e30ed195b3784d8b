"""Cursors of the feed across a promotion of the standby, on real servers."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
from pathlib import Path
from typing import TypeAlias

import asyncpg

from ops.local.postgres import DATABASE
from ops.local.stores import LocalStores
from ops.stack.offline_promotion import promote_stopped
from payments.feed import FEED_START, FeedPosition
from payments.lifecycle import PaymentEvent
from payments.mode import Mode
from runtime.clock import SystemClock
from storage.connections import Connector, ensure_server_marked
from storage.event_feed import FEED_SETTINGS, FeedQuery, PostgresEventFeed
from storage.read_pool import ReadPool
from tests.books import install_books
from tests.contract.books_data import RoleConnector, SampleOrder, insert_order
from tests.integration.stacks import StartStores

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

ORDER_NOS = itertools.count(1)
# Of a dispatcher's signs of life, of statistics, of what was rolled back: nobody waits for their copies.
UNREPLICATED_COUNT = 20
PAGE_MAX = 2


def dsn_of(stores: LocalStores) -> str:
    postgres = stores.postgres
    return postgres.failover_dsn(postgres.superuser, postgres.password, database=DATABASE)


async def write_event(connection: Connection) -> FeedPosition:
    """Write an order with its first event, in a transaction of its own unless one is open."""
    sample = SampleOrder(merchant_no=1, seller_no=1, seller_id="slr_s", order_no=next(ORDER_NOS))
    async with connection.transaction():
        await insert_order(connection, sample)
        number = await connection.fetchval(
            "INSERT INTO event (partition_index, order_no, sequence, batch_seq, type, merchant_no, mode)"
            " VALUES ($1, $2, 1, 1, $3, 1, $4) RETURNING db_transaction",
            *(sample.partition_index, sample.order_no, PaymentEvent.CREATED, Mode.TEST),
        )
    return FeedPosition(number, sample.partition_index, sample.order_no, 1)


class Receiver:
    """Walks the feed as a receiver does, and remembers what it saw. Its cursors outlive servers."""

    def __init__(self, cursor: FeedPosition) -> None:
        self.cursor = cursor
        self.seen: list[FeedPosition] = []

    async def catch_up(self, feed: PostgresEventFeed) -> None:
        while True:
            (page,) = await feed.pages([FeedQuery(1, Mode.TEST, self.cursor, PAGE_MAX)])
            self.seen += [entry.position for entry in page.entries]
            self.cursor = page.reached
            if not page.is_full:
                return


def feed_of(stores: LocalStores) -> tuple[PostgresEventFeed, ReadPool]:
    connector = RoleConnector(dsn_of(stores), "tally_gateway")
    pool = ReadPool(connector, session_count_max=2, settings=FEED_SETTINGS)
    return PostgresEventFeed(pool), pool


async def mark(stores: LocalStores) -> None:
    """As an owner does on a server that it meets for the first time."""
    session = await Connector(dsn_of(stores), application_name="tests").open()
    await ensure_server_marked(session, "tests")
    await session.close()


async def before_promotion(stores: LocalStores) -> tuple[list[FeedPosition], list[Receiver]]:
    """Events, receivers at the end of them, and transactions that only the primary knows of."""
    dsn = stores.postgres.dsn(stores.postgres.superuser, stores.postgres.password)
    await install_books(dsn)
    await mark(stores)
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "INSERT INTO merchant (merchant_id, name) VALUES ('mrc_one', 'S');"
        " INSERT INTO seller (merchant_no, mode, seller_id, name, fee_basis_points)"
        " VALUES (1, 1, 'slr_s', 'S', 0)"
    )
    written = [await write_event(connection) for _ in range(5)]
    feed, pool = feed_of(stores)
    try:
        standby = stores.postgres.standby.pid
        assert standby is not None
        os.kill(standby, signal.SIGKILL)
        await connection.execute("SET synchronous_commit = off")
        for _ in range(UNREPLICATED_COUNT):
            await connection.fetchval("SELECT pg_current_xact_id()")
        receivers = [
            Receiver(FEED_START),
            Receiver(await feed.newest(1, Mode.TEST)),
        ]
        for receiver in receivers:
            await receiver.catch_up(feed)
    finally:
        await pool.close()
        await connection.close()
    assert [receiver.seen for receiver in receivers] == [written, []]
    return written, receivers


async def promote(start_stores: StartStores, stores: LocalStores) -> LocalStores:
    """Have the standby lead: the primary's data is gone with whatever it alone had."""
    root: Path = stores.home.root
    directory = stores.postgres.primary.directory
    await stores.stop()
    await asyncio.to_thread(shutil.rmtree, directory)
    await promote_stopped(root, "postgres", actor="test", is_forced=False, clock=SystemClock())
    promoted = await start_stores()
    assert promoted.postgres.primary.name == "postgres_2"
    await mark(promoted)
    return promoted


async def test_cursors_stay_right_across_a_promotion(start_stores: StartStores) -> None:
    """Whoever was told everything misses nothing that follows on the new primary, and sees nothing twice.

    The primary had given out numbers of transactions that its standby never heard of: the new one
    gives them out again, and events have them.
    """
    stores = await start_stores()
    written, receivers = await before_promotion(stores)
    stores = await promote(start_stores, stores)
    connection, other = [await asyncpg.connect(dsn_of(stores)) for _ in range(2)]
    feed, pool = feed_of(stores)
    try:
        held_by = other.transaction()
        await held_by.start()
        held_back = await write_event(other)
        later = await write_event(connection)
        for receiver in receivers:
            await receiver.catch_up(feed)
        # The feed ends before what still runs, though what came after it is there already.
        assert [receiver.seen for receiver in receivers] == [written, []]
        await held_by.commit()
        for receiver in receivers:
            await receiver.catch_up(feed)
    finally:
        await pool.close()
        await connection.close()
        await other.close()
    # The case that this is about: it is behind a number that the former primary had given out.
    assert held_back.db_transaction < written[-1].db_transaction + UNREPLICATED_COUNT
    after = [held_back, later]
    assert [receiver.seen for receiver in receivers] == [[*written, *after], after]
