"""What the dispatcher reads and writes in Postgres.

Everything is written in one session, which holds an advisory lock for as long as it lives. So two dispatchers
at once are harmless: the second has no lock, and one that lost its session writes nothing more. What it sent
meanwhile is sent again by its successor, under the same ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

import asyncpg

from payments.feed import FeedPosition
from payments.mode import Mode
from runtime.faults import StorageUnavailable
from storage.connections import Connector, is_server_marked
from storage.dispatch_ports import DispatchEndpoint, DispatchRecord, DueDelivery
from storage.event_feed import FEED_SETTINGS
from storage.sealing import open_sealed
from storage.sessions import STORE, Session, postgres_faults
from storage.sql_files import load_statements
from storage.webhook_ports import EndpointStatus

# A lost tail of the log costs a second delivery of what it told, which receivers must bear anyway. So nobody
# waits for the standby: the payments' own commits have it for themselves.
_SETTINGS: Mapping[str, str] = {**FEED_SETTINGS, "synchronous_commit": "off"}

_SQL = load_statements("dispatching.sql")


class PostgresDispatchStore:
    """DispatchStore of one shard."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._session: Session | None = None
        self._turn = asyncio.Lock()

    async def take_lead(self, name: str, metrics_address: str | None) -> bool:
        """See ``DispatchStore``."""
        with postgres_faults():
            session = await self._opened()
            (row,) = await self._fetch_on(session, "take_lead")
            if row["is_lead"]:
                await self._fetch_on(session, "note_lead", name, metrics_address)
            return bool(row["is_lead"])

    async def last_beat(self) -> int | None:
        """See ``DispatchStore``."""
        rows = await self._fetch("last_beat")
        return rows[0]["beat"] if rows else None

    async def end_silent(self, beat: int) -> None:
        """See ``DispatchStore``."""
        await self._fetch("end_silent", beat)

    async def beat(self, *, behind_s: float, held_up_s: float) -> None:
        """See ``DispatchStore``."""
        await self._fetch("beat", behind_s, held_up_s)

    async def endpoints(self) -> Sequence[DispatchEndpoint]:
        """See ``DispatchStore``. Raises EnvelopeUnreadable for a secret of a newer release."""
        return [
            DispatchEndpoint(
                endpoint_no=row["endpoint_no"],
                merchant_no=row["merchant_no"],
                mode=Mode(row["mode"]),
                url=row["url"],
                types=tuple(row["types"]),
                status=EndpointStatus(row["status"]),
                position=_position(row),
                failing_since=row["failing_since"],
                secrets=tuple(open_sealed(envelope) for envelope in row["secrets"]),
            )
            for row in await self._fetch("endpoints")
        ]

    async def recorded(
        self, endpoint_nos: Sequence[int], *, count_max: int
    ) -> Mapping[int, frozenset[FeedPosition]]:
        """See ``DispatchStore``."""
        found: dict[int, set[FeedPosition]] = {}
        for row in await self._fetch("recorded", endpoint_nos, count_max):
            found.setdefault(row["endpoint_no"], set()).add(_position(row))
        return {endpoint_no: frozenset(places) for endpoint_no, places in found.items()}

    async def waiting_counts(
        self, endpoint_nos: Sequence[int], *, count_max: int
    ) -> Mapping[int, int]:
        """See ``DispatchStore``."""
        rows = await self._fetch("waiting_counts", endpoint_nos, count_max)
        return {row["endpoint_no"]: row["waiting_count"] for row in rows}

    async def due(self, rooms: Mapping[int, int]) -> Sequence[DueDelivery]:
        """See ``DispatchStore``."""
        if not rooms:
            return []
        return [
            DueDelivery(
                endpoint_no=row["endpoint_no"],
                position=_position(row),
                type=row["type"],
                event_created_at=row["event_created_at"],
                round_try_count=row["round_try_count"],
            )
            for row in await self._fetch("due", list(rooms), list(rooms.values()))
        ]

    async def record(self, record: DispatchRecord) -> None:
        """See ``DispatchStore``."""
        tried, moved, stopped = record.tried, record.moved, record.stopped
        await self._fetch(
            "record",
            [one.endpoint_no for one in tried],
            *_place_columns([one.position for one in tried]),
            [one.type for one in tried],
            [one.event_created_at for one in tried],
            [one.state for one in tried],
            [one.round_try_count for one in tried],
            [one.delay_s for one in tried],
            [one.tried_at for one in tried],
            [one.http_status for one in tried],
            [one.error for one in tried],
            [one.duration_ms for one in tried],
            [one.endpoint_no for one in moved],
            *_place_columns([one.position for one in moved]),
            [one.is_failing for one in moved],
            [one.endpoint_no for one in stopped],
            [one.status for one in stopped],
            [one.reason for one in stopped],
        )

    async def prune(self, endpoint_no: int, *, before: datetime, count_max: int) -> int:
        """See ``DispatchStore``."""
        return len(await self._fetch("prune", endpoint_no, before, count_max))

    async def close(self) -> None:
        """End the session, and with it the lead."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _opened(self) -> Session:
        """Return the session, a new one where the one before has ended: nobody may write in that one."""
        if self._session is not None and self._session.is_open:
            return self._session
        self._session = None
        session = await self._connector.open(_SETTINGS)
        try:
            is_marked = await session.finish(is_server_marked(session))
        except BaseException:
            session.abort()
            raise
        if not is_marked:
            await session.close()
            raise StorageUnavailable(STORE, "no owner has marked this server's start yet")
        self._session = session
        return session

    async def _fetch(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        session = self._session
        if session is None or not session.is_open:
            raise StorageUnavailable(STORE, "the dispatcher's session has ended")
        with postgres_faults():
            return await self._fetch_on(session, name, *arguments)

    async def _fetch_on(
        self, session: Session, name: str, *arguments: object
    ) -> list[asyncpg.Record]:
        async with self._turn:
            return await session.finish(session.fetch(_SQL[name], *arguments))


def _position(row: asyncpg.Record) -> FeedPosition:
    return FeedPosition(
        row["db_transaction"], row["partition_index"], row["order_no"], row["sequence"]
    )


def _place_columns(places: Sequence[FeedPosition]) -> Sequence[Sequence[int]]:
    return [
        [place.db_transaction for place in places],
        [place.partition_index for place in places],
        [place.order_no for place in places],
        [place.sequence for place in places],
    ]
