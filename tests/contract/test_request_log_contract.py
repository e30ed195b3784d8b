"""The contract of the request log, kept by the fake and by Postgres alike; and its ring on Postgres."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest

from payments.mode import Mode
from storage.connections import Connector
from storage.read_pool import ReadPool
from storage.request_log import PostgresRequestHeads, PostgresRequestLog, RequestLogStore
from storage.request_rows import (
    FIRST_OF_ALL,
    LAST_OF_ALL,
    LoggedRequest,
    RequestHead,
    Whose,
)
from tests.books import PASSWORDS, copy_of_installed_books
from tests.fakes.fake_request_log import FakeRequestLog
from tests.servers import SharedServers

DATABASE = "request_log_contract"
MINE, MINE_LIVE, OTHERS = Whose(1, Mode.TEST), Whose(1, Mode.LIVE), Whose(2, Mode.TEST)


def row(number: int, whose: Whose = MINE, key: UUID | None = None) -> LoggedRequest:
    """A request; the numbers rise as time does."""
    return LoggedRequest(
        request_no=UUID(int=number << 80 | 7 << 76),
        merchant_no=whose.merchant_no,
        mode=whose.mode,
        method="POST",
        route="/v1/payments",
        status=422,
        code="amount_too_small",
        idempotency_key=key,
        duration_us=1_234,
        bodies=b'{"request":{"amount":1}}',
    )


@pytest.fixture
async def admin_dsn(servers: SharedServers) -> str:
    """New books, and the way to them as their owner."""
    return await copy_of_installed_books(servers, DATABASE)


async def open_pool(servers: SharedServers, admin_dsn: str, role: str, password: str) -> ReadPool:
    """Sessions of one of our roles, on a server that may be read."""
    session = await Connector(admin_dsn, application_name="tests").open_marked()
    await session.close()
    dsn = servers.dsn(DATABASE, role=role, password=password)
    return ReadPool(Connector(dsn, application_name="tests"), session_count_max=2)


@pytest.fixture(params=["fake", pytest.param("postgres", marks=pytest.mark.integration)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[RequestLogStore]:
    """An empty log."""
    if request.param == "fake":
        yield FakeRequestLog()
        return
    servers: SharedServers = request.getfixturevalue("servers")
    dsn = await copy_of_installed_books(servers, DATABASE)
    pool = await open_pool(servers, dsn, "tally_gateway", PASSWORDS.gateway)
    yield PostgresRequestLog(pool)
    await pool.close()


async def fill(store: RequestLogStore, *rows: LoggedRequest) -> None:
    slot = await store.turn(keep_s=3_600, bytes_max=2**30)
    await store.write(slot, rows)


async def test_a_request_comes_back_as_it_was_written(store: RequestLogStore) -> None:
    """Every field of a row, with and without a key and a code."""
    first = row(1, key=uuid4())
    second = row(2)._replace(code=None, status=200)
    await fill(store, first, second)
    assert await store.one(MINE, first.request_no) == first
    assert await store.one(MINE, second.request_no) == second
    assert await store.one(MINE, row(3).request_no) is None


async def test_a_merchant_sees_its_own_in_one_mode(store: RequestLogStore) -> None:
    """No way of looking leads to another merchant's request, or to another mode's."""
    key = uuid4()
    await fill(store, row(1, MINE, key), row(2, MINE_LIVE, key), row(3, OTHERS, key))
    for whose, number in ((MINE, 1), (MINE_LIVE, 2), (OTHERS, 3)):
        mine = [row(number, whose, key)]
        assert await store.older(whose, before=LAST_OF_ALL, count_max=9) == mine
        assert await store.newer(whose, after=FIRST_OF_ALL, count_max=9) == mine
        assert await store.of_key(whose, key, before=LAST_OF_ALL, count_max=9) == mine
    assert await store.one(OTHERS, row(1).request_no) is None


async def test_looking_back_and_looking_on(store: RequestLogStore) -> None:
    """Older ones newest first, newer ones oldest first, the edge left out, no more than asked for."""
    key = uuid4()
    rows = [row(number, key=key if number % 2 else None) for number in range(1, 7)]
    await fill(store, *rows[:3])
    await fill(store, *rows[3:])
    edge = rows[3].request_no
    assert await store.older(MINE, before=edge, count_max=2) == [rows[2], rows[1]]
    assert await store.newer(MINE, after=edge, count_max=9) == [rows[4], rows[5]]
    assert await store.of_key(MINE, key, before=rows[4].request_no, count_max=9) == [
        rows[2],
        rows[0],
    ]


async def test_more_than_one_look_is_put_together(store: RequestLogStore) -> None:
    """Many blocks that overlap, written in any order: every page is whole and in order, either way."""
    key = uuid4()
    rows = [row(100 * number, key=key if number % 3 else None) for number in range(1, 200)]
    for start in range(7):
        await fill(store, *rows[start::7])
    for one in rows[::40]:
        assert await store.one(MINE, one.request_no) == one
    seen: list[LoggedRequest] = []
    edge = LAST_OF_ALL
    while page := await store.older(MINE, before=edge, count_max=45):
        seen += page
        edge = page[-1].request_no
    assert seen == rows[::-1]
    seen, edge = [], FIRST_OF_ALL
    while page := await store.newer(MINE, after=edge, count_max=45):
        seen += page
        edge = page[-1].request_no
    assert seen == rows
    of_key = await store.of_key(MINE, key, before=rows[90].request_no, count_max=500)
    assert of_key == [each for each in rows[:90] if each.idempotency_key == key][::-1]


@pytest.mark.integration
async def test_the_ring_passes_on_by_age_and_by_size(
    servers: SharedServers, admin_dsn: str
) -> None:
    """A slot that is old, or large, has had its turn; a full round later its rows are gone."""
    pool = await open_pool(servers, admin_dsn, "tally_gateway", PASSWORDS.gateway)
    admin = await asyncpg.connect(admin_dsn)
    log = PostgresRequestLog(pool)

    async def turn() -> int:
        return await log.turn(keep_s=31 * 3_600, bytes_max=0)

    try:
        assert await turn() == 0
        await log.write(0, [row(1)])
        assert await turn() == 0
        for slot in range(1, 33):
            await admin.execute(
                "UPDATE request_log_turn SET began_at = began_at - interval '61 minutes'"
            )
            assert await turn() == slot % 32
            assert (await log.one(MINE, row(1).request_no) is None) == (slot == 32)
        # Two MiB and more are a 31st part of the least that is kept.
        draw = random.Random("bodies that do not compress")
        big = [row(number)._replace(bodies=draw.randbytes(60_000)) for number in range(100)]
        await log.write(0, big)
        assert await turn() == 1
        assert len(await log.older(MINE, before=LAST_OF_ALL, count_max=500)) == 100
    finally:
        await admin.close()
        await pool.close()


@pytest.mark.integration
async def test_two_gateways_pass_the_turn_on_once(servers: SharedServers, admin_dsn: str) -> None:
    """Gateways that find a slot full at the same moment agree on the one that follows."""
    pool = await open_pool(servers, admin_dsn, "tally_gateway", PASSWORDS.gateway)
    admin = await asyncpg.connect(admin_dsn)
    try:
        await admin.execute("UPDATE request_log_turn SET began_at = began_at - interval '1 year'")
        log = PostgresRequestLog(pool)
        turns = await asyncio.gather(*(log.turn(keep_s=3_600, bytes_max=2**30) for _ in range(6)))
        assert turns == [1] * 6
    finally:
        await admin.close()
        await pool.close()


@pytest.mark.integration
async def test_gateways_may_add_and_operators_see_no_bodies(
    servers: SharedServers, admin_dsn: str
) -> None:
    """Nobody's role deletes or changes a row, and the reader's role can't read what was said."""
    pool = await open_pool(servers, admin_dsn, "tally_gateway", PASSWORDS.gateway)
    admin = await asyncpg.connect(admin_dsn)
    await admin.execute("INSERT INTO merchant (merchant_id, name) VALUES ('mrc_a', 'A')")
    merchant_no = await admin.fetchval("SELECT merchant_no FROM merchant")
    await fill(PostgresRequestLog(pool), row(1, Whose(merchant_no, Mode.TEST)))
    reader = await open_pool(servers, admin_dsn, "tally_reader", PASSWORDS.reader)
    heads = PostgresRequestHeads(reader)
    try:
        for merchant in (None, "mrc_a"):
            (head,) = await heads.newest(after=FIRST_OF_ALL, merchant_id=merchant, count_max=5)
            written = row(1, Whose(merchant_no, Mode.TEST))
            assert head == RequestHead("mrc_a", written._replace(bodies=b""))
        assert not await heads.newest(after=FIRST_OF_ALL, merchant_id="mrc_b", count_max=5)
        for role, statement in (
            ("tally_gateway", "DELETE FROM request_log"),
            ("tally_gateway", "TRUNCATE request_log"),
            ("tally_gateway", "UPDATE request_log SET request_count = 1"),
            ("tally_gateway", "UPDATE request_log_turn SET slot = 5"),
            ("tally_gateway", "TRUNCATE request_log_s00"),
            ("tally_reader", "SELECT bodies FROM request_log"),
            ("tally_reader", "SELECT bodies FROM request_log_s00"),
            ("tally_reader", "SELECT request_log_slot(0, 0)"),
            ("tally_owner", "SELECT * FROM request_log"),
        ):
            await admin.execute(f"SET ROLE {role}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await admin.execute(statement)
            await admin.execute("RESET ROLE")
    finally:
        await admin.close()
        await pool.close()
        await reader.close()
