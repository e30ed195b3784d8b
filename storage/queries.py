"""The read side on Postgres: orders, lists, transfers and wallets, always from the primary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from uuid import UUID

import asyncpg

from payments.accounts import AccountKind
from payments.identity import batch_id, transfer_id
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
from storage.set_aside_orders import set_aside_operation
from storage.sql_files import load_statements
from storage.stored_operations import stored_operation
from storage.stored_orders import stored_order

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
    return {row["order_uuid"]: stored_order(row) for row in rows}


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
