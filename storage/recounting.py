"""The books as plain rows, read in one transaction on the primary, for a checker that joins them.

Knows sessions and statements only; what rows mean, and what must hold of them, is told where they
are joined (loadtest/checker/).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import asyncpg

from runtime.config import Config
from runtime.faults import Fault, StorageUnavailable
from storage.connections import Connector, is_server_marked
from storage.sessions import Session, StatementUnanswered
from storage.sql_files import load_statements

_SQL = load_statements("recount.sql")

# A million orders take some ten seconds a table; what takes longer than this met a frozen server.
STATEMENT_S_MAX = 300

_SETTINGS = {"statement_timeout": f"{STATEMENT_S_MAX}s", "work_mem": "64MB"}

BooksRow = tuple[object, ...]
"""One row, columns in the order of its statement in recount.sql."""


class BooksUnread(Fault):
    """The books can't be read: nothing is known about them."""


class BooksReader:
    """One session that reads whole tables. Every method raises BooksUnread.

    Reads as the gateways' role, because dead letters are hidden from the reader's; never writes.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    @classmethod
    async def open(
        cls, config: Config, *, answer_timeout_s: float = STATEMENT_S_MAX
    ) -> BooksReader:
        """Connect to the deployment's one shard, once its server may be read.

        ``answer_timeout_s`` is how long a statement may take before its server counts as frozen.
        """
        shards = config.postgres.shards
        if len(shards) != 1:
            raise BooksUnread(f"{len(shards)} shards: only the books of one can be read so far")
        connector = Connector(
            config.postgres_dsn(shards[0], "gateway"),
            application_name="tally recount",
            answer_timeout_s=answer_timeout_s,
        )
        try:
            session = await connector.open(_SETTINGS)
        except StorageUnavailable as unavailable:
            raise BooksUnread(str(unavailable)) from unavailable
        reader = cls(session)
        if not await reader._is_marked():
            session.abort()
            raise BooksUnread("no owner has marked this server's start yet")
        return reader

    async def moment(self, *tables: str) -> dict[str, list[BooksRow]]:
        """Return the rows of some statements of recount.sql, all of one moment."""
        try:
            await self._session.execute(_SQL["begin"])
            rows = {table: await self._rows(table) for table in tables}
            await self._session.execute("ROLLBACK")
        except _FAULTS as fault:
            self._session.abort()
            raise BooksUnread(f"Postgres: {type(fault).__name__}: {fault}") from fault
        except BaseException:
            # Cut off in the middle: without a word to the server, as everywhere.
            self._session.abort()
            raise
        return rows

    async def parked_orders(self) -> list[BooksRow]:
        """Return (partition_index, order_no, reason) of orders that wait for a person."""
        if not (await self.moment("has_parked_orders"))["has_parked_orders"][0][0]:
            return []
        return (await self.moment("parked_orders"))["parked_orders"]

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()

    async def _is_marked(self) -> bool:
        try:
            return await is_server_marked(self._session)
        except _FAULTS as fault:
            self._session.abort()
            raise BooksUnread(f"Postgres: {type(fault).__name__}: {fault}") from fault

    async def _rows(self, table: str) -> list[BooksRow]:
        rows: Sequence[asyncpg.Record] = await self._session.fetch(_SQL[table])
        return [tuple(map(_plain, row.values())) for row in rows]


_FAULTS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    StatementUnanswered,
    StorageUnavailable,
    OSError,
)


def _plain(value: object) -> object:
    """Sums are ``numeric`` in the books, and whole numbers."""
    return int(value) if isinstance(value, Decimal) else value
