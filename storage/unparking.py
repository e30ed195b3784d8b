"""Orders that were parked because they end their host: an operator lets them go on, their owner does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from payments.parking import ParkReason
from storage.read_pool import ReadPool
from storage.sql_files import load_statements

_SQL = load_statements("unparking.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedPayment:
    """An open order that nobody touches."""

    partition_index: int
    order_no: int
    order_uuid: UUID
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestingPayment:
    """An open order that goes on by itself once a PSP can be called."""

    psp: str
    reason: str


class Unparking(Protocol):
    """What an owner needs. Every method raises StorageUnavailable."""

    async def wanted(self, partition_indexes: Sequence[int]) -> Sequence[tuple[int, int]]:
        """Return ``(partition_index, order_no)`` of the parked orders there that shall go on."""
        ...

    async def unpark(self, partition_index: int, epoch: int, order_no: int) -> None:
        """Have the next claim rebuild the order, as long as ``epoch`` is the present one."""
        ...


class PostgresUnparking:
    """Parked orders of one shard."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def parked(self, payment: UUID) -> Sequence[ParkedPayment]:
        """Return the parked orders of that key, or order id. Raises StorageUnavailable."""
        rows = await self._pool.fetch(_SQL["parked"], payment)
        return [
            ParkedPayment(
                partition_index=row["partition_index"],
                order_no=row["order_no"],
                order_uuid=row["order_uuid"],
                reason=row["reason"],
                detail=row["detail"],
            )
            for row in rows
        ]

    async def resting(self, payment: UUID) -> Sequence[RestingPayment]:
        """Return those of that key, or order id, that wait for PSPs. Raises StorageUnavailable."""
        return [
            RestingPayment(psp=row["psp"], reason=ParkReason(row["parked_reason"]).wire)
            for row in await self._pool.fetch(_SQL["resting"], payment)
        ]

    async def want(self, parked: ParkedPayment, *, actor: str, reason: str) -> None:
        """Want an order to go on, and audit it. Raises StorageUnavailable."""
        await self._pool.write(
            _SQL["want"],
            parked.partition_index,
            parked.order_no,
            actor,
            str(parked.order_uuid),
            reason,
        )

    async def wanted(self, partition_indexes: Sequence[int]) -> Sequence[tuple[int, int]]:
        """See ``Unparking``."""
        rows = await self._pool.fetch(_SQL["wanted"], list(partition_indexes))
        return [(row["partition_index"], row["order_no"]) for row in rows]

    async def unpark(self, partition_index: int, epoch: int, order_no: int) -> None:
        """See ``Unparking``."""
        await self._pool.write(_SQL["unpark"], partition_index, epoch, order_no)
