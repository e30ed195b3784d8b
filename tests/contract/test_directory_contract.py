"""What the directory promises about merchants, sellers and API keys: the fake and Postgres alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

import asyncpg
import pytest

from payments.defects import InvariantViolation
from payments.fees import SANDBOX_FEE, FeeSchedule
from payments.mode import Mode
from runtime.faults import StorageUnavailable
from storage.api_keys import RANDOM_BYTES, issue_api_key, matches
from storage.directory import PostgresDirectory
from storage.read_pool import ReadPool
from storage.read_ports import (
    Directory,
    KeyRole,
    MerchantExists,
    MerchantRecord,
    SellerExists,
    SellerRecord,
)
from tests.contract.books_data import RoleConnector, create_books
from tests.fakes.fake_queries import FakeDirectory

PEPPER = bytes(32)
FEE = FeeSchedule(basis_points=290, fixed_minor=(("EUR", 25), ("USD", 30)), fixed_minor_default=7)


class World(Protocol):
    """A directory, empty at first, and what it wrote to the audit."""

    @property
    def directory(self) -> Directory: ...

    async def audits(self) -> list[tuple[str, str, str]]:
        """Return (actor, action, subject) in the order of writing."""
        ...

    async def revoke(self, key_id: str) -> None: ...

    async def break_down(self) -> None: ...


class FakeWorld:
    """In memory."""

    def __init__(self) -> None:
        self.directory = FakeDirectory()

    async def audits(self) -> list[tuple[str, str, str]]:
        return [(row.actor, row.action, row.subject) for row in self.directory.audits]

    async def revoke(self, key_id: str) -> None:
        record = await self.directory.api_key(key_id)
        assert record is not None
        self.directory.put_api_key(replace(record, is_revoked=True))

    async def break_down(self) -> None:
        self.directory.is_available = False


class PostgresWorld:
    """In Postgres, under the gateway's role."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], pool: ReadPool) -> None:
        self._connection = connection
        self.directory = PostgresDirectory(pool)

    async def audits(self) -> list[tuple[str, str, str]]:
        rows = await self._connection.fetch(
            "SELECT actor, action, subject FROM audit ORDER BY audit_no"
        )
        return [(row["actor"], row["action"], row["subject"]) for row in rows]

    async def revoke(self, key_id: str) -> None:
        await self._connection.execute(
            "UPDATE api_key SET revoked_at = now() WHERE key_id = $1", key_id
        )

    async def break_down(self) -> None:
        nowhere = RoleConnector("postgresql://u:p@127.0.0.1:1/none", "tally_gateway")
        self.directory = PostgresDirectory(ReadPool(nowhere, session_count_max=1))


@pytest.fixture(params=["fake", pytest.param("postgres", marks=pytest.mark.integration)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    dsn = request.getfixturevalue("database_dsn")
    await create_books(dsn)
    pool = ReadPool(RoleConnector(dsn, "tally_gateway"), session_count_max=4)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("TRUNCATE merchant, audit RESTART IDENTITY CASCADE")
        yield PostgresWorld(connection, pool)
    finally:
        await pool.close()
        await connection.close()


async def create(world: World, merchant_id: str = "mrc_one") -> MerchantRecord:
    return await world.directory.create_merchant(
        merchant_id=merchant_id, name="One & Co", fee=FEE, actor="operator"
    )


async def seller_of(
    world: World, merchant_no: int, mode: Mode, seller_id: str
) -> SellerRecord | None:
    key = (merchant_no, mode, seller_id)
    return (await world.directory.sellers_named([key])).get(key)


async def test_many_sellers_are_read_at_once(world: World) -> None:
    """One call tells merchants and modes apart, leaves out who doesn't exist, and takes a key twice."""
    one, two = await create(world), await create(world, "mrc_two")
    made = {
        (merchant_no, mode, seller_id): await world.directory.create_seller(
            merchant_no, mode, seller_id, "S", FEE
        )
        for merchant_no in (one.merchant_no, two.merchant_no)
        for mode in Mode
        for seller_id in ("slr_a", "slr_b")
    }
    absent = (one.merchant_no, Mode.TEST, "slr_none")
    found = await world.directory.sellers_named([*made, absent, *made])
    assert found == made
    assert await world.directory.sellers_named([]) == {}


async def test_a_merchant_comes_with_its_own_sellers(world: World) -> None:
    """A new merchant has a wallet of its own in test and live from its first moment, and is audited."""
    merchant = await create(world)
    assert (merchant.merchant_id, merchant.name) == ("mrc_one", "One & Co")
    sellers = [await seller_of(world, merchant.merchant_no, mode, "mrc_one") for mode in Mode]
    for seller in sellers:
        assert seller is not None
        assert (seller.seller_id, seller.name, seller.fee) == ("mrc_one", "One & Co", FEE)
        assert seller.created_at == merchant.created_at
        assert seller.created_at.utcoffset() == timedelta(0)
    assert sellers[0] != sellers[1]
    assert await world.audits() == [("operator", "merchant.create", "mrc_one")]


async def test_a_merchant_id_is_taken_once(world: World) -> None:
    """A second merchant under the same id is refused and leaves nothing behind, audit included."""
    await create(world)
    with pytest.raises(MerchantExists):
        await create(world)
    assert len(await world.audits()) == 1
    assert (await create(world, "mrc_two")).merchant_no != 0


async def test_a_seller_reads_as_it_was_created(world: World) -> None:
    """Every part of a seller's fee survives storage, the zero fee and the sandbox's included."""
    merchant_no = (await create(world)).merchant_no
    for seller_id, fee in (
        ("slr_full", FEE),
        ("slr_zero", FeeSchedule(basis_points=0)),
        ("slr_sandbox", SANDBOX_FEE),
    ):
        made = await world.directory.create_seller(merchant_no, Mode.TEST, seller_id, "S", fee)
        assert (made.seller_id, made.name, made.fee) == (seller_id, "S", fee)
        assert await seller_of(world, merchant_no, Mode.TEST, seller_id) == made


async def test_a_seller_id_is_taken_once_per_merchant_and_mode(world: World) -> None:
    """The same id names another seller in live and at another merchant, but never a second one."""
    one, two = await create(world), await create(world, "mrc_two")
    numbers = set()
    for merchant_no, mode in (
        (one.merchant_no, Mode.TEST),
        (one.merchant_no, Mode.LIVE),
        (two.merchant_no, Mode.TEST),
    ):
        seller = await world.directory.create_seller(merchant_no, mode, "slr_a", "A", FEE)
        numbers.add(seller.seller_no)
        with pytest.raises(SellerExists):
            await world.directory.create_seller(merchant_no, mode, "slr_a", "B", SANDBOX_FEE)
    assert len(numbers) == 3
    kept = await seller_of(world, one.merchant_no, Mode.TEST, "slr_a")
    assert kept is not None
    assert (kept.name, kept.fee) == ("A", FEE)
    assert await seller_of(world, two.merchant_no, Mode.LIVE, "slr_a") is None


async def test_of_concurrent_creations_one_wins(world: World) -> None:
    """However many create the same seller at once, exactly one succeeds and the rest are told."""
    merchant_no = (await create(world)).merchant_no
    results = await asyncio.gather(
        *(
            world.directory.create_seller(merchant_no, Mode.TEST, "slr_race", "R", FEE)
            for _ in range(4)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(result, SellerExists) for result in results) == 3


async def test_sellers_are_listed_by_id(world: World) -> None:
    """Page after page shows every seller of the merchant and mode once, in the order of their ids."""
    merchant_no = (await create(world)).merchant_no
    ids = ["aaa", "b-2", "b.1", "b_3", "b2", "zed"]
    for seller_id in ids:
        await world.directory.create_seller(merchant_no, Mode.TEST, seller_id, "S", FEE)
    expected = sorted([*ids, "mrc_one"])
    walked: list[str] = []
    has_more = True
    while has_more:
        page, has_more = await world.directory.sellers(
            merchant_no, Mode.TEST, starting_after=walked[-1] if walked else None, count_max=3
        )
        assert 1 <= len(page) <= 3
        walked += [seller.seller_id for seller in page]
    assert walked == expected
    live, _ = await world.directory.sellers(
        merchant_no, Mode.LIVE, starting_after=None, count_max=10
    )
    assert [seller.seller_id for seller in live] == ["mrc_one"]


async def test_an_api_key_opens_after_it_is_stored(world: World) -> None:
    """A stored key is found by its id, matches its own text, and its issue is audited."""
    merchant = await create(world)
    text, record = issue_api_key(
        PEPPER,
        bytes(range(RANDOM_BYTES)),
        role=KeyRole.MERCHANT,
        mode=Mode.LIVE,
        merchant_no=merchant.merchant_no,
        merchant_id=merchant.merchant_id,
    )
    assert await world.directory.api_key(record.key_id) is None
    await world.directory.store_api_key(record, actor="operator")
    stored = await world.directory.api_key(record.key_id)
    assert stored == record
    assert matches(stored, text, PEPPER)
    assert (await world.audits())[-1] == ("operator", "api_key.create", record.key_id)
    with pytest.raises(InvariantViolation):
        await world.directory.store_api_key(record, actor="operator")
    assert len(await world.audits()) == 2


async def test_a_revoked_key_says_so(world: World) -> None:
    """A revoked key is still known, so that its use can be told from a key that never was."""
    _, record = issue_api_key(PEPPER, bytes(RANDOM_BYTES), role=KeyRole.OPERATOR, mode=Mode.TEST)
    await world.directory.store_api_key(record, actor="operator")
    await world.revoke(record.key_id)
    assert await world.directory.api_key(record.key_id) == replace(record, is_revoked=True)


async def test_unknown_names_are_none(world: World) -> None:
    """What nobody created is None or an empty page."""
    merchant_no = (await create(world)).merchant_no
    assert await seller_of(world, merchant_no, Mode.TEST, "slr_none") is None
    assert await seller_of(world, merchant_no + 1, Mode.TEST, "mrc_one") is None
    assert await world.directory.api_key("aaaaaaaaaaaa") is None
    page, has_more = await world.directory.sellers(
        merchant_no + 1, Mode.TEST, starting_after=None, count_max=10
    )
    assert (list(page), has_more) == ([], False)


async def test_an_unreachable_directory_is_a_fault(world: World) -> None:
    """Without Postgres every method raises StorageUnavailable: a key is never guessed unknown."""
    await create(world)
    await world.break_down()
    directory = world.directory
    _, record = issue_api_key(PEPPER, bytes(RANDOM_BYTES), role=KeyRole.OPERATOR, mode=Mode.TEST)
    for call in (
        directory.api_key(record.key_id),
        directory.sellers_named([(1, Mode.TEST, "mrc_one")]),
        directory.sellers(1, Mode.TEST, starting_after=None, count_max=1),
        directory.create_seller(1, Mode.TEST, "slr_a", "A", FEE),
        directory.create_merchant(merchant_id="mrc_x", name="X", fee=FEE, actor="a"),
        directory.store_api_key(record, actor="a"),
    ):
        with pytest.raises(StorageUnavailable):
            await call
