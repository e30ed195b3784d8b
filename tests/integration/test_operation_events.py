"""What events tell of captures and refunds, and of payments after them: as it stood then, for ever."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import uuid4

import asyncpg
import pytest

from payments.answer import API_VERSION
from payments.disputes import DisputeEvent, DisputeState
from payments.feed import EventKey
from payments.lifecycle import PaymentEvent, PaymentState
from payments.operation_kinds import OperationEvent, OperationKind
from storage.event_feed import FEED_SETTINGS, PostgresEventFeed
from storage.read_pool import ReadPool
from tests.contract.books_data import (
    EndSample,
    RoleConnector,
    SampleOrder,
    create_books,
    insert_order,
)
from tests.contract.read_books import ORDER_NOS, PostgresBooks, sample_of

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

T0 = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Teller:
    """Writes a payment, operations on it, and events; reads what they tell."""

    def __init__(self, connection: Connection, dsn: str) -> None:
        self._connection = connection
        self._directory = PostgresBooks(connection, dsn)
        self.pool = ReadPool(
            RoleConnector(dsn, "tally_gateway"), session_count_max=1, settings=FEED_SETTINGS
        )
        self._feed = PostgresEventFeed(self.pool)

    async def payment(self, end: EndSample) -> SampleOrder:
        merchant_no, seller_no = await self._directory.add_merchant()
        sample = sample_of(self._directory, merchant_no=merchant_no, seller_no=seller_no, state=end)
        await insert_order(self._connection, sample)
        return sample

    async def operation(self, payment: SampleOrder, kind: OperationKind, amount_minor: int) -> int:
        """Write an operation; return its number."""
        order_no = next(ORDER_NOS)
        await self._connection.execute(
            "INSERT INTO operation (partition_index, order_no, operation_uuid, kind, payment_no,"
            " idempotency_key, merchant_no, mode, amount_minor, currency, fingerprint, api_version,"
            " accepted_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            *(payment.partition_index, order_no, uuid4(), kind, payment.order_no, uuid4()),
            *(payment.merchant_no, payment.mode, amount_minor, payment.currency, b"f"),
            *(API_VERSION, T0),
        )
        return order_no

    async def done(
        self, payment: SampleOrder, order_no: int, amount_minor: int, fee_minor: int, at: datetime
    ) -> None:
        """Write that an operation succeeded, as its second event."""
        await self._connection.execute(
            "INSERT INTO order_outcome VALUES"
            " ($1, $2, 1, 5, $3, $4, $5, 1, 'psp_1', 'ch_1', NULL, NULL, NULL, $6, 2, $6)",
            *(payment.partition_index, order_no, amount_minor, fee_minor, payment.currency, at),
        )

    async def dispute(self, payment: SampleOrder, state: DisputeState, amount_minor: int) -> int:
        """Write how a dispute stands now; return its number."""
        order_no = next(ORDER_NOS)
        await self._connection.execute(
            "INSERT INTO dispute (partition_index, order_no, payment_no, psp, reference, status,"
            " amount_minor, currency, event_sequence, merchant_no, mode)"
            " VALUES ($1, $2, $3, 'psp_1', 'dp_1', $4, $5, $6, 2, $7, $8)",
            *(payment.partition_index, order_no, payment.order_no, state, amount_minor),
            *(payment.currency, payment.merchant_no, payment.mode),
        )
        return order_no

    async def told(
        self, payment: SampleOrder, order_no: int, sequence: int, event: int, at: datetime
    ) -> dict[str, Any]:
        """Write an event, and return what it tells."""
        key = EventKey(payment.partition_index, order_no, sequence)
        await self._connection.execute(
            "INSERT INTO event (partition_index, order_no, sequence, batch_seq, type, merchant_no,"
            " mode, created_at) VALUES ($1, $2, $3, 1, $4, $5, $6, $7)",
            *(*key, event, payment.merchant_no, payment.mode, at),
        )
        document: dict[str, Any] = json.loads((await self._feed.events([key]))[key].body)
        return document

    async def close(self) -> None:
        await self.pool.close()
        await self._directory.pool.close()


@pytest.fixture
async def teller(database_dsn: str) -> AsyncIterator[Teller]:
    await create_books(database_dsn)
    connection = await asyncpg.connect(database_dsn)
    found = Teller(connection, database_dsn)
    yield found
    await found.close()
    await connection.close()


async def test_a_refund_tells_its_beginning_and_its_end(teller: Teller) -> None:
    """Each event has the refund as it stood then, under its own id, with its payment."""
    payment = await teller.payment(EndSample())
    refund = await teller.operation(payment, OperationKind.REFUND, 500)
    begun = await teller.told(payment, refund, 1, OperationEvent.REFUND_CREATED, T0)
    await teller.done(payment, refund, 500, 0, T0 + timedelta(seconds=1))
    ended = await teller.told(
        payment, refund, 2, OperationEvent.REFUND_SUCCEEDED, T0 + timedelta(seconds=1)
    )
    assert (begun["type"], begun["object"]) == ("refund.created", "refund")
    assert begun["object_id"] == begun["data"]["id"] == ended["object_id"]
    assert begun["object_id"].startswith("rf_")
    assert begun["data"]["payment"] == str(payment.idempotency_key)
    assert (begun["data"]["status"], ended["data"]["status"]) == ("pending", "succeeded")
    assert ended["data"]["amount"] == 500


async def test_a_payment_tells_what_was_captured_by_then(teller: Teller) -> None:
    """Captures one after the other: each event counts those that are done by then, and no later one."""
    payment = await teller.payment(
        EndSample(status=PaymentState.REQUIRES_CAPTURE, amount_captured_minor=0, effective_at=None)
    )
    first = await teller.operation(payment, OperationKind.CAPTURE, 600)
    second = await teller.operation(payment, OperationKind.CAPTURE, 400)
    at = [T0 + timedelta(seconds=number) for number in range(3)]
    await teller.done(payment, first, 600, 6, at[1])
    await teller.done(payment, second, 400, 4, at[2])
    authorized = await teller.told(payment, payment.order_no, 2, PaymentEvent.AUTHORIZED, at[0])
    partly = await teller.told(payment, payment.order_no, 3, PaymentEvent.PARTIALLY_CAPTURED, at[1])
    whole = await teller.told(payment, payment.order_no, 4, PaymentEvent.SUCCEEDED, at[2])
    told = [
        (event["data"]["status"], event["data"]["amount_captured"])
        for event in (authorized, partly, whole)
    ]
    assert told == [
        ("requires_capture", 0),
        ("partially_captured", 600),
        ("succeeded", 1_000),
    ]
    assert [event["data"]["fee"] for event in (partly, whole)] == [6, 10]
    assert whole["data"]["ledger_updated_at"] == "2026-11-01T12:00:02.000Z"


async def test_a_dispute_tells_how_it_stood(teller: Teller) -> None:
    """Each event says its own state, whatever became of the dispute since."""
    payment = await teller.payment(EndSample())
    dispute = await teller.dispute(payment, DisputeState.LOST, 500)
    opened = await teller.told(payment, dispute, 1, DisputeEvent.OPENED, T0)
    lost = await teller.told(payment, dispute, 2, DisputeEvent.LOST, T0 + timedelta(days=9))
    assert (opened["type"], opened["object"]) == ("dispute.opened", "dispute")
    assert [event["data"]["status"] for event in (opened, lost)] == ["opened", "lost"]
    assert opened["object_id"] == lost["data"]["id"]
    assert lost["data"]["payment"] == str(payment.idempotency_key)
    assert (lost["data"]["amount"], lost["data"]["psp_reference"]) == (500, "dp_1")
