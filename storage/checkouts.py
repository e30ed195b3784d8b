"""Checkouts in the books: found by name, and listed, always from the primary."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol
from uuid import UUID

import asyncpg

from payments.checkouts import Checkout, CheckoutOrder
from payments.fingerprint import canonical_json
from payments.mode import Mode
from storage.listing import LIST_TRANSACTION, cut_page
from storage.read_pool import ReadPool
from storage.read_ports import CursorUnknown
from storage.sessions import Session
from storage.sql_files import load_statements

_SQL = load_statements("checkouts.sql")

CheckoutKey = tuple[int, UUID]
"""(partition_index, checkout_uuid)."""

# Beyond every time of acceptance that there can be.
_ABOVE_ALL = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))


class CheckoutPage(NamedTuple):
    """Which page of a list is wanted; one cursor at most."""

    count_max: int
    starting_after: CheckoutKey | None = None
    ending_before: CheckoutKey | None = None


class CheckoutQueries(Protocol):
    """Reads from the primary. Every method raises StorageUnavailable when it can't be read."""

    async def checkouts(self, keys: Sequence[CheckoutKey]) -> Mapping[UUID, Checkout]:
        """Return by name those that are in the books. One round trip, one snapshot."""
        ...

    async def list_checkouts(
        self, merchant_no: int, mode: Mode, wanted: CheckoutPage
    ) -> tuple[Sequence[Checkout], bool]:
        """Return one page, newest first, and whether there are more. Raises CursorUnknown."""
        ...


class PostgresCheckouts:
    """CheckoutQueries on one shard."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def checkouts(self, keys: Sequence[CheckoutKey]) -> Mapping[UUID, Checkout]:
        if not keys:
            return {}
        return _by_uuid(await self._pool.fetch(_SQL["checkouts"], *_columns(keys)))

    async def list_checkouts(
        self, merchant_no: int, mode: Mode, wanted: CheckoutPage
    ) -> tuple[Sequence[Checkout], bool]:
        page = await self._pool.run(
            lambda session: _list_checkouts(session, merchant_no, mode, wanted)
        )
        if page is None:
            raise CursorUnknown
        return page


async def _list_checkouts(
    session: Session, merchant_no: int, mode: Mode, wanted: CheckoutPage
) -> tuple[Sequence[Checkout], bool] | None:
    """Return the page, its keys and checkouts of one snapshot, or None for an unknown cursor."""
    await session.execute(LIST_TRANSACTION)
    page = await _page_in_transaction(session, merchant_no, mode, wanted)
    await session.execute("COMMIT")
    return page


async def _page_in_transaction(
    session: Session, merchant_no: int, mode: Mode, wanted: CheckoutPage
) -> tuple[Sequence[Checkout], bool] | None:
    is_backwards = wanted.ending_before is not None
    edge = _ABOVE_ALL
    if (cursor := wanted.ending_before or wanted.starting_after) is not None:
        row = await session.fetchrow(_SQL["cursor_position"], *cursor, merchant_no, mode)
        if row is None:
            return None
        edge = (row["accepted_at"], row["checkout_uuid"])
    statement = _SQL["page_newer" if is_backwards else "page_older"]
    rows = await session.fetch(statement, merchant_no, mode, *edge, wanted.count_max + 1)
    found, has_more = cut_page(rows, wanted.count_max, is_backwards=is_backwards)
    keys = [(row["partition_index"], row["checkout_uuid"]) for row in found]
    if not keys:
        return (), False
    by_uuid = _by_uuid(await session.fetch(_SQL["checkouts"], *_columns(keys)))
    return [by_uuid[checkout_uuid] for _, checkout_uuid in keys], has_more


def _columns(keys: Sequence[CheckoutKey]) -> tuple[list[int], list[UUID]]:
    return [partition_index for partition_index, _ in keys], [uuid for _, uuid in keys]


def _by_uuid(rows: Sequence[asyncpg.Record]) -> dict[UUID, Checkout]:
    orders: dict[UUID, list[CheckoutOrder]] = {}
    heads: dict[UUID, asyncpg.Record] = {}
    for row in rows:
        uuid = row["checkout_uuid"]
        heads.setdefault(uuid, row)
        orders.setdefault(uuid, []).append(
            CheckoutOrder(
                idempotency_key=row["order_key"],
                seller_no=row["seller_no"],
                seller_id=row["seller_id"],
                amount_minor=row["amount_minor"],
                currency=row["currency"],
                fingerprint=row["order_fingerprint"],
            )
        )
    return {uuid: _checkout(head, orders[uuid]) for uuid, head in heads.items()}


def _checkout(row: asyncpg.Record, orders: Sequence[CheckoutOrder]) -> Checkout:
    metadata = row["metadata"]
    return Checkout(
        checkout_uuid=row["checkout_uuid"],
        idempotency_key=row["idempotency_key"],
        merchant_no=row["merchant_no"],
        merchant_id=row["merchant_id"],
        mode=Mode(row["mode"]),
        orders=tuple(orders),
        success_url=row["success_url"],
        cancel_url=row["cancel_url"],
        # The column is jsonb, which keeps no spelling of its own.
        metadata_json=None if metadata is None else canonical_json(json.loads(metadata)),
        fingerprint=row["fingerprint"],
        accepted_at=row["accepted_at"],
        api_version=row["api_version"],
    )
