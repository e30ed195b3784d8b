"""The request log: what merchants asked and were answered, for some days; redacted before it comes here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

import asyncpg

from payments.mode import Mode
from storage.read_pool import ReadPool
from storage.sealing import open_sealed, seal
from storage.sessions import Session
from storage.sql_files import load_statements

_SQL = load_statements("request_log.sql")
_TABLE = "request_log"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

FIRST_OF_ALL = UUID(int=0)
LAST_OF_ALL = UUID(int=2**128 - 1)


def request_time(request_no: UUID) -> datetime:
    """When a request came, as its number tells: a UUIDv7 begins with milliseconds."""
    return _EPOCH + timedelta(milliseconds=request_no.int >> 80)


class LoggedRequest(NamedTuple):
    """One request and its answer."""

    request_no: UUID
    """The Request-Id's number; it rises with time."""
    merchant_no: int
    mode: Mode
    method: str
    route: str
    """The template of its path."""
    status: int
    code: str | None
    """Of a problem."""
    idempotency_key: UUID | None
    duration_us: int
    received_at: datetime
    bodies: bytes
    """A JSON object, redacted."""


class Whose(NamedTuple):
    """Which merchant's requests, in which mode."""

    merchant_no: int
    mode: Mode


class RequestHead(NamedTuple):
    """A request as operators see it: without bodies."""

    request_no: UUID
    merchant_id: str
    mode: Mode
    method: str
    route: str
    status: int
    code: str | None
    idempotency_key: UUID | None
    duration_us: int
    received_at: datetime


class RequestLogStore(Protocol):
    """Where gateways write, and merchants look. Every method raises StorageUnavailable."""

    async def turn(self, *, keep_s: int, bytes_max: int) -> int:
        """Return the slot to write into; what is older or larger than shall be kept is emptied."""
        ...

    async def write(self, slot: int, rows: Sequence[LoggedRequest]) -> None:
        """Write a batch. A batch that failed may be there all the same: don't write it again."""
        ...

    async def one(self, whose: Whose, request_no: UUID) -> LoggedRequest | None: ...

    async def of_key(
        self, whose: Whose, key: UUID, *, before: UUID, count_max: int
    ) -> Sequence[LoggedRequest]:
        """Return the newest of a key, newest first."""
        ...

    async def older(self, whose: Whose, *, before: UUID, count_max: int) -> Sequence[LoggedRequest]:
        """Return what came before a request, newest first."""
        ...

    async def newer(self, whose: Whose, *, after: UUID, count_max: int) -> Sequence[LoggedRequest]:
        """Return what came after a request, oldest first."""
        ...


class PostgresRequestLog:
    """See ``RequestLogStore``; on one shard."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def close(self) -> None:
        """Close its sessions. Nothing may be running any more."""
        await self._pool.close()

    async def turn(self, *, keep_s: int, bytes_max: int) -> int:
        """See ``RequestLogStore``."""

        async def asked(session: Session) -> int:
            await session.execute(_SQL["begin_unconfirmed"])
            row = await session.fetchrow(_SQL["slot"], keep_s, bytes_max)
            await session.execute("COMMIT")
            return 0 if row is None else int(row["slot"])

        return await self._pool.run(asked)

    async def write(self, slot: int, rows: Sequence[LoggedRequest]) -> None:
        """See ``RequestLogStore``."""

        async def copied(session: Session) -> None:
            await session.execute(_SQL["begin_unconfirmed"])
            await session.copy(
                _TABLE,
                ((slot, *row[:2], int(row.mode), *row[3:-1], seal(row.bodies)) for row in rows),
            )
            await session.execute("COMMIT")

        await self._pool.run(copied)

    async def one(self, whose: Whose, request_no: UUID) -> LoggedRequest | None:
        """See ``RequestLogStore``."""
        rows = await self._pool.fetch(_SQL["of_request"], *whose, request_no, 1)
        return _logged(whose, rows[0]) if rows else None

    async def of_key(
        self, whose: Whose, key: UUID, *, before: UUID, count_max: int
    ) -> Sequence[LoggedRequest]:
        """See ``RequestLogStore``."""
        rows = await self._pool.fetch(_SQL["of_key"], *whose, key, before, count_max)
        return [_logged(whose, row) for row in rows]

    async def older(self, whose: Whose, *, before: UUID, count_max: int) -> Sequence[LoggedRequest]:
        """See ``RequestLogStore``."""
        rows = await self._pool.fetch(_SQL["older"], *whose, before, count_max)
        return [_logged(whose, row) for row in rows]

    async def newer(self, whose: Whose, *, after: UUID, count_max: int) -> Sequence[LoggedRequest]:
        """See ``RequestLogStore``."""
        rows = await self._pool.fetch(_SQL["newer"], *whose, after, count_max)
        return [_logged(whose, row) for row in rows]


class PostgresRequestHeads:
    """What operators may see of it, by the role that only reads."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def newest(
        self, *, after: UUID, merchant_id: str | None, count_max: int
    ) -> Sequence[RequestHead]:
        """Return the newest after a request, newest first. Raises StorageUnavailable."""
        since = request_time(after)
        if merchant_id is None:
            rows = await self._pool.fetch(_SQL["newest_of_all"], since, after, count_max)
        else:
            rows = await self._pool.fetch(
                _SQL["newest_of_merchant"], since, after, count_max, merchant_id
            )
        return [RequestHead(**{**dict(row), "mode": Mode(row["mode"])}) for row in rows]


def _logged(whose: Whose, row: asyncpg.Record) -> LoggedRequest:
    members = dict(row)
    bodies = open_sealed(members.pop("bodies"))
    return LoggedRequest(merchant_no=whose.merchant_no, mode=whose.mode, bodies=bodies, **members)
