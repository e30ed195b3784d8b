"""The queue's two ports in memory, on one FakeQueueServer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from payments.defects import InvariantViolation
from runtime.faults import StorageUnavailable
from storage.queue import APPEND_ENTRIES_MAX, REMOVAL_AGE_S_MAX
from storage.queue_messages import key_record, message_of, raw_message
from storage.queue_ports import (
    NOBODY,
    AppendBatch,
    AppendResult,
    AppendStatus,
    ConnectionReplaced,
    KeyRecord,
    Message,
    QueueEntry,
)
from tests.fakes.fake_queue_server import (
    FakeConnection,
    FakeCopy,
    FakeQueueServer,
    FakeRecord,
    StreamId,
    id_text,
    parsed_id,
)

__all__ = ["FakeGatewayQueue", "FakeOwnerQueue", "FakeQueueServer"]


class FakeGatewayQueue:
    """``storage.queue_ports.GatewayQueue`` in memory."""

    def __init__(self, server: FakeQueueServer) -> None:
        self._server = server
        self._connection = FakeConnection(server)

    async def append(self, entries: Sequence[QueueEntry]) -> AppendBatch:
        if not 1 <= len(entries) <= APPEND_ENTRIES_MAX:
            raise InvariantViolation(f"{len(entries)} entries are not 1..{APPEND_ENTRIES_MAX}")
        generation = self._connection.generation()
        return AppendBatch(
            results=[append_entry(self._server, entry) for entry in entries],
            generation=generation,
        )

    async def wait_durable(self, batch: AppendBatch, *, timeout_ms: int) -> bool:
        self._server.require_reachable()
        if not self._connection.has(batch.generation):
            raise ConnectionReplaced(f"the connection of generation {batch.generation} is gone")
        return await self._is_durable(timeout_ms)

    async def find(
        self, partition_index: int, order_uuid: UUID, *, timeout_ms: int
    ) -> KeyRecord | None:
        self._connection.generation()
        record = find_record(self._server, partition_index, order_uuid)
        if record is None:
            return None
        if not await self._is_durable(timeout_ms):
            raise StorageUnavailable("redis", "the record is not on the replicas in time")
        return record

    async def close(self) -> None:
        self._connection.drop()

    async def _is_durable(self, timeout_ms: int) -> bool:
        if not self._server.is_replica_in_step:
            self._server.replicated.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._server.replicated.wait(), timeout_ms / 1000)
        return self._server.is_replica_in_step


class FakeOwnerQueue:
    """``storage.queue_ports.OwnerQueue`` in memory."""

    def __init__(self, server: FakeQueueServer) -> None:
        self._server = server
        self._connection = FakeConnection(server)
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
        messages = self._read_now(count_max)
        if not messages and wait_ms_max > 0:
            self._server.appended.clear()
            try:
                await asyncio.wait_for(self._server.appended.wait(), wait_ms_max / 1000)
            except TimeoutError:
                return []
            messages = self._read_now(count_max)
        return messages

    async def read_raw(
        self, partition_index: int, *, after: str, count_max: int
    ) -> Sequence[Message]:
        generation = self._current_generation()
        stream = self._server.copy.streams[partition_index]
        found = sorted(stream_id for stream_id in stream if stream_id > parsed_id(after))
        return [
            raw_message(
                stream[stream_id],
                partition_index=partition_index,
                stream_id=id_text(stream_id),
                generation=generation,
                read_at_s=self._server.clock.monotonic_s(),
            )
            for stream_id in found[:count_max]
        ]

    async def waiting(self, partition_indexes: frozenset[int]) -> frozenset[int]:
        self._current_generation()
        return frozenset(index for index in partition_indexes if self._server.copy.streams[index])

    async def remove(self, messages: Sequence[Message]) -> int:
        generation = self._current_generation()
        oldest_s = self._server.clock.monotonic_s() - REMOVAL_AGE_S_MAX
        removed_count = 0
        for message in messages:
            if message.generation != generation:
                continue
            if message.read_at_s < oldest_s:
                self.reread(frozenset({message.partition_index}))
                continue
            removed_count += remove_message(self._server, message)
        return removed_count

    async def publish(self, reply_to: str, payload: bytes) -> None:
        self._current_generation()
        self._server.published.append((reply_to, payload))
        if (subscriber := self._server.subscribers.get(reply_to)) is not None:
            subscriber(payload)

    async def close(self) -> None:
        self._connection.drop()

    def _current_generation(self) -> int:
        generation = self._connection.generation()
        if generation != self._generation:
            self._generation = generation
            self._cursors = dict.fromkeys(self._cursors, (0, 0))
        return generation

    def _read_now(self, count_max: int) -> list[Message]:
        """Take from each partition in turn until there are enough."""
        generation = self._current_generation()
        now_s = self._server.clock.monotonic_s()
        indexes = [index for index in self._cursors if index not in self._resting]
        if not indexes:
            return []
        self._rotation = (self._rotation + 1) % len(indexes)
        turns = indexes[self._rotation :] + indexes[: self._rotation]
        found = next_messages(self._server.copy, self._cursors, turns, count_max)
        return [
            message_of(
                raw,
                partition_index=index,
                stream_id=id_text(stream_id),
                generation=generation,
                read_at_s=now_s,
            )
            for index, stream_id, raw in found
        ]


def append_entry(server: FakeQueueServer, entry: QueueEntry) -> AppendResult:
    """Do for one entry what append.lua does."""
    index, copy = entry.partition_index, server.copy
    known = copy.records.get((index, entry.order_uuid))
    if known is not None:
        touch(server, index, entry.order_uuid)
        return AppendResult(
            status=AppendStatus.DUPLICATE,
            fingerprint=known.fingerprint,
            accepted_at_ms=known.accepted_at_ms,
            stream_id=id_text(known.stream_id),
            is_removed=known.expires_at_s is not None,
        )
    stream_id = server.next_id(index)
    # Redis counts keys: the streams are keys too, also when they are empty.
    record_count = len(copy.records) + len(copy.last_ids)
    is_full = (
        len(copy.streams[index]) >= server.stream_length_max
        or record_count >= server.record_count_max
    )
    if not is_full:
        server.write(lambda copy: _add(copy, entry, stream_id))
        server.appended.set()
    return AppendResult(
        status=AppendStatus.FULL if is_full else AppendStatus.NEW,
        fingerprint=entry.fingerprint,
        accepted_at_ms=entry.accepted_at_ms,
        stream_id="" if is_full else id_text(stream_id),
    )


def touch(server: FakeQueueServer, partition_index: int, order_uuid: UUID) -> None:
    """Write to a key record without changing what it says: WAIT speaks of writes alone."""

    def change(copy: FakeCopy) -> None:
        copy.records[partition_index, order_uuid].touch_count += 1

    server.write(change)


def find_record(
    server: FakeQueueServer, partition_index: int, order_uuid: UUID
) -> KeyRecord | None:
    """Do what find.lua does: return the record, touched, with its message while there is one."""
    record = server.copy.records.get((partition_index, order_uuid))
    if record is None:
        return None
    raw = server.copy.streams[partition_index].get(record.stream_id)
    touch(server, partition_index, order_uuid)
    return key_record(record.fingerprint, record.accepted_at_ms, raw)


def next_messages(
    copy: FakeCopy, cursors: dict[int, StreamId], turns: Sequence[int], count_max: int
) -> list[tuple[int, StreamId, tuple[bytes, ...]]]:
    """Take from each stream in turn until there are enough; the cursors move on."""
    waiting = {
        index: sorted(i for i in copy.streams[index] if i > cursors[index]) for index in turns
    }
    found: list[tuple[int, StreamId, tuple[bytes, ...]]] = []
    while any(waiting.values()) and len(found) < count_max:
        for index, stream_ids in waiting.items():
            if stream_ids and len(found) < count_max:
                stream_id = cursors[index] = stream_ids.pop(0)
                found.append((index, stream_id, copy.streams[index][stream_id]))
    return found


def remove_message(server: FakeQueueServer, message: Message) -> bool:
    """Delete one message and let its record expire. Returns whether it was there."""
    stream_id, index = parsed_id(message.stream_id), message.partition_index
    was_there = stream_id in server.copy.streams[index]
    expires_at_s = server.clock.monotonic_s() + server.record_ttl_s

    def change(copy: FakeCopy) -> None:
        copy.streams[index].pop(stream_id, None)
        if message.order_uuid is not None and (index, message.order_uuid) in copy.records:
            copy.records[index, message.order_uuid].expires_at_s = expires_at_s

    server.write(change)
    return was_there


def _add(copy: FakeCopy, entry: QueueEntry, stream_id: StreamId) -> None:
    copy.streams[entry.partition_index][stream_id] = entry.fields
    copy.last_ids[entry.partition_index] = stream_id
    copy.records[entry.partition_index, entry.order_uuid] = FakeRecord(
        fingerprint=entry.fingerprint,
        accepted_at_ms=entry.accepted_at_ms,
        stream_id=stream_id,
    )
