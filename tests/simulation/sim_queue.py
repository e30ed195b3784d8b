"""The queue's two ports on SimRedis: what the real adapters do on their connections, call by call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar
from uuid import UUID

from payments.defects import InvariantViolation
from runtime.clock import Clock
from runtime.faults import StorageUnavailable
from storage.queue import APPEND_ENTRIES_MAX, REMOVAL_AGE_S_MAX
from storage.queue_messages import message_of, raw_message
from storage.queue_ports import (
    NOBODY,
    AppendBatch,
    ConnectionReplaced,
    KeyRecord,
    Message,
    QueueEntry,
)
from tests.fakes.fake_queue_server import StreamId, id_text, parsed_id
from tests.simulation.net import Net, Wire, WireBroken
from tests.simulation.sim_redis import RedisSession, SimRedis

T = TypeVar("T")

# The real client's patience with a reply.
REPLY_TIMEOUT_S = 2.0


class SimRedisConnection:
    """One connection at a time, opened when needed; each has a generation of its own."""

    def __init__(self, redis: SimRedis, net: Net) -> None:
        self.redis = redis
        self.turn = asyncio.Lock()
        self._net = net
        self._session: RedisSession | None = None
        self._generation = 0

    async def open(self) -> RedisSession:
        """Return the session, connecting first where needed. Raises StorageUnavailable."""
        session = self._session
        if session is not None and session.wire.is_open:
            return session
        wire = Wire(self._net, self.redis.cell, "redis")
        try:
            await wire.call(lambda: None, timeout_s=REPLY_TIMEOUT_S)
        except WireBroken as broken:
            raise StorageUnavailable("redis", broken.reason) from None
        self._generation += 1
        self._session = RedisSession(wire, self._generation)
        return self._session

    def expect(self, generation: int) -> RedisSession:
        """Return the session of that generation. Raises ConnectionReplaced."""
        session = self._session
        if session is None or session.generation != generation or not session.wire.is_open:
            raise ConnectionReplaced(f"the connection of generation {generation} is gone")
        return session

    async def ask(
        self,
        session: RedisSession,
        handler: Callable[[], Coroutine[Any, Any, T]],
        *,
        wait_s: float = 0.0,
    ) -> T:
        """Run one command. Raises StorageUnavailable: it may have run all the same."""
        try:
            return await session.wire.call(handler, timeout_s=wait_s + REPLY_TIMEOUT_S)
        except WireBroken as broken:
            raise StorageUnavailable("redis", broken.reason) from None

    def drop(self, reason: str = "closed") -> None:
        if self._session is not None:
            self._session.wire.abort(reason)


class SimGatewayQueue:
    """``storage.queue_ports.GatewayQueue`` on SimRedis."""

    def __init__(self, redis: SimRedis, net: Net) -> None:
        self.connection = SimRedisConnection(redis, net)
        self._redis = redis

    async def append(self, entries: Sequence[QueueEntry]) -> AppendBatch:
        if not 1 <= len(entries) <= APPEND_ENTRIES_MAX:
            raise InvariantViolation(f"{len(entries)} entries are not 1..{APPEND_ENTRIES_MAX}")
        redis, sent = self._redis, tuple(entries)
        async with self.connection.turn:
            session = await self.connection.open()
            results = await self.connection.ask(
                session, lambda: redis.run_append(session, sent, is_source_sent=False)
            )
            if results is None:
                results = await self.connection.ask(
                    session, lambda: redis.run_append(session, sent, is_source_sent=True)
                )
        assert results is not None
        return AppendBatch(results=results, generation=session.generation)

    async def wait_durable(self, batch: AppendBatch, *, timeout_ms: int) -> bool:
        async with self.connection.turn:
            return await self._wait(batch.generation, timeout_ms / 1000)

    async def find(
        self, partition_index: int, order_uuid: UUID, *, timeout_ms: int
    ) -> KeyRecord | None:
        redis = self._redis
        async with self.connection.turn:
            session = await self.connection.open()
            record = await self.connection.ask(
                session, lambda: redis.run_find(session, partition_index, order_uuid)
            )
            if record is None:
                return None
            try:
                is_durable = await self._wait(session.generation, timeout_ms / 1000)
            except ConnectionReplaced as replaced:
                raise StorageUnavailable("redis", str(replaced)) from None
        if not is_durable:
            raise StorageUnavailable("redis", "the record is not on the replicas in time")
        return record

    async def close(self) -> None:
        self.connection.drop()

    async def _wait(self, generation: int, timeout_s: float) -> bool:
        session = self.connection.expect(generation)
        return await self.connection.ask(
            session, lambda: self._redis.run_wait(session, timeout_s), wait_s=timeout_s
        )


class SimOwnerQueue:
    """``storage.queue_ports.OwnerQueue`` on SimRedis."""

    def __init__(self, redis: SimRedis, net: Net, clock: Clock) -> None:
        self.connection = SimRedisConnection(redis, net)
        self._redis = redis
        self._clock = clock
        self._cursors: dict[int, StreamId] = {}
        self._resting: frozenset[int] = frozenset()
        self._generation = 0
        self._rotation = 0

    def own(self, partition_indexes: frozenset[int], resting: frozenset[int] = NOBODY) -> None:
        self._cursors = {i: self._cursors.get(i, (0, 0)) for i in sorted(partition_indexes)}
        self._resting = resting

    def reread(self, partition_indexes: frozenset[int]) -> None:
        self._cursors |= dict.fromkeys(partition_indexes & self._cursors.keys(), (0, 0))

    async def read(self, *, count_max: int, wait_ms_max: int) -> Sequence[Message]:
        if self._cursors.keys() <= self._resting:
            await asyncio.sleep(wait_ms_max / 1000)
            return []
        async with self.connection.turn:
            session = await self._current_session()
            indexes = [index for index in self._cursors if index not in self._resting]
            self._rotation = (self._rotation + 1) % len(indexes)
            turns = indexes[self._rotation :] + indexes[: self._rotation]
            cursors, wait_s = dict(self._cursors), wait_ms_max / 1000
            read_at_s = self._clock.monotonic_s()
            found = await self.connection.ask(
                session,
                lambda: self._redis.run_read(cursors, turns, count_max, wait_s),
                wait_s=wait_s,
            )
        for index, stream_id, _ in found:
            self._cursors[index] = stream_id
        return [
            message_of(
                raw,
                partition_index=index,
                stream_id=id_text(stream_id),
                generation=session.generation,
                read_at_s=read_at_s,
            )
            for index, stream_id, raw in found
        ]

    async def read_raw(
        self, partition_index: int, *, after: str, count_max: int
    ) -> Sequence[Message]:
        redis, start, read_at_s = self._redis, parsed_id(after), self._clock.monotonic_s()

        async def run() -> list[tuple[StreamId, tuple[bytes, ...]]]:
            stream = redis.copy.streams[partition_index]
            ids = sorted(stream_id for stream_id in stream if stream_id > start)
            return [(stream_id, stream[stream_id]) for stream_id in ids[:count_max]]

        async with self.connection.turn:
            session = await self._current_session()
            found = await self.connection.ask(session, run)
        return [
            raw_message(
                raw,
                partition_index=partition_index,
                stream_id=id_text(stream_id),
                generation=session.generation,
                read_at_s=read_at_s,
            )
            for stream_id, raw in found
        ]

    async def waiting(self, partition_indexes: frozenset[int]) -> frozenset[int]:
        async def run() -> frozenset[int]:
            return frozenset(i for i in partition_indexes if self._redis.copy.streams[i])

        async with self.connection.turn:
            session = await self._current_session()
            return await self.connection.ask(session, run)

    async def remove(self, messages: Sequence[Message]) -> int:
        if not messages:
            return 0
        async with self.connection.turn:
            session = await self._current_session()
            oldest_s = self._clock.monotonic_s() - REMOVAL_AGE_S_MAX
            of_session = [m for m in messages if m.generation == session.generation]
            self.reread(frozenset(m.partition_index for m in of_session if m.read_at_s < oldest_s))
            fresh = [m for m in of_session if m.read_at_s >= oldest_s]
            if not fresh:
                return 0
            return await self.connection.ask(session, lambda: self._redis.run_remove(fresh))

    async def publish(self, reply_to: str, payload: bytes) -> None:
        async def run() -> None:
            self._redis.run_publish(reply_to, payload)

        async with self.connection.turn:
            session = await self._current_session()
            await self.connection.ask(session, run)

    async def close(self) -> None:
        self.connection.drop()

    async def _current_session(self) -> RedisSession:
        session = await self.connection.open()
        if session.generation != self._generation:
            self._generation = session.generation
            self._cursors = dict.fromkeys(self._cursors, (0, 0))
        return session


class SimPrimaries:
    """``storage.queue_primaries.QueuePrimaries`` on SimRedis: the histories that primaries write."""

    def __init__(self, redis: SimRedis, net: Net) -> None:
        self._connection = SimRedisConnection(redis, net)
        self._redis = redis

    async def histories(self) -> frozenset[bytes]:
        """Return the primary's replication id. Raises StorageUnavailable."""

        async def run() -> bytes:
            return b"%d" % self._redis.incarnation

        async with self._connection.turn:
            session = await self._connection.open()
            return frozenset({await self._connection.ask(session, run)})
