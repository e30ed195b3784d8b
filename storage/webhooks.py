"""Webhook endpoints and their delivery log on Postgres, for gateways and the command line."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from payments.feed import FeedPosition
from payments.mode import Mode
from runtime.faults import StorageUnavailable
from storage.read_pool import ReadPool
from storage.sessions import STORE, Session
from storage.sql_files import load_statements
from storage.webhook_ports import (
    ABOVE_ALL_ENDPOINTS,
    Delivery,
    DeliveryState,
    Endpoint,
    EndpointStatus,
    ResendRange,
)

_SQL = load_statements("webhooks.sql")


class PostgresWebhooks:
    """Webhooks on the shard that holds the directory and the feed."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def create(
        self,
        merchant_no: int,
        mode: Mode,
        *,
        url: str,
        types: Sequence[str],
        sealed_secret: bytes,
        count_max: int,
    ) -> Endpoint | None:
        """See ``Webhooks``."""
        columns = (merchant_no, mode, url, list(types), sealed_secret, count_max)
        endpoint_no = await self._pool.run(lambda session: _create(session, columns))
        if endpoint_no is None:
            return None
        return await self.endpoint(merchant_no, mode, endpoint_no)

    async def endpoint(self, merchant_no: int, mode: Mode, endpoint_no: int) -> Endpoint | None:
        """See ``Webhooks``."""
        row = await self._pool.fetchrow(
            _SQL["endpoints"], merchant_no, mode, endpoint_no, ABOVE_ALL_ENDPOINTS, 1
        )
        return None if row is None else _endpoint(row)

    async def endpoints(
        self, merchant_no: int, mode: Mode, *, below: int, count_max: int
    ) -> Sequence[Endpoint]:
        """See ``Webhooks``."""
        rows = await self._pool.fetch(_SQL["endpoints"], merchant_no, mode, None, below, count_max)
        return [_endpoint(row) for row in rows]

    async def of_everybody(
        self, *, endpoint_no: int | None, below: int, count_max: int
    ) -> Sequence[Endpoint]:
        """Return endpoints of all merchants and modes, newest first, for operators. Raises StorageUnavailable."""
        rows = await self._pool.fetch(_SQL["endpoints"], None, None, endpoint_no, below, count_max)
        return [_endpoint(row) for row in rows]

    async def delete(self, merchant_no: int, mode: Mode, endpoint_no: int) -> bool:
        """See ``Webhooks``."""
        return bool(await self._pool.write(_SQL["delete_endpoint"], merchant_no, mode, endpoint_no))

    async def set_status(
        self,
        merchant_no: int,
        mode: Mode,
        endpoint_no: int,
        status: EndpointStatus,
        reason: str | None,
    ) -> bool:
        """See ``Webhooks``."""
        return bool(
            await self._pool.write(
                _SQL["set_status"], merchant_no, mode, endpoint_no, status, reason
            )
        )

    async def rotate(
        self,
        merchant_no: int,
        mode: Mode,
        endpoint_no: int,
        *,
        sealed_secret: bytes,
        overlap_s: int,
    ) -> bool:
        """See ``Webhooks``."""
        return bool(
            await self._pool.write(
                _SQL["rotate_secret"], merchant_no, mode, endpoint_no, sealed_secret, overlap_s
            )
        )

    async def deliveries(
        self,
        endpoint_no: int,
        *,
        below: FeedPosition,
        state: DeliveryState | None,
        count_max: int,
    ) -> Sequence[Delivery]:
        """See ``Webhooks``."""
        rows = await self._pool.fetch(_SQL["deliveries"], endpoint_no, *below, state, count_max)
        return [_delivery(endpoint_no, row) for row in rows]

    async def resend(self, endpoint_no: int, position: FeedPosition) -> bool:
        """See ``Webhooks``."""
        return bool(await self._pool.write(_SQL["resend"], endpoint_no, *position))

    async def resend_range(self, endpoint_no: int, wanted: ResendRange) -> int:
        """See ``Webhooks``."""
        rows = await self._pool.write(
            _SQL["resend_range"],
            *(endpoint_no, wanted.transaction_first, wanted.transaction_end),
            *(wanted.created_from, wanted.created_to, sorted(wanted.states), wanted.count_max),
        )
        count: int = rows[0]["delivery_count"]
        return count

    async def audit(self, actor: str, action: str, subject: str, reason: str) -> None:
        """Note what an operator did, and why. Raises StorageUnavailable."""
        await self._pool.write(_SQL["audit"], actor, action, subject, reason)


async def _create(session: Session, columns: tuple[object, ...]) -> int | None:
    """Return the number of the new endpoint, which a standby holds; None when there are too many."""
    session.take_warnings()
    await session.execute("BEGIN")
    await session.fetch(_SQL["lock_merchant"], columns[0])
    row = await session.fetchrow(_SQL["create_endpoint"], *columns)
    await session.execute("COMMIT")
    if warnings := session.take_warnings():
        raise StorageUnavailable(STORE, f"the write was not confirmed: {warnings[0]}")
    return None if row is None else row["endpoint_no"]


def _endpoint(row: asyncpg.Record) -> Endpoint:
    members = dict(row)
    return Endpoint(
        **{**members, "mode": Mode(row["mode"]), "status": EndpointStatus(row["status"])}
    )


def _delivery(endpoint_no: int, row: asyncpg.Record) -> Delivery:
    position = FeedPosition(
        row["db_transaction"], row["partition_index"], row["order_no"], row["sequence"]
    )
    return Delivery(
        endpoint_no=endpoint_no,
        position=position,
        type=row["type"],
        event_created_at=row["event_created_at"],
        state=DeliveryState(row["state"]),
        try_count=row["try_count"],
        due_at=row["due_at"],
        first_try_at=row["first_try_at"],
        last_try_at=row["last_try_at"],
        last_http_status=row["last_http_status"],
        last_error=row["last_error"],
        last_duration_ms=row["last_duration_ms"],
    )
