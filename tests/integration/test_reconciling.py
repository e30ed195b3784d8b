"""A PSP's report against whole books in Postgres: of every way in which a charge stands, also captured later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from ops.reconciling import ABSENT, Finding, Reconciler, Reconciliation
from payments.lifecycle import PaymentState
from psp.port import SettlementLine
from psp.simulator.wire import OracleRow
from storage.connections import Connector
from storage.evidence import PostgresEvidence
from storage.read_pool import ReadPool
from tests.books import PARTITION_COUNT
from tests.verified_books import PSP, TEMPLATE, VerifiedBooks, ask

# Charged, but their orders are still open.
CHARGES_OF_OPEN_ORDERS = 4


@pytest.fixture
def dsn(books: VerifiedBooks) -> Iterator[str]:
    """A copy: a report may resolve what is open."""
    database = f"reconciled_{uuid4().hex}"
    yield books.servers.create_database(database, template=TEMPLATE)
    books.servers.drop_database(database)


async def report_of(rows: Sequence[OracleRow]) -> AsyncIterator[SettlementLine]:
    """What the PSP recorded, as its report has it: the charges that moved money."""
    for row in rows:
        yield SettlementLine(
            reference=row.reference,
            psp_key=row.key,
            merchant_id=row.merchant,
            order_key=None,
            amount_minor=row.amount,
            captured_minor=row.captured,
            refunded_minor=row.refunded,
            fee_minor=0,
            currency=row.currency,
            status=row.status.value,
            at=row.at,
        )


async def reconciled(dsn: str, rows: Sequence[OracleRow]) -> Reconciliation:
    pool = ReadPool(Connector(dsn, application_name="reconcile"), session_count_max=1)
    try:
        reconciler = Reconciler(
            PostgresEvidence(pool),
            psp=PSP,
            partition_count=PARTITION_COUNT,
            actor="test",
            wait_s=0.0,
        )
        since = datetime.now(UTC) - timedelta(hours=1)
        return await reconciler.run(report_of(rows), since=since)
    finally:
        await pool.close()


def charged(books: VerifiedBooks) -> list[OracleRow]:
    return [row for row in books.charges if row.captured > 0]


async def test_a_true_report_agrees_with_the_books(books: VerifiedBooks, dsn: str) -> None:
    """No line is a break, whether a payment was charged at once, or authorized and captured later."""
    later = await ask(
        dsn,
        "SELECT count(*) AS n FROM order_outcome JOIN payment_standing USING (partition_index, order_no)"
        " WHERE order_outcome.status = $1 AND captured_minor > 0",
        int(PaymentState.REQUIRES_CAPTURE),
    )
    assert later[0]["n"] > 0
    done = await reconciled(dsn, charged(books))
    assert done.breaks == []
    assert done.counts[Finding.MATCHED] == done.line_count - CHARGES_OF_OPEN_ORDERS


async def test_a_charge_that_the_report_lacks_is_a_break(books: VerifiedBooks, dsn: str) -> None:
    """Also one that was captured after it was authorized."""
    rows = charged(books)
    captured_later = await ask(
        dsn,
        "SELECT psp_reference FROM order_outcome JOIN payment_standing USING (partition_index, order_no)"
        " WHERE order_outcome.status = $1 AND captured_minor > 0 LIMIT 1",
        int(PaymentState.REQUIRES_CAPTURE),
    )
    missing = captured_later[0]["psp_reference"]
    done = await reconciled(dsn, [row for row in rows if row.reference != missing])
    assert [(one.reference, one.why) for one in done.breaks] == [(missing, ABSENT)]
