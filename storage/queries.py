"""The read side on Postgres: orders, lists, transfers and wallets, always from the primary."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from uuid import UUID

import asyncpg

from payments.accounts import AccountKind
from payments.answer import CAPTURE_WIRES, OrderView
from payments.defects import InvariantViolation
from payments.fingerprint import canonical_json
from payments.identity import batch_id, transfer_id
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.operation_kinds import OperationKind
from payments.rows import TransferKind
from storage.listing import (
    ABOVE_ALL,
    LIST_TRANSACTION,
    Position,
    cut_page,
    page_arguments,
)
from storage.read_pool import ReadPool
from storage.read_ports import (
    Balance,
    CursorUnknown,
    Page,
    PaymentFilter,
    StoredOperation,
    StoredOrder,
    TransferRecord,
    WalletRecord,
)
from storage.sessions import Session
from storage.set_aside_orders import set_aside_operation, set_aside_order
from storage.sql_files import load_statements
from storage.stored_operations import stored_operation

_SQL = load_statements("queries.sql")


class PostgresQueries:
    """PaymentQueries on one shard."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def known_orders(self, keys: Sequence[tuple[int, UUID]]) -> Set[UUID]:
        if not keys:
            return frozenset()
        rows = await self._pool.fetch(_SQL["known_orders"], *_columns(keys))
        return frozenset(row["order_uuid"] for row in rows)

    async def orders(self, keys: Sequence[tuple[int, UUID]]) -> Mapping[UUID, StoredOrder]:
        if not keys:
            return {}
        return _orders_by_uuid(await self._pool.fetch(_SQL["orders"], *_columns(keys)))

    async def list_payments(self, merchant_no: int, mode: Mode, wanted: PaymentFilter) -> Page:
        page = await self._pool.run(
            lambda session: _list_payments(session, merchant_no, mode, wanted)
        )
        if page is None:
            raise CursorUnknown
        return page

    async def transfers(self, partition_index: int, order_uuid: UUID) -> Sequence[TransferRecord]:
        rows = await self._pool.fetch(_SQL["transfers"], partition_index, order_uuid)
        return [_transfer(row) for row in rows]

    async def operations(self, keys: Sequence[tuple[int, UUID]]) -> Mapping[UUID, StoredOperation]:
        if not keys:
            return {}
        rows = await self._pool.fetch(_SQL["operations"], *_columns(keys))
        return {
            row["operation_uuid"]: set_aside_operation(row)
            if row["is_set_aside"]
            else stored_operation(row)
            for row in rows
        }

    async def operations_of(
        self,
        partition_index: int,
        order_uuid: UUID,
        kind: OperationKind,
        *,
        starting_after: UUID | None,
        count_max: int,
    ) -> tuple[Sequence[StoredOperation], bool]:
        keys = await self._pool.fetch(
            _SQL["operation_keys"],
            *(partition_index, order_uuid, kind, starting_after, count_max + 1),
        )
        pairs = [(key["partition_index"], key["operation_uuid"]) for key in keys[:count_max]]
        found = await self.operations(pairs)
        return [found[operation_uuid] for _, operation_uuid in pairs], len(keys) > count_max

    async def wallet(self, merchant_no: int, mode: Mode, seller_no: int) -> WalletRecord:
        rows = await self._pool.fetch(_SQL["wallet"], merchant_no, mode, str(seller_no))
        return WalletRecord(
            balances=[_balance(row) for row in rows if row["currency"] is not None],
            as_of=rows[0]["as_of"],
        )


async def _list_payments(
    session: Session, merchant_no: int, mode: Mode, wanted: PaymentFilter
) -> Page | None:
    """Return the page, its keys and orders of one snapshot, or None for an unknown cursor."""
    await session.execute(LIST_TRANSACTION)
    page = await _page_in_transaction(session, merchant_no, mode, wanted)
    await session.execute("COMMIT")
    return page


async def _page_in_transaction(
    session: Session, merchant_no: int, mode: Mode, wanted: PaymentFilter
) -> Page | None:
    is_backwards = wanted.ending_before is not None
    edge = ABOVE_ALL
    if (cursor := wanted.ending_before or wanted.starting_after) is not None:
        row = await session.fetchrow(_SQL["cursor_position"], cursor, merchant_no, mode)
        if row is None:
            return None
        edge = Position(*row)
    statement = _SQL["page_newer" if is_backwards else "page_older"]
    keys, has_more = cut_page(
        await session.fetch(statement, *page_arguments(merchant_no, mode, wanted, edge)),
        wanted.count_max,
        is_backwards=is_backwards,
    )
    if not keys:
        return Page(orders=(), has_more=False)
    pairs = [(key["partition_index"], key["order_uuid"]) for key in keys]
    orders = _orders_by_uuid(await session.fetch(_SQL["orders"], *_columns(pairs)))
    return Page(orders=[orders[order_uuid] for _, order_uuid in pairs], has_more=has_more)


def _columns(keys: Sequence[tuple[int, UUID]]) -> tuple[list[int], list[UUID]]:
    return [partition_index for partition_index, _ in keys], [order_uuid for _, order_uuid in keys]


def _orders_by_uuid(rows: Sequence[asyncpg.Record]) -> dict[UUID, StoredOrder]:
    return {row["order_uuid"]: _stored_order(row) for row in rows}


def _stored_order(row: asyncpg.Record) -> StoredOrder:
    if row["is_set_aside"]:
        return set_aside_order(
            row["order_uuid"],
            row["partition_index"],
            merchant_no=row["merchant_no"],
            mode=Mode(row["mode"]),
            fingerprint=row["fingerprint"],
            accepted_at=row["accepted_at"],
            discarded_at=row["recorded_at"],
            api_version=row["api_version"],
        )
    is_ended = row["ended_status"] is not None
    if not is_ended and row["open_status"] is None:
        order = f"order {row['order_no']} of partition {row['partition_index']}"
        raise InvariantViolation(f"{order} neither runs nor has ended")
    view = ended_view(row) if is_ended else open_view(row)
    return StoredOrder(
        order_uuid=row["order_uuid"],
        partition_index=row["partition_index"],
        order_no=row["order_no"],
        merchant_no=row["merchant_no"],
        mode=Mode(row["mode"]),
        fingerprint=row["fingerprint"],
        view=view,
        is_frozen=is_ended,
        present=None if row["present_status"] is None else _present_view(view, row),
        operation_count=row["operation_count"] or 0,
    )


def open_view(row: asyncpg.Record) -> OrderView:
    """Return how an order stands that has not ended: no money of it has reached the books."""
    return OrderView(
        idempotency_key=row["idempotency_key"],
        status=PaymentState(row["open_status"]).wire,
        is_outcome_known=row["is_outcome_known"],
        amount_minor=row["amount_minor"],
        amount_captured_minor=0,
        amount_refunded_minor=0,
        currency=row["currency"],
        seller_id=row["seller_id"],
        fee_minor=row["fee_minor"],
        psp=row["attempt_psp"],
        psp_reference=row["open_psp_reference"],
        attempt_count=row["open_attempt_no"],
        failure_code=None,
        decline_code=None,
        failure_message=None,
        next_action=_next_action(row["next_action_url"], row["action_expires_at"]),
        next_retry_at=row["next_retry_at"],
        metadata_json=_canonical(row["metadata"]),
        capture=CAPTURE_WIRES[row["captures_manually"]],
        created_at=row["accepted_at"],
        effective_at=None,
        ledger_updated_at=None,
        wallet_updated_at=None,
        api_version=row["api_version"],
        splits_json=_canonical(row["splits"]),
    )


def ended_view(row: asyncpg.Record) -> OrderView:
    """Return the columns of the moment the order ended, which never change again."""
    has_moved_money = row["amount_captured_minor"] > 0
    return OrderView(
        idempotency_key=row["idempotency_key"],
        status=PaymentState(row["ended_status"]).wire,
        is_outcome_known=True,
        amount_minor=row["amount_minor"],
        amount_captured_minor=row["amount_captured_minor"],
        amount_refunded_minor=0,
        currency=row["currency"],
        seller_id=row["seller_id"],
        fee_minor=row["ended_fee_minor"],
        psp=row["ended_psp"],
        psp_reference=row["ended_psp_reference"],
        attempt_count=row["ended_attempt_no"],
        failure_code=row["failure_code"],
        decline_code=row["decline_code"],
        failure_message=row["failure_message"],
        next_action=None,
        next_retry_at=None,
        metadata_json=_canonical(row["metadata"]),
        capture=CAPTURE_WIRES[row["captures_manually"]],
        created_at=row["accepted_at"],
        effective_at=row["effective_at"],
        ledger_updated_at=row["recorded_at"],
        wallet_updated_at=row["recorded_at"] if has_moved_money else None,
        api_version=row["api_version"],
        splits_json=_canonical(row["splits"]),
    )


def _present_view(frozen: OrderView, row: asyncpg.Record) -> OrderView:
    """Return how a payment stands that something was done to since its answer froze."""
    captured_minor = row["captured_minor"]
    has_moved_money = captured_minor > 0
    return frozen._replace(
        status=PaymentState(row["present_status"]).wire,
        amount_captured_minor=captured_minor,
        amount_refunded_minor=row["refunded_minor"],
        fee_minor=row["fee_taken_minor"] if has_moved_money else frozen.fee_minor,
        ledger_updated_at=row["updated_at"],
        wallet_updated_at=row["updated_at"] if has_moved_money else None,
    )


def _next_action(url: str | None, expires_at: datetime | None) -> Mapping[str, object] | None:
    """Return what the buyer has to do, as JSON members; the time as RFC 3339 in milliseconds."""
    if url is None:
        return None
    expiry = (
        None if expires_at is None else f"{expires_at.isoformat(timespec='milliseconds')[:-6]}Z"
    )
    return {"type": "redirect", "url": url, "expires_at": expiry}


def _canonical(stored: str | None) -> str | None:
    """Return the canonical text again: jsonb keeps the members, not their order and spaces."""
    return None if stored is None else canonical_json(json.loads(stored))


def _transfer(row: asyncpg.Record) -> TransferRecord:
    return TransferRecord(
        transfer_id=transfer_id(row["partition_index"], row["order_no"], row["step"]),
        kind=TransferKind(row["kind"]).name.lower(),
        debit_account=_account_name(row["debit_kind"], row["debit_holder"]),
        credit_account=_account_name(row["credit_kind"], row["credit_holder"]),
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        created_at=row["recorded_at"],
        batch=batch_id(row["partition_index"], row["batch_seq"]),
    )


def _account_name(kind: int, holder: str) -> str:
    name = AccountKind(kind).name.lower()
    return f"{name}:{holder}" if holder else name


def _balance(row: asyncpg.Record) -> Balance:
    # Sums are numeric in SQL, and whole numbers all the same.
    posted_minor = int(row["posted_minor"])
    debits_pending_minor = int(row["debits_pending_minor"])
    return Balance(
        currency=row["currency"],
        posted_minor=posted_minor,
        pending_minor=int(row["credits_pending_minor"]) - debits_pending_minor,
        available_minor=posted_minor - debits_pending_minor,
    )
