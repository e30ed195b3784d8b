"""Books to read from, filled by a test: the fake, and Postgres."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol
from uuid import uuid4

import asyncpg
import pytest

from payments.accounts import AccountKind
from payments.lifecycle import PaymentState
from payments.mode import Mode
from storage.queries import PostgresQueries
from storage.read_pool import ReadPool
from storage.read_ports import Balance, PaymentQueries, TransferRecord
from tests.contract.books_data import (
    ACCEPTED_AT,
    EndSample,
    OpenSample,
    RoleConnector,
    SampleOrder,
    SampleSlice,
    create_books,
    insert_account,
    insert_order,
    insert_transfers,
)
from tests.fakes.fake_queries import FakeQueries

# Order numbers are unique over all tests of a module: they share the books.
ORDER_NOS = itertools.count(1)


class Books(Protocol):
    """Something to read, filled by the test."""

    merchant_no: int
    seller_no: int

    @property
    def queries(self) -> PaymentQueries: ...

    async def add(self, sample: SampleOrder) -> None: ...

    async def add_charge(self, sample: SampleOrder, records: Sequence[TransferRecord]) -> None:
        """Write a charge of the whole amount and its fee, as the records say."""
        ...

    async def add_wallet(self, slices: Sequence[SampleSlice], balances: Sequence[Balance]) -> None:
        """Fill the seller's wallet with slices that come to these balances."""
        ...

    async def add_merchant(self) -> tuple[int, int]:
        """Return the numbers of another merchant and its seller."""
        ...

    async def break_down(self) -> None:
        """Make the store unreachable."""
        ...


class FakeBooks:
    """Books in memory."""

    def __init__(self) -> None:
        self.queries = FakeQueries()
        self.merchant_no, self.seller_no = 1, 1

    async def add(self, sample: SampleOrder) -> None:
        self.queries.put(sample.stored())

    async def add_charge(self, sample: SampleOrder, records: Sequence[TransferRecord]) -> None:
        self.queries.put(sample.stored(), records)

    async def add_wallet(self, slices: Sequence[SampleSlice], balances: Sequence[Balance]) -> None:
        self.queries.put_wallet(self.merchant_no, Mode.TEST, self.seller_no, balances)

    async def add_merchant(self) -> tuple[int, int]:
        return 2, 2

    async def break_down(self) -> None:
        self.queries.is_available = False


class PostgresBooks:
    """Books in Postgres, read under the gateway's role."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], dsn: str) -> None:
        self._connection = connection
        self.pool = ReadPool(RoleConnector(dsn, "tally_gateway"), session_count_max=2)
        self.queries = PostgresQueries(self.pool)
        self.merchant_no, self.seller_no = 0, 0

    async def add_merchant(self) -> tuple[int, int]:
        merchant_no: int = await self._connection.fetchval(
            "INSERT INTO merchant (merchant_id, name) VALUES ($1, 'one') RETURNING merchant_no",
            str(uuid4()),
        )
        seller_no: int = await self._connection.fetchval(
            "INSERT INTO seller (merchant_no, mode, seller_id, name, fee_basis_points)"
            " VALUES ($1, 1, 'slr_shoes', 'Shoes', 290) RETURNING seller_no",
            merchant_no,
        )
        return merchant_no, seller_no

    async def add(self, sample: SampleOrder) -> None:
        await insert_order(self._connection, sample)

    async def add_charge(self, sample: SampleOrder, records: Sequence[TransferRecord]) -> None:
        await self.add(sample)
        receivable, wallet, income = [
            await insert_account(
                self._connection,
                merchant_no=sample.merchant_no,
                kind=kind,
                holder=holder,
                slice_=SampleSlice(partition_index=sample.partition_index),
            )
            for kind, holder in (
                (AccountKind.PSP_RECEIVABLE, "simulator"),
                (AccountKind.WALLET, str(sample.seller_no)),
                (AccountKind.FEE_INCOME, ""),
            )
        ]
        charge, fee = records
        await insert_transfers(
            self._connection,
            sample,
            [(1, receivable, wallet, charge.amount_minor), (2, wallet, income, fee.amount_minor)],
        )

    async def add_wallet(self, slices: Sequence[SampleSlice], balances: Sequence[Balance]) -> None:
        for slice_ in slices:
            await insert_account(
                self._connection,
                merchant_no=self.merchant_no,
                kind=AccountKind.WALLET,
                holder=str(self.seller_no),
                slice_=slice_,
            )
            # An account of another kind with the same holder is no part of the wallet.
            await insert_account(
                self._connection,
                merchant_no=self.merchant_no,
                kind=AccountKind.DISPUTE_HOLD,
                holder=str(self.seller_no),
                slice_=slice_,
            )

    async def break_down(self) -> None:
        self.queries = PostgresQueries(
            ReadPool(
                RoleConnector("postgresql://u:p@127.0.0.1:1/none", "tally_gateway"),
                session_count_max=1,
            )
        )


@pytest.fixture(params=["fake", pytest.param("postgres", marks=pytest.mark.integration)])
async def books(request: pytest.FixtureRequest) -> AsyncIterator[Books]:
    if request.param == "fake":
        yield FakeBooks()
        return
    dsn = request.getfixturevalue("database_dsn")
    await create_books(dsn)
    connection = await asyncpg.connect(dsn)
    postgres = PostgresBooks(connection, dsn)
    postgres.merchant_no, postgres.seller_no = await postgres.add_merchant()
    try:
        yield postgres
    finally:
        await postgres.pool.close()
        await connection.close()


def sample_of(books: Books, **changes: Any) -> SampleOrder:
    sample = SampleOrder(
        merchant_no=books.merchant_no,
        seller_no=books.seller_no,
        seller_id="slr_shoes",
        order_no=next(ORDER_NOS),
    )
    return replace(sample, **changes)


STATES = [
    OpenSample(),
    OpenSample(is_outcome_known=False, attempt_no=2, psp_reference="ch_two"),
    OpenSample(status=PaymentState.REQUIRES_ACTION, next_action_url="http://psp/action"),
    OpenSample(next_retry_at=ACCEPTED_AT + timedelta(seconds=30)),
    EndSample(),
    EndSample(
        status=PaymentState.FAILED,
        amount_captured_minor=0,
        fee_minor=0,
        failure_code="declined",
        decline_code="do_not_honor",
        failure_message="Do not honor",
        effective_at=None,
    ),
    EndSample(
        status=PaymentState.FAILED,
        amount_captured_minor=0,
        fee_minor=0,
        psp=None,
        psp_reference=None,
        failure_code="psp_unavailable",
        effective_at=None,
    ),
    EndSample(status=PaymentState.EXPIRED, amount_captured_minor=0, fee_minor=0, attempt_no=3),
]
