"""The contract of checkouts: kept once by owners, the same in the fakes and on Postgres, and read back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import pytest

from payments.checkout_names import checkout_uuid
from payments.checkouts import Checkout, CheckoutOrder, checkout_order_rows, checkout_row
from payments.fingerprint import FINGERPRINT_BYTES
from payments.mode import Mode
from storage.checkouts import CheckoutKey, CheckoutPage, CheckoutQueries, PostgresCheckouts
from storage.ports import Flush
from storage.read_pool import ReadPool
from storage.read_ports import CursorUnknown
from tests.books import PASSWORDS, Writer, copy_of_installed_books
from tests.contract.books_data import ACCEPTED_AT, RoleConnector
from tests.contract.shards import FakeShard, PostgresShard, Shard, SimulatedShard
from tests.fakes.fake_checkouts import FakeCheckouts
from tests.servers import SharedServers

DATABASE = "checkouts_contract"
PARTITION = 1
MERCHANTS = ("mrc_" + "b" * 20, "mrc_" + "c" * 20)


def a_print(number: int) -> bytes:
    return bytes([1]).ljust(FINGERPRINT_BYTES, bytes([number]))


def a_checkout(
    number: int, *, order_count: int = 2, merchant_no: int = 1, mode: Mode = Mode.TEST
) -> Checkout:
    """The ``number``-th checkout of its merchant, a second after the one before."""
    key, merchant_id = UUID(int=number), MERCHANTS[merchant_no - 1]
    return Checkout(
        checkout_uuid=checkout_uuid(merchant_id, mode, key),
        idempotency_key=key,
        merchant_no=merchant_no,
        merchant_id=merchant_id,
        mode=mode,
        orders=tuple(
            CheckoutOrder(UUID(int=100 * number + n), 1, "slr_one", 70 + n, "EUR", a_print(n))
            for n in range(order_count)
        ),
        success_url="https://shop.example/ok" if number % 2 else None,
        cancel_url="https://shop.example/no" if number % 2 else None,
        metadata_json='{"b":"1","cart":"c-9"}' if number % 2 else None,
        fingerprint=a_print(number),
        accepted_at=ACCEPTED_AT + timedelta(seconds=number),
        api_version="2026-11-01",
    )


def brought(writer: Writer, *checkouts: Checkout) -> Flush:
    flush = writer.take_in()
    flush.checkouts += [checkout_row(PARTITION, checkout) for checkout in checkouts]
    for checkout in checkouts:
        flush.checkout_orders += checkout_order_rows(PARTITION, checkout)
    return flush


async def _postgres(request: pytest.FixtureRequest) -> PostgresShard:
    servers: SharedServers = request.getfixturevalue("servers")
    admin_dsn = await copy_of_installed_books(servers, DATABASE)
    owner = servers.dsn(DATABASE, role="tally_owner", password=PASSWORDS.owner)
    return PostgresShard(owner, admin_dsn)


POSTGRES = pytest.param("postgres", marks=pytest.mark.integration)


@pytest.fixture(params=["fake", "simulated", POSTGRES])
async def shard(request: pytest.FixtureRequest) -> AsyncIterator[Shard]:
    """New books for each test."""
    if request.param == "fake":
        yield FakeShard()
        return
    if request.param == "simulated":
        yield SimulatedShard()
        return
    postgres = await _postgres(request)
    yield postgres
    await postgres.close()


async def test_a_checkout_is_kept_once(shard: Shard) -> None:
    """It comes again whenever its message is read again: the first row stands, with its orders."""
    host = shard.host()
    writer = await host.writer(PARTITION)
    await host.ledger.lanes[0].append(brought(writer, a_checkout(1), a_checkout(2)))
    await host.ledger.lanes[0].append(brought(writer, a_checkout(2), a_checkout(3, order_count=1)))
    assert await shard.count("checkout") == 3
    assert await shard.count("checkout_order") == 5
    assert await shard.count("refused_request") == 0


async def test_another_body_under_a_checkouts_key_is_kept_as_refused(shard: Shard) -> None:
    """The first one stands, unchanged; the late one is kept once, and places no order."""
    host = shard.host()
    writer = await host.writer(PARTITION)
    await host.ledger.lanes[0].append(brought(writer, a_checkout(1)))
    late = a_checkout(1, order_count=3)._replace(fingerprint=a_print(9))
    await host.ledger.lanes[0].append(brought(writer, late))
    await host.ledger.lanes[0].append(brought(writer, late))
    assert await shard.count("checkout") == 1
    assert await shard.count("checkout_order") == 2
    assert await shard.count("refused_request") == 1


class Kept(Protocol):
    """Books to read checkouts from."""

    queries: CheckoutQueries

    async def keep(self, *checkouts: Checkout) -> None: ...

    async def close(self) -> None: ...


class FakeKept:
    def __init__(self) -> None:
        self._fake = FakeCheckouts()
        self.queries: CheckoutQueries = self._fake

    async def keep(self, *checkouts: Checkout) -> None:
        for checkout in checkouts:
            self._fake.put(PARTITION, checkout)

    async def close(self) -> None:
        """Nothing to end."""


class PostgresKept:
    """Written as an owner does, read under the gateway's role."""

    def __init__(self, shard: PostgresShard, pool: ReadPool) -> None:
        self._shard = shard
        self._pool = pool
        self._host = shard.host()
        self.queries: CheckoutQueries = PostgresCheckouts(pool)

    async def keep(self, *checkouts: Checkout) -> None:
        writer = await self._host.writer(PARTITION)
        await self._host.ledger.lanes[0].append(brought(writer, *checkouts))

    async def close(self) -> None:
        await self._pool.close()
        await self._shard.close()


@pytest.fixture(params=["fake", POSTGRES])
async def kept(request: pytest.FixtureRequest) -> AsyncIterator[Kept]:
    if request.param == "fake":
        yield FakeKept()
        return
    shard = await _postgres(request)
    for merchant_id in MERCHANTS:
        await shard.ask(f"INSERT INTO merchant (merchant_id, name) VALUES ('{merchant_id}', 'M')")
    await shard.ask(
        "INSERT INTO seller (merchant_no, mode, seller_id, name, fee_basis_points)"
        " VALUES (1, 1, 'slr_one', 'One', 290)"
    )
    servers: SharedServers = request.getfixturevalue("servers")
    connector = RoleConnector(servers.dsn(DATABASE), "tally_gateway")
    books = PostgresKept(shard, ReadPool(connector, session_count_max=1))
    yield books
    await books.close()


def key_of(checkout: Checkout) -> CheckoutKey:
    return PARTITION, checkout.checkout_uuid


async def test_a_checkout_is_read_as_it_was_accepted(kept: Kept) -> None:
    """All of it comes back, its orders in their order; of other names comes nothing."""
    checkouts = [a_checkout(1, order_count=3), a_checkout(2)]
    await kept.keep(*checkouts)
    found = await kept.queries.checkouts([*map(key_of, checkouts), (PARTITION, UUID(int=1))])
    assert found == {checkout.checkout_uuid: checkout for checkout in checkouts}
    assert await kept.queries.checkouts([(2, checkouts[0].checkout_uuid)]) == {}


async def test_pages_go_through_all_checkouts_of_a_merchant(kept: Kept) -> None:
    """Newest first, forwards and backwards, without another merchant's or the other mode's."""
    mine = [a_checkout(number) for number in range(1, 6)]
    others = (a_checkout(6, merchant_no=2), a_checkout(7, mode=Mode.LIVE))
    await kept.keep(*mine, *others)
    newest_first = mine[::-1]

    async def page(wanted: CheckoutPage) -> tuple[Sequence[Checkout], bool]:
        found, has_more = await kept.queries.list_checkouts(1, Mode.TEST, wanted)
        return list(found), has_more

    assert await page(CheckoutPage(10)) == (newest_first, False)
    assert await page(CheckoutPage(2)) == (newest_first[:2], True)
    second = CheckoutPage(2, starting_after=key_of(newest_first[1]))
    assert await page(second) == (newest_first[2:4], True)
    before = CheckoutPage(2, ending_before=key_of(newest_first[3]))
    assert await page(before) == (newest_first[1:3], True)
    assert await page(CheckoutPage(2, starting_after=key_of(mine[0]))) == ([], False)


async def test_a_cursor_of_somebody_else_is_unknown(kept: Kept) -> None:
    """A list begins nowhere but at a checkout of its own merchant and mode."""
    other = a_checkout(6, merchant_no=2)
    await kept.keep(a_checkout(1), other)
    for edge in (key_of(other), (PARTITION, UUID(int=5))):
        with pytest.raises(CursorUnknown):
            await kept.queries.list_checkouts(1, Mode.TEST, CheckoutPage(2, starting_after=edge))
