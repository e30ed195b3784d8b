"""The queue as a gateway uses it: append, wait until it is durable, find."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

from payments.defects import InvariantViolation, caused_by
from runtime.faults import StorageUnavailable
from storage.queue_connection import QueueConnection
from storage.queue_discovery import Locate
from storage.queue_keys import record_key, stream_key
from storage.queue_messages import key_record
from storage.queue_ports import (
    AppendBatch,
    AppendResult,
    AppendStatus,
    ConnectionReplaced,
    KeyRecord,
    QueueEntry,
)
from storage.queue_sessions import STORE, Command, Reply
from storage.queue_settings import QueueSettings
from storage.redis_script import RedisScript

# The server serves nobody else while a script runs: about 10 us an entry, so a millisecond a call
# (measured on a shared virtual machine: 0.5 to 1.2 ms for 64 entries, 1.0 to 1.8 ms for 100).
APPEND_ENTRIES_MAX = 100

# WAITAOF asks the replicas once how far they have synced. One that gets a write and the question
# in one go answers before it has synced the write, and speaks up again only a second later
# (measured: every thirtieth lone append took that second). So WAIT goes first: when it returns, the
# write has arrived, and WAITAOF's question comes after the sync. Should it still come too early, it
# is asked again after this time.
WAITAOF_MS_MAX = 20

# What Enum's own call looks up, without the call.
_STATUSES: Mapping[int, AppendStatus] = {status.value: status for status in AppendStatus}


class RedisGatewayQueue:
    """One connection for appending (``storage.queue_ports.GatewayQueue``).

    Callers may race: they take turns. A caller that is cancelled in the middle of a reply costs the
    connection, and with it the batches whose ``wait_durable`` is still to come (ConnectionReplaced:
    append them again), so deadlines are passed as ``timeout_ms`` rather than enforced from outside.
    """

    def __init__(self, settings: QueueSettings, *, locate: Locate | None = None) -> None:
        self._settings = settings
        self._connection = QueueConnection(settings, locate)
        self._append_script = RedisScript.from_package("append")
        self._find_script = RedisScript.from_package("find")

    async def append(self, entries: Sequence[QueueEntry]) -> AppendBatch:
        """Run the append script once for all entries, whatever their partitions.

        Raises StorageUnavailable: the script may have run all the same; running it again is safe.
        """
        return await self.append_apart([entries])

    async def append_apart(self, groups: Sequence[Sequence[QueueEntry]]) -> AppendBatch:
        """Run the append script once for each group, in one exchange: a cluster wants a call a partition.

        The results are those of the groups, one group after the other. Raises as ``append``, and
        PartitionMoved where a server of a cluster does not serve a group's partition.
        """
        entry_count = sum(map(len, groups))
        if not 1 <= entry_count <= APPEND_ENTRIES_MAX or not all(groups):
            raise InvariantViolation(f"{entry_count} entries are not 1..{APPEND_ENTRIES_MAX}")
        calls = [(_append_keys(group), self._append_args(group)) for group in groups]
        async with self._connection.turn:
            session, replies = await self._connection.run_scripts(self._append_script, calls)
        results = [
            _append_result(entry, reply)
            for group, of_group in zip(groups, replies, strict=True)
            for entry, reply in zip(group, of_group, strict=True)
        ]
        return AppendBatch(results=results, generation=session.generation)

    async def wait_durable(self, batch: AppendBatch, *, timeout_ms: int) -> bool:
        """True once the replicas promised hold everything this connection wrote.

        False when the time was short: wait again, here. Raises ConnectionReplaced when the batch's
        connection is gone, StorageUnavailable on other failures.
        """
        deadline_s = _now_s() + timeout_ms / 1000
        async with self._connection.turn:
            return await self._wait(batch.generation, deadline_s)

    async def find(
        self, partition_index: int, order_uuid: UUID, *, timeout_ms: int
    ) -> KeyRecord | None:
        """Return the key record, touched and durable, or None when there is none.

        Raises StorageUnavailable when it can't be read or is not durable within the time.
        """
        deadline_s = _now_s() + timeout_ms / 1000
        keys = (stream_key(partition_index), record_key(partition_index, order_uuid))
        async with self._connection.turn:
            session, reply = await self._connection.run_script(self._find_script, keys, ())
            if reply is None:
                return None
            try:
                is_durable = await self._wait(session.generation, deadline_s)
            except ConnectionReplaced as replaced:
                raise caused_by(StorageUnavailable(STORE, str(replaced)), replaced)
        if not is_durable:
            raise StorageUnavailable(STORE, "the record is not on the replicas in time")
        fingerprint, accepted_at_ms, _, raw = reply
        return key_record(fingerprint, int(accepted_at_ms), raw)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    def _append_args(self, entries: Sequence[QueueEntry]) -> list[bytes]:
        """Return bytes alone, numbers too: so many are packed sooner then (``storage.queue_sessions``)."""
        args = [
            b"%d" % self._settings.stream_length_max,
            b"%d" % self._settings.record_count_max,
        ]
        for entry in entries:
            fields = entry.fields
            args += (entry.fingerprint, b"%d" % entry.accepted_at_ms, b"%d" % len(fields), *fields)
        return args

    async def _wait(self, generation: int, deadline_s: float) -> bool:
        """Wait on the connection of that generation alone, and check the counts."""
        session = self._connection.expect(generation)
        while True:
            awaited = self._settings.replicas_awaited_now
            # To the server, 0 means for ever.
            wait_ms = max(1, round((deadline_s - _now_s()) * 1000))
            commands: list[Command] = [("WAIT", awaited, wait_ms)]
            if session.has_waitaof:
                commands.append(("WAITAOF", 1, awaited, min(wait_ms, WAITAOF_MS_MAX)))
            replies = await self._connection.exchange(
                commands, generation=generation, wait_s=(wait_ms + WAITAOF_MS_MAX) / 1000
            )
            if _is_durable(replies, awaited):
                return True
            if _now_s() >= deadline_s:
                return False


def _is_durable(replies: Sequence[Reply], awaited: int) -> bool:
    """Whether the replies, to WAIT and perhaps WAITAOF, tell of enough copies."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise StorageUnavailable(STORE, str(reply))
    if len(replies) == 1:
        return bool(replies[0] >= awaited)
    local_count, replica_count = replies[-1]
    return bool(local_count >= 1 and replica_count >= awaited)


def _append_keys(entries: Sequence[QueueEntry]) -> list[bytes]:
    keys: list[bytes] = []
    for entry in entries:
        keys.append(stream_key(entry.partition_index))
        keys.append(record_key(entry.partition_index, entry.order_uuid))
    return keys


def _append_result(entry: QueueEntry, reply: Reply) -> AppendResult:
    status = _STATUSES[reply[0]]
    if status is AppendStatus.DUPLICATE:
        _, fingerprint, accepted_at_ms, stream_id, lapses_in_s = reply
        if fingerprint is None or accepted_at_ms is None or stream_id is None:
            raise StorageUnavailable(STORE, "a key record lacks a field")
        return AppendResult(
            status=status,
            fingerprint=fingerprint,
            accepted_at_ms=int(accepted_at_ms),
            stream_id=stream_id.decode(),
            is_removed=lapses_in_s >= 0,
        )
    return AppendResult(
        status=status,
        fingerprint=entry.fingerprint,
        accepted_at_ms=entry.accepted_at_ms,
        stream_id=reply[1].decode() if status is AppendStatus.NEW else "",
    )


def _now_s() -> float:
    return asyncio.get_running_loop().time()
