"""The queue as an owner uses it: read, remove what the books hold, publish.

The cursors live in memory alone. They start at 0-0 for partitions just taken over, on every new
connection, and when the primary's replication id changed: after a promotion to a copy that was
behind, new messages can get ids below those already read, and an id can come up twice. Reading
again is free, because the books know every order they took in.

Removal is the dangerous half: by a stale id it would delete an order that nobody has read. So a
message is removed only on the connection that it was read on, and only while it is fresh.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from payments.defects import InvariantViolation, caused_by
from runtime.clock import Clock
from runtime.faults import StorageUnavailable
from storage.queue_connection import (
    QueueConnection,
    Session,
    primary_replication_id,
    refuse_error,
)
from storage.queue_discovery import Locate
from storage.queue_keys import record_key, stream_key
from storage.queue_messages import message_of, raw_message
from storage.queue_ports import NOBODY, ConnectionReplaced, Message
from storage.queue_sessions import STORE, Command, Reply
from storage.queue_settings import QueueMode, QueueSettings

# Before every stream's first message.
CURSOR_START = b"0-0"
# Within this time after a promotion, old ids may still be taken for new ones.
REPLICATION_CHECK_INTERVAL_S = 1.0
# A host that was frozen since it read must not delete by what it then knew.
REMOVAL_AGE_S_MAX = 1.0
# Longer than a gateway holds a request's answer and a client's first retries take. After it, the
# books alone answer for the key.
KEY_RECORD_TTL_S = 900
# Each message costs the server two commands; this many stay under a millisecond.
REMOVAL_MESSAGES_MAX = 500


class RedisOwnerQueue:
    """One connection for reading and removing (``storage.queue_ports.OwnerQueue``).

    Reads, removals and publications take turns on the connection, so none gets through while a read
    waits: the host alternates them in one loop, with a ``wait_ms_max`` of at most 200 or so.
    """

    def __init__(
        self,
        settings: QueueSettings,
        *,
        clock: Clock,
        locate: Locate | None = None,
        generations: Iterator[int] | None = None,
    ) -> None:
        """``generations``: see QueueConnection."""
        self._connection = QueueConnection(settings, locate, generations=generations)
        # A cluster refuses commands that name streams of several partitions.
        self._is_apart = settings.mode is QueueMode.CLUSTER
        self._clock = clock
        self._cursors: dict[int, bytes] = {}
        self._resting: frozenset[int] = frozenset()
        self._generation = 0
        self._replication_checked_s = clock.monotonic_s()
        self._rotation = 0

    def own(self, partition_indexes: frozenset[int], resting: frozenset[int] = NOBODY) -> None:
        """See ``storage.queue_ports.OwnerQueue``."""
        self._cursors = {
            index: self._cursors.get(index, CURSOR_START) for index in sorted(partition_indexes)
        }
        self._resting = resting

    def reread(self, partition_indexes: frozenset[int]) -> None:
        """Start these again at 0-0, as far as they are owned."""
        for index in partition_indexes:
            if index in self._cursors:
                self._cursors[index] = CURSOR_START

    async def read(self, *, count_max: int, wait_ms_max: int) -> Sequence[Message]:
        """Return up to ``count_max`` next messages, shared fairly among the partitions.

        Waits up to ``wait_ms_max`` for the first; 0 does not wait. Raises StorageUnavailable.
        """
        if count_max < 1:
            raise InvariantViolation(f"count_max={count_max} reads nothing")
        if self._cursors.keys() <= self._resting:
            await asyncio.sleep(wait_ms_max / 1000)
            return []
        async with self._connection.turn:
            session = await self._current_session()
            messages, deep = await self._read_round(
                session, self._rotated(), count_max=count_max, wait_ms=wait_ms_max
            )
            # What the others left of their shares goes to those that filled theirs.
            while deep and len(messages) < count_max:
                more, deep = await self._read_round(
                    session, deep, count_max=count_max - len(messages), wait_ms=0
                )
                messages += more
        return messages

    async def read_raw(
        self, partition_index: int, *, after: str, count_max: int
    ) -> Sequence[Message]:
        """See ``storage.queue_ports.OwnerQueue``."""
        async with self._connection.turn:
            session = await self._current_session()
            read_at_s = self._clock.monotonic_s()
            command = (
                *(b"XRANGE", stream_key(partition_index), f"({after}", b"+"),
                *(b"COUNT", count_max),
            )
            (items,) = await self._exchange(session, (command,))
        return [
            raw_message(
                raw,
                partition_index=partition_index,
                stream_id=stream_id.decode(),
                generation=session.generation,
                read_at_s=read_at_s,
            )
            for stream_id, raw in items
        ]

    async def waiting(self, partition_indexes: frozenset[int]) -> frozenset[int]:
        """See ``storage.queue_ports.OwnerQueue``."""
        ordered = sorted(partition_indexes)
        async with self._connection.turn:
            session = await self._current_session()
            lengths = await self._exchange(
                session, [(b"XLEN", stream_key(index)) for index in ordered]
            )
        return frozenset(index for index, length in zip(ordered, lengths, strict=True) if length)

    async def remove(self, messages: Sequence[Message]) -> int:
        """Delete exactly these, whose intake is committed, and let their key records expire.

        Messages of an earlier connection, or read more than REMOVAL_AGE_S_MAX ago, are dropped:
        they will be read again. Returns how many were deleted. Raises StorageUnavailable: some may
        be gone already, and the rest will be read again.
        """
        removed_count = 0
        async with self._connection.turn:
            session = await self._current_session()
            for first in range(0, len(messages), REMOVAL_MESSAGES_MAX):
                chunk = messages[first : first + REMOVAL_MESSAGES_MAX]
                if fresh := self._fresh(chunk, session):
                    removed_count += await self._remove_fresh(fresh, session)
        return removed_count

    async def publish(self, reply_to: str, payload: bytes) -> None:
        """Send one reply message. Nobody listening is no fault. Raises StorageUnavailable."""
        async with self._connection.turn:
            session = await self._current_session()
            await self._exchange(session, ((b"PUBLISH", reply_to, payload),))

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def _current_session(self) -> Session:
        """Return a session whose server's history we know; read everything again in a new one."""
        session = await self._connection.open()
        now_s = self._clock.monotonic_s()
        is_known = session.generation == self._generation
        if is_known and now_s - self._replication_checked_s >= REPLICATION_CHECK_INTERVAL_S:
            self._replication_checked_s = now_s
            (info,) = await self._exchange(session, (("INFO", "replication"),))
            try:
                replication_id = primary_replication_id(info)
            except StorageUnavailable:
                # Made a replica on the same socket. The next session looks for the primary.
                self._connection.drop()
                raise
            if replication_id != session.replication_id:
                # Another history on the same socket. A new session makes stale what was read.
                self._connection.drop()
                session = await self._connection.open()
                is_known = False
        if not is_known:
            self._generation = session.generation
            self._replication_checked_s = now_s
            self._cursors = dict.fromkeys(self._cursors, CURSOR_START)
        return session

    def _rotated(self) -> list[int]:
        """Return the owned partitions that don't rest, beginning with another one each time."""
        indexes = [index for index in self._cursors if index not in self._resting]
        self._rotation = (self._rotation + 1) % len(indexes)
        return indexes[self._rotation :] + indexes[: self._rotation]

    async def _read_round(
        self, session: Session, partition_indexes: list[int], *, count_max: int, wait_ms: int
    ) -> tuple[list[Message], list[int]]:
        """Read each partition's share once; return also those that filled it and may hold more."""
        share = max(1, count_max // len(partition_indexes))
        indexes_by_stream = {stream_key(index): index for index in partition_indexes}
        block = (b"BLOCK", wait_ms) if wait_ms > 0 else ()
        head = (b"XREAD", b"COUNT", share, *block, b"STREAMS")
        cursors = [self._cursors[index] for index in partition_indexes]
        commands: list[Command] = [(*head, *indexes_by_stream, *cursors)]
        if self._is_apart:
            pairs = zip(indexes_by_stream, cursors, strict=True)
            commands = [(*head, stream, cursor) for stream, cursor in pairs]
        # The age of what is read counts from here: a host may be frozen while the reply waits.
        read_at_s = self._clock.monotonic_s()
        replies = await self._exchange(session, commands, wait_s=wait_ms / 1000)
        messages: list[Message] = []
        deep: list[int] = []
        for stream, items in chain.from_iterable(reply or () for reply in replies):
            index = indexes_by_stream[stream]
            # COUNT is per stream, so with many streams the last ones wait for the next read.
            taken = items[: count_max - len(messages)]
            if not taken:
                break
            messages += (
                message_of(
                    raw,
                    partition_index=index,
                    stream_id=stream_id.decode(),
                    generation=session.generation,
                    read_at_s=read_at_s,
                )
                for stream_id, raw in taken
            )
            self._cursors[index] = taken[-1][0]
            if len(taken) == share:
                deep.append(index)
        return messages, deep

    def _fresh(self, messages: Sequence[Message], session: Session) -> list[Message]:
        """Return those that may be removed, and have the stale ones read again."""
        oldest_s = self._clock.monotonic_s() - REMOVAL_AGE_S_MAX
        of_session = [m for m in messages if m.generation == session.generation]
        stale = frozenset(m.partition_index for m in of_session if m.read_at_s < oldest_s)
        self.reread(stale)
        return [m for m in of_session if m.read_at_s >= oldest_s]

    async def _remove_fresh(self, messages: Sequence[Message], session: Session) -> int:
        """Delete messages and let their records expire in one MULTI; return how many were there."""
        commands: list[Command] = []
        deletions: list[int] = []  # where they are, counted from each MULTI
        ends: list[int] = []
        for group in self._transactions(messages):
            ids_by_stream: dict[bytes, list[str]] = {}
            expiries: list[Command] = []
            for message in group:
                stream = stream_key(message.partition_index)
                ids_by_stream.setdefault(stream, []).append(message.stream_id)
                if message.order_uuid is not None:
                    record = record_key(message.partition_index, message.order_uuid)
                    expiries.append((b"EXPIRE", record, KEY_RECORD_TTL_S))
            commands.append((b"MULTI",))
            for stream, stream_ids in ids_by_stream.items():
                commands.append((b"XDEL", stream, *stream_ids))
            commands += expiries
            commands.append((b"EXEC",))
            deletions.append(len(ids_by_stream))
            ends.append(len(commands) - 1)
        replies = await self._exchange(session, commands)
        removed_count = 0
        for end, deletion_count in zip(ends, deletions, strict=True):
            for result in replies[end]:
                refuse_error(result)
            removed_count += sum(replies[end][:deletion_count])
        return removed_count

    def _transactions(self, messages: Sequence[Message]) -> Iterable[Sequence[Message]]:
        """Return what may share a MULTI: all of it, or on a cluster what is of one partition."""
        if not self._is_apart:
            return [messages]
        by_partition: dict[int, list[Message]] = {}
        for message in messages:
            by_partition.setdefault(message.partition_index, []).append(message)
        return by_partition.values()

    async def _exchange(
        self, session: Session, commands: Iterable[Command], *, wait_s: float = 0.0
    ) -> list[Reply]:
        """Exchange within the session. Every error is StorageUnavailable here."""
        try:
            replies = await self._connection.exchange(
                commands, generation=session.generation, wait_s=wait_s
            )
        except ConnectionReplaced as replaced:
            raise caused_by(StorageUnavailable(STORE, str(replaced)), replaced)
        for reply in replies:
            refuse_error(reply)
        return replies
