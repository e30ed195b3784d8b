"""A bounded pool of sessions for the read side and the directory of one shard.

A session is used only on a server whose start is marked (storage.connections): before that, it
could show commits that are lost a moment later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

import asyncpg

from runtime.faults import StorageUnavailable
from storage.connections import PLANNED_ONCE, Connector, is_server_marked
from storage.sessions import STORE, Session, postgres_faults

T = TypeVar("T")

# How long a request waits for a free session. As long as a statement may take: by then whoever
# holds one has been answered or has given up.
FREE_SESSION_WAIT_S = 5.0


class ReadPool:
    """At most ``session_count_max`` sessions, opened when needed. For one event loop.

    ``settings`` are set in each: how its statements are planned.
    """

    def __init__(
        self,
        connector: Connector,
        *,
        session_count_max: int,
        settings: Mapping[str, str] = PLANNED_ONCE,
    ) -> None:
        self._connector = connector
        self._settings = settings
        self._free = asyncio.Semaphore(session_count_max)
        # The last one back is the first one out: its server-side caches are warm.
        self._idle: list[Session] = []

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Run one statement and return its rows. Raises StorageUnavailable."""
        return await self.run(lambda session: session.fetch(sql, *arguments))

    async def fetchrow(self, sql: str, *arguments: object) -> asyncpg.Record | None:
        """Run one statement and return its first row, or None. Raises StorageUnavailable."""
        return await self.run(lambda session: session.fetchrow(sql, *arguments))

    async def write(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Run one statement that changes rows; return once a standby holds the change too.

        Raises StorageUnavailable; then the change may have been made nevertheless.
        """

        async def confirmed(session: Session) -> list[asyncpg.Record]:
            session.take_warnings()
            rows = await session.fetch(sql, *arguments)
            if warnings := session.take_warnings():
                raise StorageUnavailable(STORE, f"the write was not confirmed: {warnings[0]}")
            return rows

        return await self.run(confirmed)

    async def run(self, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        """Do work on a session of its own. Work that raises, or is canceled, costs the session.

        So work needs no rollback; what is an everyday answer it should return, not raise.
        """
        try:
            async with asyncio.timeout(FREE_SESSION_WAIT_S):
                await self._free.acquire()
        except TimeoutError:
            raise StorageUnavailable(STORE, "all sessions are in use") from None
        try:
            with postgres_faults():
                return await self._run_on_session(work)
        finally:
            self._free.release()

    async def close(self) -> None:
        """Close what is idle. Nothing may be running any more."""
        while self._idle:
            await self._idle.pop().close()

    async def _run_on_session(self, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        session = self._take_idle() or await self._open()
        try:
            result = await session.finish(work(session))
        except BaseException:
            session.abort()
            raise
        self._idle.append(session)
        return result

    def _take_idle(self) -> Session | None:
        while self._idle:
            session = self._idle.pop()
            if session.is_open:
                return session
        return None

    async def _open(self) -> Session:
        session = await self._connector.open(self._settings)
        try:
            is_marked = await session.finish(is_server_marked(session))
        except BaseException:
            session.abort()
            raise
        if not is_marked:
            await session.close()
            raise StorageUnavailable(STORE, "no owner has marked this server's start yet")
        return session
