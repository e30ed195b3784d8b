"""Rows of a flush as we pack them, against the same rows as the driver sends them: Postgres reads the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from payments.defects import InvariantViolation
from payments.rows import (
    AccountRow,
    AttemptRow,
    EventRow,
    HeadRow,
    OrderRow,
    OutcomeRow,
    PersonalRow,
    ProgressRow,
    RefusedRequestRow,
    SliceDeltaRow,
    TimerRow,
    TransferRow,
)
from storage.connections import Connector
from storage.flush_packing import FlushRows, packing_for
from tests.books import copy_of_installed_books
from tests.servers import SharedServers

pytestmark = pytest.mark.integration

DATABASE = "flush_packing"

_BIG, _SMALL, _INT = 2**63 - 1, 2**15 - 1, 2**31 - 1
_WORDS = "a word", "", "naïve ☃ 𝄞", "x" * 70_000
_TIMES = (
    datetime(1999, 12, 31, 23, 59, 59, 999_999, UTC),
    datetime(2026, 11, 27, 8, 1, 11, 246_000, UTC),
    datetime(9999, 12, 31, tzinfo=timezone(timedelta(hours=-3))),
)
# Digits to the base 10,000 with zeros at either end and between, one, two and many of them.
_NUMBERS = (
    0,
    1,
    9_999,
    10_000,
    10_001,
    99_999_999,
    10**8,
    10**8 + 1,
    10**37,
    -1,
    -(10**20) - 7,
    -40_000,
)

_ROWS = FlushRows(
    heads=[
        HeadRow(_SMALL, _BIG, 0, -1, _BIG, bytes(range(256)), 0, _INT),
        HeadRow(0, 0, 0, 0, 0, b"", 1, 2),
    ],
    orders=[
        OrderRow(
            *(0, 7, UUID(int=1), UUID(int=2**128 - 1), _INT, 1, 3, 2**53 - 1, "USD", 0),
            *(bytes(42), None, "2026-11-01", at, True),
        )
        for at in _TIMES
    ]
    + [
        OrderRow(
            *(1, 8, UUID(int=3), UUID(int=4), 1, 2, 3, 1, word, 1, b"", word, word, _TIMES[0]),
            captures_manually=False,
        )
        for word in _WORDS
    ],
    personal=[PersonalRow(1, 2, part, bytes(part)) for part in (0, 1, 101)],
    attempts=[AttemptRow(1, 2, 3, word, word, word, _BIG) for word in _WORDS],
    progress=[
        ProgressRow(1, 2, 3, False, 4, 5, None, None, None, None, None),
        *(ProgressRow(1, 2, 3, True, 4, 5, "ch_1", "https://a", at, at, 2) for at in _TIMES),
    ],
    timers=[TimerRow(1, 2, 3, 4), TimerRow(5, 6, 7, _BIG)],
    outcomes=[
        OutcomeRow(*(1, 2, 3, 5, 1_999, 88, "USD", 1, None, None, None, None, None, None, 2)),
        *(
            OutcomeRow(1, 2, 3, 6, 0, 0, "EUR", 9, word, word, word, word, word, _TIMES[1], _INT)
            for word in _WORDS
        ),
    ],
    transfers=[
        TransferRow(1, 2, 3, 4, 5, 6, 7, 8, "USD"),
        TransferRow(0, 0, 0, 0, 0, 0, 0, _BIG, "JPY"),
    ],
    accounts=[AccountRow(1, 2, 3, 1, 4, word, "USD") for word in _WORDS],
    posted=[SliceDeltaRow(1, 2, 3, 4, number, 0, -number, number) for number in _NUMBERS],
    new_slices=[],
    events=[EventRow(1, 2, 3, 4, 5, 6, 7), EventRow(_SMALL, _BIG, _INT, _BIG, _SMALL, _INT, 2)],
    refused=[RefusedRequestRow(1, UUID(int=5), b"\x00\x01", at) for at in _TIMES],
)


async def test_postgres_reads_what_the_driver_would_have_sent(servers: SharedServers) -> None:
    """Rows of every kind: both ends of every number, texts of every length, NULLs, no rows at all."""
    dsn = await copy_of_installed_books(servers, DATABASE)
    session = await Connector(dsn, application_name="tests").open()
    try:
        packing = await packing_for(session)
        packed = packing.pack(_ROWS)
        oids = await session.fetch(
            "SELECT attname, atttypid::regtype::text FROM pg_attribute"
            " WHERE attrelid = 'flush_books'::regclass AND attnum > 0 ORDER BY attnum"
        )
        assert tuple(name for name, _ in oids) == FlushRows._fields
        for name, array in oids:
            ours = await session.fetch(f"SELECT * FROM unnest(($1::packed_flush).{name})", packed)
            rows = getattr(_ROWS, name)
            theirs = await session.fetch(f"SELECT * FROM unnest($1::{array})", rows)
            assert ours == theirs
            assert len(ours) == len(rows)
    finally:
        await session.close()


async def test_books_of_before_are_told(servers: SharedServers) -> None:
    """Books whose migrations were not all applied: a defect at once, and nothing is sent."""
    dsn = await copy_of_installed_books(servers, DATABASE)
    session = await Connector(dsn, application_name="tests").open()
    try:
        await session.execute("DROP DOMAIN packed_flush; DROP TYPE flush_books")
        with pytest.raises(InvariantViolation, match="flush_books"):
            await packing_for(session)
    finally:
        await session.close()
