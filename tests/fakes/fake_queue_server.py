"""A primary and its replica in memory, with the faults that the real ones have.

Every write goes to the primary, and to the replica unless it is frozen. ``promote`` makes the
replica's copy the only one: what it did not have is lost, and its stream ids are given out again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from runtime.clock import Clock
from runtime.faults import StorageUnavailable
from storage.queue import KEY_RECORD_TTL_S

StreamId: TypeAlias = tuple[int, int]
"""Milliseconds and a sequence number, as in Redis."""


@dataclass(slots=True, kw_only=True)
class FakeRecord:
    """One key record."""

    fingerprint: bytes
    accepted_at_ms: int
    stream_id: StreamId
    touch_count: int = 0
    expires_at_s: float | None = None


@dataclass(slots=True, kw_only=True)
class FakeCopy:
    """What one server holds."""

    streams: dict[int, dict[StreamId, tuple[bytes, ...]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    last_ids: dict[int, StreamId] = field(default_factory=dict)
    records: dict[tuple[int, UUID], FakeRecord] = field(default_factory=dict)


class FakeQueueServer:
    """A primary and its replica; the connections of this process to them."""

    def __init__(
        self,
        clock: Clock,
        *,
        stream_length_max: int = 10_000,
        record_count_max: int = 1_000_000,
    ) -> None:
        self.clock = clock
        self.stream_length_max = stream_length_max
        self.record_count_max = record_count_max
        self.record_ttl_s: float = KEY_RECORD_TTL_S
        self.is_reachable = True
        self.is_replica_frozen = False
        self.published: list[tuple[str, bytes]] = []
        self.subscribers: dict[str, Callable[[bytes], None]] = {}
        self.era = 0
        """Raised when every connection is lost."""
        self.copy = FakeCopy()
        self._replica = FakeCopy()
        self._writes: list[Callable[[FakeCopy], None]] = []
        self._replicated_count = 0
        self.appended = asyncio.Event()
        self.replicated = asyncio.Event()

    @property
    def is_replica_in_step(self) -> bool:
        """Whether the replica holds every write of the primary."""
        return self._replicated_count == len(self._writes)

    def write(self, change: Callable[[FakeCopy], None]) -> None:
        """Apply a change to the primary, and to the replica as soon as it can."""
        change(self.copy)
        self._writes.append(change)
        self._replicate()

    def freeze_replica(self) -> None:
        """Stop the replica from taking writes and from confirming any."""
        self.is_replica_frozen = True

    def thaw_replica(self) -> None:
        """Let it catch up."""
        self.is_replica_frozen = False
        self._replicate()

    def drop_connections(self) -> None:
        """Break every connection; the next use of each makes a new one."""
        self.era += 1

    def promote(self) -> None:
        """Kill the primary and go on with the replica's copy, whatever it holds."""
        self.copy = self._replica
        self._replica = deepcopy(self.copy)
        self._writes.clear()
        self._replicated_count = 0
        self.is_replica_frozen = False
        self.drop_connections()

    def require_reachable(self) -> None:
        """Raise StorageUnavailable while the server is away."""
        if not self.is_reachable:
            raise StorageUnavailable("redis", "the fake server is away")

    def expire(self) -> None:
        """Forget records whose time has come."""
        now_s = self.clock.monotonic_s()
        for records in (self.copy.records, self._replica.records):
            over = [
                key
                for key, record in records.items()
                if record.expires_at_s is not None and record.expires_at_s <= now_s
            ]
            for key in over:
                del records[key]

    def next_id(self, partition_index: int) -> StreamId:
        """Return the id that the primary would give: its clock, or just above its last one."""
        now: StreamId = (int(self.clock.monotonic_s() * 1000), 0)
        last = self.copy.last_ids.get(partition_index, (0, 0))
        return now if now > last else (last[0], last[1] + 1)

    def _replicate(self) -> None:
        if not self.is_replica_frozen:
            for change in self._writes[self._replicated_count :]:
                change(self._replica)
            self._writes.clear()
            self._replicated_count = 0
            self.replicated.set()


class FakeConnection:
    """Knows whether it is still the same connection."""

    def __init__(self, server: FakeQueueServer) -> None:
        self.server = server
        self._generation = 0
        self._era = -1

    def generation(self) -> int:
        """Return the generation, connecting first where needed. Raises StorageUnavailable."""
        self.server.require_reachable()
        if self._era != self.server.era:
            self._era = self.server.era
            self._generation += 1
        self.server.expire()
        return self._generation

    def has(self, generation: int) -> bool:
        """Whether the connection of that generation is still there."""
        return self._era == self.server.era and self._generation == generation

    def drop(self) -> None:
        """Lose this connection alone."""
        self._era = -1


def id_text(stream_id: StreamId) -> str:
    return f"{stream_id[0]}-{stream_id[1]}"


def parsed_id(stream_id: str) -> StreamId:
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence)
