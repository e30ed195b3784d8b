"""The request log: what merchants asked and were answered, for some days; redacted before it comes here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from operator import attrgetter
from typing import Protocol
from uuid import UUID

import asyncpg

from payments.mode import Mode
from storage.read_pool import ReadPool
from storage.request_blocks import (
    BLOCK_SPAN_MS,
    RequestBlock,
    blocks_of,
    key_print,
    requests_of,
)
from storage.request_rows import LAST_OF_ALL, LoggedRequest, RequestHead, Whose
from storage.sessions import Session
from storage.sql_files import load_statements

_SQL = load_statements("request_log.sql")
_TABLE = "request_log"

# How many blocks are read at once: a page's worth where they are full, many pages' where each holds one request.
PAGE_BLOCKS = 32
# Blocks that may hold one request: each gateway has written a few within the span of one.
AROUND_BLOCKS_MAX = 500
# Of operators' looks: each holds a request at least, and at a high rate a hundred.
HEAD_BLOCKS_MAX = 1_000

_number = attrgetter("request_no")


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
        blocks: list[RequestBlock] = []
        for block in blocks_of(rows):
            blocks.append(block)
            await asyncio.sleep(0)

        async def copied(session: Session) -> None:
            await session.execute(_SQL["begin_unconfirmed"])
            await session.copy(_TABLE, ((slot, *block) for block in blocks))
            await session.execute("COMMIT")

        await self._pool.run(copied)

    async def one(self, whose: Whose, request_no: UUID) -> LoggedRequest | None:
        """See ``RequestLogStore``."""
        until = _later(request_no)
        blocks = await self._pool.fetch(
            _SQL["around"], *whose, request_no, until, AROUND_BLOCKS_MAX
        )
        for block in blocks:
            for found in _opened(whose, block):
                if found.request_no == request_no:
                    return found
        return None

    async def of_key(
        self, whose: Whose, key: UUID, *, before: UUID, count_max: int
    ) -> Sequence[LoggedRequest]:
        """See ``RequestLogStore``."""
        return await self._older(whose, before, count_max, key)

    async def older(self, whose: Whose, *, before: UUID, count_max: int) -> Sequence[LoggedRequest]:
        """See ``RequestLogStore``."""
        return await self._older(whose, before, count_max, None)

    async def _older(
        self, whose: Whose, before: UUID, count_max: int, key: UUID | None
    ) -> Sequence[LoggedRequest]:
        sought = None if key is None else key_print(key)
        # No block that ends after this begins before the edge.
        edge = _later(before)
        found: list[LoggedRequest] = []
        while True:
            blocks = await self._pool.fetch(
                _SQL["older"], *whose, edge, before, sought, PAGE_BLOCKS
            )
            for block in blocks:
                found += [
                    row
                    for row in _opened(whose, block)
                    if row.request_no < before and (key is None or row.idempotency_key == key)
                ]
            found = sorted(found, key=_number, reverse=True)[:count_max]
            if len(blocks) < PAGE_BLOCKS:
                return found
            edge = blocks[-1]["last_no"]
            # What is not read yet ends before the last block that was.
            if len(found) == count_max and found[-1].request_no >= edge:
                return found

    async def newer(self, whose: Whose, *, after: UUID, count_max: int) -> Sequence[LoggedRequest]:
        """See ``RequestLogStore``."""
        edge = after
        found: list[LoggedRequest] = []
        while True:
            blocks = await self._pool.fetch(_SQL["newer"], *whose, edge, PAGE_BLOCKS)
            for block in blocks:
                found += [row for row in _opened(whose, block) if row.request_no > after]
            found = sorted(found, key=_number)[:count_max]
            if len(blocks) < PAGE_BLOCKS:
                return found
            edge = blocks[-1]["last_no"]
            # What is not read yet ends after that, and begins a span before it at the earliest.
            if len(found) == count_max and _later(found[-1].request_no) <= edge:
                return found


class PostgresRequestHeads:
    """What operators may see of it, by the role that only reads."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def newest(
        self, *, after: UUID, merchant_id: str | None, count_max: int
    ) -> Sequence[RequestHead]:
        """Return the newest after a request, newest first. Raises StorageUnavailable."""
        blocks_max = min(count_max, HEAD_BLOCKS_MAX)
        if merchant_id is None:
            blocks = await self._pool.fetch(_SQL["newest_of_all"], after, blocks_max)
        else:
            blocks = await self._pool.fetch(
                _SQL["newest_of_merchant"], after, blocks_max, merchant_id
            )
        heads = [
            RequestHead(merchant_id=block["merchant_id"], request=row)
            for block in blocks
            for row in requests_of(
                block["merchant_no"], Mode(block["mode"]), block["heads"], bodies=None
            )
            if row.request_no > after
        ]
        heads.sort(key=lambda head: head.request.request_no, reverse=True)
        return heads[:count_max]


def _opened(whose: Whose, block: asyncpg.Record) -> Sequence[LoggedRequest]:
    return requests_of(*whose, block["heads"], block["bodies"])


def _later(request_no: UUID) -> UUID:
    """Return the number of a request a block's span later, and a little."""
    return UUID(int=min(request_no.int + ((BLOCK_SPAN_MS + 1) << 80), LAST_OF_ALL.int))
