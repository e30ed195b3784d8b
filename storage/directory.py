"""Merchants, sellers and API keys on Postgres. Every write is one statement, audit row included."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import asyncpg

from payments.defects import InvariantViolation
from payments.fees import FeeSchedule
from payments.fingerprint import canonical_json
from payments.mode import Mode
from storage.read_pool import ReadPool
from storage.read_ports import (
    ApiKeyRecord,
    KeyRole,
    MerchantExists,
    MerchantRecord,
    SellerExists,
    SellerKey,
    SellerRecord,
)
from storage.sql_files import load_statements

_SQL = load_statements("directory.sql")


class PostgresDirectory:
    """Directory on the shard that holds it."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def api_key(self, key_id: str) -> ApiKeyRecord | None:
        row = await self._pool.fetchrow(_SQL["api_key"], key_id)
        return None if row is None else _api_key(row)

    async def sellers_named(self, keys: Sequence[SellerKey]) -> Mapping[SellerKey, SellerRecord]:
        if not keys:
            return {}
        merchants, modes, seller_ids = zip(*keys, strict=True)
        rows = await self._pool.fetch(_SQL["sellers_named"], merchants, modes, seller_ids)
        return {
            (row["merchant_no"], Mode(row["mode"]), row["seller_id"]): _seller(row) for row in rows
        }

    async def sellers(
        self, merchant_no: int, mode: Mode, *, starting_after: str | None, count_max: int
    ) -> tuple[Sequence[SellerRecord], bool]:
        rows = await self._pool.fetch(
            _SQL["sellers"], merchant_no, mode, starting_after or "", count_max + 1
        )
        return [_seller(row) for row in rows[:count_max]], len(rows) > count_max

    async def create_seller(
        self, merchant_no: int, mode: Mode, seller_id: str, name: str, fee: FeeSchedule
    ) -> SellerRecord:
        rows = await self._pool.write(
            _SQL["create_seller"], merchant_no, mode, seller_id, name, *_fee_columns(fee)
        )
        if not rows:
            raise SellerExists(seller_id)
        return _seller(rows[0])

    async def create_merchant(
        self, *, merchant_id: str, name: str, fee: FeeSchedule, actor: str
    ) -> MerchantRecord:
        rows = await self._pool.write(
            _SQL["create_merchant"], merchant_id, name, *_fee_columns(fee), actor
        )
        if not rows:
            raise MerchantExists(merchant_id)
        return MerchantRecord(**rows[0])

    async def store_api_key(self, record: ApiKeyRecord, *, actor: str) -> None:
        await self._pool.write(
            _SQL["store_api_key"],
            record.key_id,
            record.secret_hmac,
            record.role,
            record.merchant_no,
            record.mode,
            record.is_revoked,
            actor,
        )


def _api_key(row: asyncpg.Record) -> ApiKeyRecord:
    return ApiKeyRecord(
        key_id=row["key_id"],
        secret_hmac=row["secret_hmac"],
        role=KeyRole(row["role"]),
        merchant_no=row["merchant_no"],
        merchant_id=row["merchant_id"],
        mode=Mode(row["mode"]),
        is_revoked=row["is_revoked"],
    )


def _seller(row: asyncpg.Record) -> SellerRecord:
    fixed = json.loads(row["fee_fixed"])
    if not isinstance(fixed, dict):
        raise InvariantViolation(f"seller {row['seller_no']} has fees that are no object")
    return SellerRecord(
        seller_no=row["seller_no"],
        seller_id=row["seller_id"],
        name=row["name"],
        fee=FeeSchedule(
            basis_points=row["fee_basis_points"],
            fixed_minor=tuple(sorted(fixed.items())),
            fixed_minor_default=row["fee_fixed_default"],
        ),
        created_at=row["created_at"],
    )


def _fee_columns(fee: FeeSchedule) -> tuple[int, str, int]:
    """Return fee_basis_points, fee_fixed as JSON text, fee_fixed_default."""
    return fee.basis_points, canonical_json(dict(fee.fixed_minor)), fee.fixed_minor_default
