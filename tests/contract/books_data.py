"""Books to read: sample orders as rows for Postgres, and what the read side must make of them.

Both sides are written out here, independently of storage/queries.py: the INSERTs follow the schema,
the expected records follow the API's words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg

from payments.answer import API_VERSION, OrderView
from payments.fingerprint import canonical_json
from payments.lifecycle import PaymentState
from payments.mode import Mode
from storage.connections import Connector
from storage.read_ports import StoredOrder
from storage.sessions import Session
from tests.books import install_books

ACCEPTED_AT = datetime(2026, 11, 1, 9, 30, 0, 125000, tzinfo=UTC)
RECORDED_AT = ACCEPTED_AT + timedelta(seconds=2)
EFFECTIVE_AT = ACCEPTED_AT + timedelta(seconds=1)
EXPIRES_AT = ACCEPTED_AT + timedelta(minutes=15)


class RoleConnector(Connector):
    """Opens sessions under a role of ours, so that its grants are tested too."""

    def __init__(self, dsn: str, role: str) -> None:
        super().__init__(dsn, application_name=f"test of {role}")
        self._role = role

    async def open(self, settings: Mapping[str, str] | None = None) -> Session:
        return await super().open({**(settings or {}), "role": self._role})


async def create_books(dsn: str) -> None:
    """Install the books in an empty database and mark the server's start, unless that is done."""
    connection = await asyncpg.connect(dsn)
    try:
        is_done = await connection.fetchval("SELECT to_regclass('payment_order')") is not None
    finally:
        await connection.close()
    if not is_done:
        await install_books(dsn)
        session = await Connector(dsn, application_name="test books").open_marked()
        await session.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSample:
    """How an order stands that has not ended."""

    status: PaymentState = PaymentState.PROCESSING
    is_outcome_known: bool = True
    attempt_no: int = 1
    psp_reference: str | None = None
    next_action_url: str | None = None
    next_retry_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSample:
    """How an order ended."""

    status: PaymentState = PaymentState.SUCCEEDED
    amount_captured_minor: int = 1999
    fee_minor: int = 88
    attempt_no: int = 1
    psp: str | None = "simulator"
    psp_reference: str | None = "ch_one"
    failure_code: str | None = None
    decline_code: str | None = None
    failure_message: str | None = None
    effective_at: datetime | None = EFFECTIVE_AT


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOrder:
    """One order with its state; ``merchant_no`` and the seller exist already."""

    merchant_no: int
    seller_no: int
    seller_id: str
    order_no: int
    state: OpenSample | EndSample = field(default_factory=OpenSample)
    partition_index: int = 3
    mode: Mode = Mode.TEST
    order_uuid: UUID = field(default_factory=uuid4)
    idempotency_key: UUID = field(default_factory=uuid4)
    amount_minor: int = 1999
    currency: str = "USD"
    fee_minor: int = 88
    metadata: Mapping[str, str] | None = None
    accepted_at: datetime = ACCEPTED_AT

    @property
    def key(self) -> tuple[int, UUID]:
        return self.partition_index, self.order_uuid

    @property
    def fingerprint(self) -> bytes:
        return hashlib.sha256(self.order_uuid.bytes).digest()

    def stored(self) -> StoredOrder:
        """What the read side must return."""
        state = self.state
        return StoredOrder(
            order_uuid=self.order_uuid,
            partition_index=self.partition_index,
            order_no=self.order_no,
            merchant_no=self.merchant_no,
            mode=self.mode,
            fingerprint=self.fingerprint,
            view=self._open_view(state) if isinstance(state, OpenSample) else self._end_view(state),
            is_frozen=isinstance(state, EndSample),
        )

    def _open_view(self, state: OpenSample) -> OrderView:
        next_action = {
            "type": "redirect",
            "url": state.next_action_url,
            "expires_at": "2026-11-01T09:45:00.125Z",
        }
        return OrderView(
            idempotency_key=self.idempotency_key,
            status=state.status.wire,
            is_outcome_known=state.is_outcome_known,
            amount_minor=self.amount_minor,
            amount_captured_minor=0,
            amount_refunded_minor=0,
            currency=self.currency,
            seller_id=self.seller_id,
            fee_minor=self.fee_minor,
            psp=f"psp_{state.attempt_no}",
            psp_reference=state.psp_reference,
            attempt_count=state.attempt_no,
            failure_code=None,
            decline_code=None,
            failure_message=None,
            next_action=next_action if state.next_action_url is not None else None,
            next_retry_at=state.next_retry_at,
            metadata_json=self._metadata_json(),
            capture="automatic",
            created_at=self.accepted_at,
            effective_at=None,
            ledger_updated_at=None,
            wallet_updated_at=None,
            api_version=API_VERSION,
        )

    def _end_view(self, state: EndSample) -> OrderView:
        return OrderView(
            idempotency_key=self.idempotency_key,
            status=state.status.wire,
            is_outcome_known=True,
            amount_minor=self.amount_minor,
            amount_captured_minor=state.amount_captured_minor,
            amount_refunded_minor=0,
            currency=self.currency,
            seller_id=self.seller_id,
            fee_minor=state.fee_minor,
            psp=state.psp,
            psp_reference=state.psp_reference,
            attempt_count=state.attempt_no,
            failure_code=state.failure_code,
            decline_code=state.decline_code,
            failure_message=state.failure_message,
            next_action=None,
            next_retry_at=None,
            metadata_json=self._metadata_json(),
            capture="automatic",
            created_at=self.accepted_at,
            effective_at=state.effective_at,
            ledger_updated_at=RECORDED_AT,
            wallet_updated_at=RECORDED_AT if state.amount_captured_minor else None,
            api_version=API_VERSION,
        )

    def _metadata_json(self) -> str | None:
        return None if self.metadata is None else canonical_json(self.metadata)


async def insert_order(connection: asyncpg.Connection[asyncpg.Record], sample: SampleOrder) -> None:
    """Write the order, its attempts, and how it stands or ended."""
    where = (sample.partition_index, sample.order_no)
    await connection.execute(
        "INSERT INTO payment_order (partition_index, order_no, order_uuid, idempotency_key,"
        " merchant_no, mode, seller_no, amount_minor, currency, fee_minor, fingerprint, metadata,"
        " api_version, accepted_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::jsonb, $13, $14)",
        *where, sample.order_uuid, sample.idempotency_key, sample.merchant_no, sample.mode,
        sample.seller_no, sample.amount_minor, sample.currency, sample.fee_minor,
        sample.fingerprint, None if sample.metadata is None else canonical_json(sample.metadata),
        API_VERSION, sample.accepted_at,
    )  # fmt: skip
    state = sample.state
    for attempt_no in range(1, state.attempt_no + 1):
        await connection.execute(
            "INSERT INTO attempt (partition_index, order_no, attempt_no, psp, psp_account, psp_key,"
            " epoch) VALUES ($1, $2, $3, $4, 'account', 'key', 1)",
            *where, attempt_no, f"psp_{attempt_no}",
        )  # fmt: skip
    if isinstance(state, OpenSample):
        await connection.execute(
            "INSERT INTO open_order VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $8, $9)",
            *where, state.status, state.is_outcome_known, state.attempt_no, state.psp_reference,
            state.next_action_url, EXPIRES_AT if state.next_action_url else None, state.next_retry_at,
        )  # fmt: skip
        return
    await connection.execute(
        "INSERT INTO order_outcome VALUES"
        " ($1, $2, 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 2, $14)",
        *where, state.status, state.amount_captured_minor, state.fee_minor, sample.currency,
        state.attempt_no, state.psp, state.psp_reference, state.failure_code, state.decline_code,
        state.failure_message, state.effective_at, RECORDED_AT,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSlice:
    """One partition's part of a wallet."""

    partition_index: int
    currency: str = "USD"
    debits_posted_minor: int = 0
    credits_posted_minor: int = 0
    debits_pending_minor: int = 0
    credits_pending_minor: int = 0


async def insert_account(
    connection: asyncpg.Connection[asyncpg.Record],
    *,
    merchant_no: int,
    kind: int,
    holder: str,
    slice_: SampleSlice,
) -> int:
    """Write an account of that partition with its slice; return its number."""
    account_no: int = await connection.fetchval(
        "INSERT INTO account SELECT $1, coalesce(max(account_no), 0) + 1, $2, 1, $3, $4, $5"
        " FROM account WHERE partition_index = $1 RETURNING account_no",
        slice_.partition_index, merchant_no, kind, holder, slice_.currency,
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO slice VALUES ($1, $2, 1, $3, $4, $5, $6)",
        slice_.partition_index, account_no, slice_.debits_posted_minor,
        slice_.credits_posted_minor, slice_.debits_pending_minor, slice_.credits_pending_minor,
    )  # fmt: skip
    return account_no


async def insert_transfers(
    connection: asyncpg.Connection[asyncpg.Record],
    sample: SampleOrder,
    transfers: Sequence[tuple[int, int, int, int]],
) -> None:
    """Write transfers of an order as (kind, debit_account_no, credit_account_no, amount_minor)."""
    for step, (kind, debit_account_no, credit_account_no, amount_minor) in enumerate(transfers, 1):
        await connection.execute(
            "INSERT INTO transfer VALUES ($1, $2, $3, 7, $4, $5, $6, $7, $8, $9)",
            sample.partition_index, sample.order_no, step, kind, debit_account_no,
            credit_account_no, amount_minor, sample.currency, RECORDED_AT,
        )  # fmt: skip
