"""From a provider's own name for a charge to our key of it: the fake and Postgres alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import asyncpg
import pytest

from payments.identity import psp_key
from storage.psp_references import PostgresPspReferences, PspReferences
from storage.read_pool import ReadPool
from tests.contract.books_data import (
    EndSample,
    OpenSample,
    RoleConnector,
    SampleOrder,
    create_books,
    insert_order,
)
from tests.contract.read_books import ORDER_NOS, PostgresBooks
from tests.fakes.fake_psp_references import FakePspReferences


class Books(Protocol):
    """References to look up, and how they come into the books."""

    @property
    def references(self) -> PspReferences: ...

    async def add(self, psp: str, state: OpenSample | EndSample) -> str:
        """Have an order with this reference; return the key of its attempt."""
        ...


class FakeBooks:
    """In memory."""

    def __init__(self) -> None:
        self.references = FakePspReferences()

    async def add(self, psp: str, state: OpenSample | EndSample) -> str:
        sample = SampleOrder(merchant_no=1, seller_no=1, seller_id="slr_s", order_no=1)
        key = psp_key(sample.order_uuid, state.attempt_no)
        self.references.keys[psp, state.psp_reference or ""] = key
        return key


class PostgresSide:
    """On Postgres, under the gateway's role."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], dsn: str) -> None:
        self._connection = connection
        self.directory = PostgresBooks(connection, dsn)
        self.pool = ReadPool(RoleConnector(dsn, "tally_gateway"), session_count_max=1)
        self.references = PostgresPspReferences(self.pool)

    async def add(self, psp: str, state: OpenSample | EndSample) -> str:
        merchant_no, seller_no = await self.directory.add_merchant()
        sample = SampleOrder(
            merchant_no=merchant_no,
            seller_no=seller_no,
            seller_id="slr_shoes",
            order_no=next(ORDER_NOS),
            state=state,
        )
        await insert_order(self._connection, sample)
        await self._connection.execute(
            "UPDATE attempt SET psp = $3 WHERE partition_index = $1 AND order_no = $2",
            *(sample.partition_index, sample.order_no, psp),
        )
        return psp_key(sample.order_uuid, state.attempt_no)

    async def end_operation(self, psp: str, reference: str) -> None:
        """Write the outcome of a refund, which names its charge and is of no payment."""
        await self._connection.execute(
            "INSERT INTO order_outcome VALUES (3, $1, 1, 5, 100, 0, 'USD', 1, $2, $3, NULL, NULL, NULL, NULL, 1)",
            *(next(ORDER_NOS), psp, reference),
        )


@pytest.fixture(params=["fake", pytest.param("postgres", marks=pytest.mark.integration)])
async def books(request: pytest.FixtureRequest) -> AsyncIterator[Books]:
    if request.param == "fake":
        yield FakeBooks()
        return
    dsn = request.getfixturevalue("database_dsn")
    await create_books(dsn)
    connection = await asyncpg.connect(dsn)
    side = PostgresSide(connection, dsn)
    try:
        yield side
    finally:
        await side.pool.close()
        await side.directory.pool.close()
        await connection.close()


async def test_a_payment_intent_leads_to_its_attempt(books: Books) -> None:
    """Once its order has ended, and before, when its id alone was committed; at its own provider."""
    ended = await books.add("stripe", EndSample(psp="stripe", psp_reference="pi_ended"))
    still_open = await books.add("stripe", OpenSample(attempt_no=2, psp_reference="pi_open"))
    if isinstance(books, PostgresSide):
        await books.end_operation("stripe", "pi_ended")
    assert await books.references.key_of("stripe", "pi_ended") == ended
    assert await books.references.key_of("stripe", "pi_open") == still_open
    for psp, reference in (("other", "pi_ended"), ("other", "pi_open"), ("stripe", "pi_nobodys")):
        assert await books.references.key_of(psp, reference) is None
