"""How far the queue's readers and replicas are behind: one exchange with each primary."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runtime.faults import StorageUnavailable
from storage.queue_keys import stream_key
from storage.queue_primaries import REPLICATION, QueuePrimaries
from storage.queue_sessions import STORE, Reply
from storage.queue_settings import QueueSettings

_REPLICA = re.compile(
    rb"slave[0-9]+:ip=([^,]+),port=([0-9]+),state=online,offset=([0-9]+),lag=([0-9]+)"
)
_OFFSET = re.compile(rb"master_repl_offset:([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatus:
    """One partition's stream."""

    message_count: int
    """Not read, read and not taken in, or taken in and not removed yet."""
    oldest_age_s: float
    """By the server's clock; 0 when it is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStatus:
    """A replica that is connected now."""

    address: str
    lag_bytes: int
    """Of the replication stream, not yet acknowledged."""
    silent_s: int
    """Whole seconds since it last acknowledged; it does so each second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """One look at the primary."""

    streams: Mapping[int, StreamStatus]
    replicas: Sequence[ReplicaStatus]


class QueueStatusReader:
    """Looks at the streams of partitions and at the replicas."""

    def __init__(self, settings: QueueSettings) -> None:
        self._primaries = QueuePrimaries(settings)

    async def read(self, partition_indexes: Sequence[int]) -> QueueStatus:
        """Return what the primaries of these say now. Raises StorageUnavailable."""
        of_stream = [
            (
                (b"XLEN", stream_key(index)),
                (b"XRANGE", stream_key(index), b"-", b"+", b"COUNT", 1),
            )
            for index in partition_indexes
        ]
        found = await self._primaries.ask_of(
            partition_indexes, (b"TIME",), REPLICATION, each=of_stream
        )
        streams: dict[int, StreamStatus] = {}
        replicas: list[ReplicaStatus] = []
        for indexes, ((seconds, microseconds), info, *of_streams) in found:
            now_s = int(seconds) + int(microseconds) / 1e6
            pairs = zip(of_streams[::2], of_streams[1::2], strict=True)
            for index, (length, first) in zip(indexes, pairs, strict=True):
                streams[index] = _stream(length, first, now_s)
            replicas += replicas_of(bytes(info))
        return QueueStatus(streams=streams, replicas=replicas)

    async def close(self) -> None:
        """Close the connections."""
        await self._primaries.close()


def _stream(length: Reply, first: Reply, now_s: float) -> StreamStatus:
    if not first:
        return StreamStatus(message_count=int(length), oldest_age_s=0.0)
    stream_id: bytes = first[0][0]
    added_at_s = int(stream_id.partition(b"-")[0]) / 1_000
    # An id can lie ahead of the clock: after a step back the server goes on from its last one.
    return StreamStatus(message_count=int(length), oldest_age_s=max(0.0, now_s - added_at_s))


def replicas_of(info: bytes) -> Sequence[ReplicaStatus]:
    """Read ``INFO replication`` of a primary. Replicas that are not online are left out."""
    offset = _OFFSET.search(info)
    if offset is None:
        raise StorageUnavailable(STORE, "the server does not tell its replication offset")
    return [
        ReplicaStatus(
            address=f"{found[1].decode()}:{int(found[2])}",
            lag_bytes=max(0, int(offset[1]) - int(found[3])),
            silent_s=int(found[4]),
        )
        for found in _REPLICA.finditer(info)
    ]
