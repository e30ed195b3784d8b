"""The books read as plain rows: what the engine wrote is right by the checker, what was altered is not."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import msgspec
import pytest

from loadtest.checker.books_rows import books_records, snapshot_record
from loadtest.checker.checking import check_records
from loadtest.checker.collecting import BOOKS_TABLES
from loadtest.checker.records import Input, Records
from loadtest.checker.report import InvariantResult
from loadtest.history.snapshots import snapshot_line
from runtime.config import Config
from storage.recounting import BooksReader, BooksUnread
from tests.verified_books import TEMPLATE, TOKENS, VerifiedBooks

_COPIES = itertools.count(1)

OF_THE_BOOKS = ("I2", "I7", "I8", "I12", "I17", "I19", "I20")


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A copy of the books that a test may alter."""

    dsn: str
    config: Config

    async def results(self) -> dict[str, InvariantResult]:
        """What the checker says of books and one snapshot of them, by invariant."""
        reader = await BooksReader.open(self.config)
        try:
            tables: dict[str, Any] = dict(await reader.moment(*BOOKS_TABLES))
            tables["parked_orders"] = await reader.parked_orders()
            line = msgspec.json.decode(await snapshot_line(reader))
        finally:
            await reader.close()
        rows: dict[str, Any] = dict(books_records(tables))
        records = Records(
            **rows,
            snapshots=[snapshot_record(line)],
            unread_inputs=frozenset({Input.HISTORY, Input.ORACLE, Input.QUEUE}),
        )
        return {each.invariant: each for each in check_records(records).invariants}


@pytest.fixture
async def copy(books: VerifiedBooks) -> AsyncIterator[Copy]:
    database = f"recounted_{next(_COPIES)}"
    dsn = books.servers.create_database(database, template=TEMPLATE)
    yield Copy(dsn=dsn, config=books.config(database, "http://127.0.0.1:1"))
    books.servers.drop_database(database)


async def test_books_that_the_engine_wrote_are_right(copy: Copy) -> None:
    """Orders, events, transfers, slices, batches and the chain pass, and each check has looked."""
    results = await copy.results()
    for invariant in OF_THE_BOOKS:
        assert results[invariant].first is None
        assert results[invariant].checked > 0
    connection = await asyncpg.connect(copy.dsn)
    try:
        order_count = await connection.fetchval("SELECT count(*) FROM payment_order")
    finally:
        await connection.close()
    assert results["I19"].checked == order_count > len(TOKENS)


async def altered_count(dsn: str, sql: str) -> int:
    """Alter rows as the superuser, without triggers. Returns how many."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SET session_replication_role = replica")
        # Its tag: UPDATE 12.
        return int((await connection.execute(sql)).split()[-1])
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("invariant", "sql"),
    [
        ("I2", "DELETE FROM order_outcome WHERE status = 7"),
        ("I2", "UPDATE order_outcome SET fee_minor = fee_minor + 1"),
        ("I7", "DELETE FROM transfer WHERE kind = 2"),
        (
            "I7",
            "UPDATE account SET currency = 'XTS' WHERE (partition_index, account_no) ="
            " (SELECT partition_index, account_no FROM account WHERE kind = 3 ORDER BY 1, 2 LIMIT 1)",
        ),
        ("I8", "UPDATE slice SET credits_posted_minor = credits_posted_minor + 1"),
        ("I8", "UPDATE slice SET version = version + 1"),
        ("I12", "UPDATE order_outcome SET psp_reference = 'ch_other' WHERE status = 5"),
        ("I12", "UPDATE partition SET chain_hash = sha256('')"),
        ("I17", "UPDATE slice SET debits_posted_minor = debits_posted_minor + 1"),
        ("I19", "DELETE FROM event WHERE type = 5"),
        ("I20", "UPDATE partition SET epoch = 0"),
    ],
)
async def test_what_was_altered_is_found(copy: Copy, invariant: str, sql: str) -> None:
    """What no role of ours may do to the books is found by the invariant that it breaks."""
    assert await altered_count(copy.dsn, sql) > 0
    found = (await copy.results())[invariant]
    assert found.violated > 0
    assert found.first is not None


async def test_books_that_are_away_are_unread(copy: Copy) -> None:
    """A server that can't be reached is told as such, not as books without rows."""
    shard = msgspec.structs.replace(copy.config.postgres.shards[0], addresses=["127.0.0.1:1"])
    postgres = msgspec.structs.replace(copy.config.postgres, shards=[shard])
    with pytest.raises(BooksUnread):
        await BooksReader.open(msgspec.structs.replace(copy.config, postgres=postgres))
