"""The contract of disputes: written as owners write them, read back by gateways, in the fake and on Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Protocol

import asyncpg
import pytest

from payments.answer import API_VERSION
from payments.dispute_answer import DisputeView, dispute_id
from payments.disputes import DisputeState
from payments.mode import Mode
from storage.disputes import (
    DisputeKey,
    DisputePage,
    DisputeQueries,
    PostgresDisputes,
    StoredDispute,
)
from storage.read_ports import CursorUnknown
from tests.contract.books_data import ACCEPTED_AT, SampleOrder, create_books, insert_order
from tests.contract.read_books import ORDER_NOS, PostgresBooks
from tests.fakes.fake_disputes import FakeDisputes


class Kept(Protocol):
    """Books to read disputes from."""

    queries: DisputeQueries
    merchants: list[tuple[int, int]]
    """The numbers of two merchants and of their sellers."""

    async def keep_payment(self, payment: SampleOrder) -> None: ...

    async def keep(self, payment: SampleOrder, key: DisputeKey, dispute: StoredDispute) -> None: ...


class FakeKept:
    def __init__(self) -> None:
        self._fake = FakeDisputes()
        self.queries: DisputeQueries = self._fake
        self.merchants = [(1, 1), (2, 2)]

    async def keep_payment(self, payment: SampleOrder) -> None:
        """Nothing to do: a dispute brings its payment's identity."""

    async def keep(self, payment: SampleOrder, key: DisputeKey, dispute: StoredDispute) -> None:
        assert key[0] == payment.partition_index
        self._fake.put(payment.order_uuid, dispute)


class PostgresKept:
    """Rows under the owner's columns, read under the gateway's role."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], dsn: str) -> None:
        self._connection = connection
        self.books = PostgresBooks(connection, dsn)
        self.queries: DisputeQueries = PostgresDisputes(self.books.pool)
        self.merchants: list[tuple[int, int]] = []

    async def keep_payment(self, payment: SampleOrder) -> None:
        await insert_order(self._connection, payment)

    async def keep(self, payment: SampleOrder, key: DisputeKey, dispute: StoredDispute) -> None:
        view = dispute.view
        await self._connection.execute(
            "INSERT INTO dispute (partition_index, order_no, payment_no, merchant_no, mode, psp,"
            " reference, status, amount_minor, currency, event_sequence, opened_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11)",
            *(*key, payment.order_no, dispute.merchant_no, dispute.mode, view.psp),
            *(view.psp_reference, view.state, view.amount_minor, view.currency, view.created_at),
        )


@pytest.fixture(params=["fake", pytest.param("postgres", marks=pytest.mark.integration)])
async def kept(request: pytest.FixtureRequest) -> AsyncIterator[Kept]:
    if request.param == "fake":
        yield FakeKept()
        return
    dsn: str = request.getfixturevalue("database_dsn")
    await create_books(dsn)
    connection = await asyncpg.connect(dsn)
    books = PostgresKept(connection, dsn)
    books.merchants = [await books.books.add_merchant() for _ in range(2)]
    yield books
    await books.books.pool.close()
    await connection.close()


async def payment_of(kept: Kept, merchant: int = 0, mode: Mode = Mode.TEST) -> SampleOrder:
    """Keep a payment of the first merchant, or of the second (1)."""
    merchant_no, seller_no = kept.merchants[merchant]
    payment = SampleOrder(
        merchant_no=merchant_no,
        seller_no=seller_no,
        seller_id="slr_shoes",
        order_no=next(ORDER_NOS),
        mode=mode,
    )
    await kept.keep_payment(payment)
    return payment


async def dispute_of(
    kept: Kept, payment: SampleOrder, number: int, state: DisputeState = DisputeState.OPENED
) -> tuple[DisputeKey, StoredDispute]:
    """Keep the ``number``-th dispute, a second after the one before; return what is to be read."""
    key = (payment.partition_index, next(ORDER_NOS))
    view = DisputeView(
        dispute_id=dispute_id(*key),
        payment_key=payment.idempotency_key,
        state=state,
        amount_minor=100 + number,
        currency=payment.currency,
        psp="psp_1",
        psp_reference=f"dp_{number}",
        created_at=ACCEPTED_AT + timedelta(seconds=number),
        api_version=API_VERSION,
    )
    dispute = StoredDispute(payment.merchant_no, payment.mode, view)
    await kept.keep(payment, key, dispute)
    return key, dispute


async def test_a_dispute_is_read_as_it_stands(kept: Kept) -> None:
    """All of it comes back by its number; of other numbers comes nothing."""
    key, dispute = await dispute_of(kept, await payment_of(kept), 1, DisputeState.LOST)
    assert await kept.queries.disputes([key, (key[0], key[1] + 1_000)]) == {key: dispute}
    assert await kept.queries.disputes([]) == {}


async def test_pages_go_through_all_disputes_of_a_merchant(kept: Kept) -> None:
    """Newest first, both ways, without another merchant's or the other mode's."""
    payment = await payment_of(kept)
    mine = [await dispute_of(kept, payment, number) for number in range(1, 6)]
    await dispute_of(kept, await payment_of(kept, 1), 6)
    await dispute_of(kept, await payment_of(kept, mode=Mode.LIVE), 7)
    keys, newest_first = [key for key, _ in mine[::-1]], [each for _, each in mine[::-1]]

    async def page(wanted: DisputePage) -> tuple[list[StoredDispute], bool]:
        found, has_more = await kept.queries.list_disputes(kept.merchants[0][0], Mode.TEST, wanted)
        return list(found), has_more

    assert await page(DisputePage(10)) == (newest_first, False)
    assert await page(DisputePage(2)) == (newest_first[:2], True)
    assert await page(DisputePage(2, starting_after=keys[1])) == (newest_first[2:4], True)
    assert await page(DisputePage(2, ending_before=keys[3])) == (newest_first[1:3], True)
    assert await page(DisputePage(2, starting_after=keys[-1])) == ([], False)


async def test_disputes_are_found_by_payment_and_by_state(kept: Kept) -> None:
    """Either filter alone, both, and a payment that there is not."""
    one, other = await payment_of(kept), await payment_of(kept)
    _, opened = await dispute_of(kept, one, 1)
    _, lost = await dispute_of(kept, one, 2, DisputeState.LOST)
    _, elsewhere = await dispute_of(kept, other, 3)

    async def found(**wanted: Any) -> list[StoredDispute]:
        asked = DisputePage(10, **wanted)
        page, _ = await kept.queries.list_disputes(kept.merchants[0][0], Mode.TEST, asked)
        return list(page)

    of_one = (one.partition_index, one.order_uuid)
    assert await found(payment=of_one) == [lost, opened]
    assert await found(state=DisputeState.OPENED) == [elsewhere, opened]
    assert await found(payment=of_one, state=DisputeState.LOST) == [lost]
    assert await found(payment=(one.partition_index, one.idempotency_key)) == []


async def test_a_cursor_of_somebody_else_is_unknown(kept: Kept) -> None:
    """A list begins nowhere but at a dispute of its own merchant and mode."""
    await dispute_of(kept, await payment_of(kept), 1)
    key, _ = await dispute_of(kept, await payment_of(kept, 1), 2)
    for edge in (key, (key[0], key[1] + 1_000)):
        with pytest.raises(CursorUnknown):
            await kept.queries.list_disputes(
                kept.merchants[0][0], Mode.TEST, DisputePage(2, starting_after=edge)
            )
