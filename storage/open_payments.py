"""Payments that have not ended on Postgres, for the command line: those of unknown outcome above all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from payments.lifecycle import PaymentState
from storage.read_pool import ReadPool
from storage.sql_files import load_statements

_SQL = load_statements("open_payments.sql")

# More of them than a person reads; the statement sorts all open orders anyway.
PAGE_MAX = 500


class OpenPayment(NamedTuple):
    """One of them; its amount in minor units. Nothing of it is personal."""

    order_uuid: UUID
    idempotency_key: UUID
    merchant_id: str | None
    amount_minor: int
    currency: str
    status: str
    """A wire name of PaymentState."""
    is_outcome_known: bool
    attempt_no: int
    psp: str | None
    next_retry_at: datetime | None
    accepted_at: datetime


class PostgresOpenPayments:
    """Open payments of one shard. Every method raises StorageUnavailable."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def oldest(self, *, is_unknown: bool, count_max: int) -> Sequence[OpenPayment]:
        """Return the oldest, or only those of unknown outcome."""
        rows = await self._pool.fetch(_SQL["oldest"], is_unknown, count_max)
        return [
            OpenPayment(**{**dict(row), "status": PaymentState(row["status"]).wire}) for row in rows
        ]

    async def count(self, *, is_unknown: bool) -> int:
        """Return how many there are."""
        row = await self._pool.fetchrow(_SQL["count"], is_unknown)
        return 0 if row is None else int(row["payment_count"])
