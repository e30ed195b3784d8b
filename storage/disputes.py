"""Disputes in the books: found by number, and listed, always from the primary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol
from uuid import UUID

import asyncpg

from payments.dispute_answer import DisputeView, dispute_id
from payments.disputes import DisputeState
from payments.identity import ORDER_NO_MAX, PARTITION_INDEX_MAX
from payments.mode import Mode
from storage.listing import LIST_TRANSACTION, cut_page
from storage.read_pool import ReadPool
from storage.read_ports import CursorUnknown
from storage.sessions import Session
from storage.sql_files import load_statements

_SQL = load_statements("disputes.sql")

DisputeKey = tuple[int, int]
"""(partition_index, order_no) of the dispute itself."""

# Beyond every dispute that there can be.
_ABOVE_ALL = (datetime(9999, 1, 1, tzinfo=UTC), PARTITION_INDEX_MAX, ORDER_NO_MAX)


class StoredDispute(NamedTuple):
    """A dispute in the books, and whose it is."""

    merchant_no: int
    mode: Mode
    view: DisputeView


class DisputePage(NamedTuple):
    """Which page of a list is wanted; one cursor at most. None means no limit."""

    count_max: int
    state: DisputeState | None = None
    payment: tuple[int, UUID] | None = None
    """(partition_index, order_uuid)."""
    starting_after: DisputeKey | None = None
    ending_before: DisputeKey | None = None


class DisputeQueries(Protocol):
    """Reads from the primary. Every method raises StorageUnavailable when it can't be read."""

    async def disputes(self, keys: Sequence[DisputeKey]) -> Mapping[DisputeKey, StoredDispute]:
        """Return those that are in the books. One round trip, one snapshot."""
        ...

    async def list_disputes(
        self, merchant_no: int, mode: Mode, wanted: DisputePage
    ) -> tuple[Sequence[StoredDispute], bool]:
        """Return one page, newest first, and whether there are more. Raises CursorUnknown."""
        ...


class PostgresDisputes:
    """DisputeQueries on one shard."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def disputes(self, keys: Sequence[DisputeKey]) -> Mapping[DisputeKey, StoredDispute]:
        if not keys:
            return {}
        return _by_key(await self._pool.fetch(_SQL["disputes"], *_columns(keys)))

    async def list_disputes(
        self, merchant_no: int, mode: Mode, wanted: DisputePage
    ) -> tuple[Sequence[StoredDispute], bool]:
        page = await self._pool.run(
            lambda session: _list_disputes(session, merchant_no, mode, wanted)
        )
        if page is None:
            raise CursorUnknown
        return page


async def _list_disputes(
    session: Session, merchant_no: int, mode: Mode, wanted: DisputePage
) -> tuple[Sequence[StoredDispute], bool] | None:
    """Return the page, its keys and disputes of one snapshot, or None for an unknown cursor."""
    await session.execute(LIST_TRANSACTION)
    page = await _page_in_transaction(session, merchant_no, mode, wanted)
    await session.execute("COMMIT")
    return page


async def _page_in_transaction(
    session: Session, merchant_no: int, mode: Mode, wanted: DisputePage
) -> tuple[Sequence[StoredDispute], bool] | None:
    is_backwards = wanted.ending_before is not None
    edge = _ABOVE_ALL
    if (cursor := wanted.ending_before or wanted.starting_after) is not None:
        row = await session.fetchrow(_SQL["cursor_position"], *cursor, merchant_no, mode)
        if row is None:
            return None
        edge = (row["opened_at"], row["partition_index"], row["order_no"])
    rows = await session.fetch(
        _SQL["page_newer" if is_backwards else "page_older"],
        *(merchant_no, mode, *edge, wanted.state, *(wanted.payment or (None, None))),
        wanted.count_max + 1,
    )
    found, has_more = cut_page(rows, wanted.count_max, is_backwards=is_backwards)
    keys = [(row["partition_index"], row["order_no"]) for row in found]
    if not keys:
        return (), False
    by_key = _by_key(await session.fetch(_SQL["disputes"], *_columns(keys)))
    return [by_key[key] for key in keys], has_more


def _columns(keys: Sequence[DisputeKey]) -> tuple[list[int], list[int]]:
    return [index for index, _ in keys], [order_no for _, order_no in keys]


def _by_key(rows: Sequence[asyncpg.Record]) -> dict[DisputeKey, StoredDispute]:
    return {(row["partition_index"], row["order_no"]): _stored_dispute(row) for row in rows}


def _stored_dispute(row: asyncpg.Record) -> StoredDispute:
    return StoredDispute(
        merchant_no=row["merchant_no"],
        mode=Mode(row["mode"]),
        view=DisputeView(
            dispute_id=dispute_id(row["partition_index"], row["order_no"]),
            payment_key=row["payment_key"],
            state=DisputeState(row["status"]),
            amount_minor=row["amount_minor"],
            currency=row["currency"],
            psp=row["psp"],
            psp_reference=row["reference"],
            created_at=row["opened_at"],
            api_version=row["api_version"],
        ),
    )
