"""The host's reader: one connection that reads its partitions' streams and removes what was taken in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Protocol

import structlog

from actors.inbox import size_bytes
from actors.settings import (
    INBOX_MESSAGES_MAX,
    READ_AHEAD_S_MAX,
    READ_BYTES_MAX,
    READ_COUNT_MAX,
    READ_CROWDED_COUNT,
    READ_SPACING_S,
    READ_WAIT_MS_MAX,
    REMOVAL_EVERY_S,
    STORE_RETRY_S,
)
from runtime.clock import Clock
from runtime.crash_points import CrashPoints
from storage.ports import StorageUnavailable
from storage.queue_ports import Message, OwnerQueue

_log = structlog.get_logger(__name__)

# While the inbox is full nothing is read; a flush takes a few milliseconds to make room. When it does not, the
# store or a PSP is away: each further wait is twice as long, up to what nobody notices after an outage.
_FULL_WAIT_S = 0.005
_FULL_WAIT_S_MAX = 0.02

# A host that owns nothing looks whether it does this often: what it claims waits no longer.
_UNOWNED_WAIT_S = 0.02


class ReadFor(Protocol):
    """A lane's partitions, as far as reading for them has to know (LanePartitions)."""

    @property
    def indexes(self) -> frozenset[int]: ...
    @property
    def message_count(self) -> int: ...
    @property
    def open_count(self) -> int: ...
    @property
    def oldest_read_at_s(self) -> float | None: ...


class StreamReader:
    """Alternates reading and removing on one connection: only there do both speak of the same entries."""

    def __init__(
        self,
        queue: OwnerQueue,
        *,
        readable: Callable[[], frozenset[int]],
        lanes: Callable[[], Sequence[ReadFor]],
        open_orders_max: int,
        on_messages: Callable[[int, Sequence[Message]], None],
        clock: Clock,
        crash_points: CrashPoints,
        on_read: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._queue = queue
        self._readable = readable
        self._lanes = lanes
        self._open_orders_max = open_orders_max
        self._message_bytes = 0
        """What a message of the last read had on average."""
        self._on_messages = on_messages
        self._clock = clock
        self._crash_points = crash_points
        self._on_read = on_read
        self._full_wait_s = _FULL_WAIT_S
        self._taken_in: list[Message] = []
        self._reread: frozenset[int] = frozenset()
        self._removed_at_s = clock.monotonic_s()
        self.read_count = 0
        self.removed_count = 0
        self.unremoved_count = 0
        """Messages whose removal came too late, or found nothing."""

    def note_taken_in(self, messages: Sequence[Message]) -> None:
        """These are in the ledger: remove them soon. Bounded by what may be read before a removal."""
        self._taken_in.extend(messages)

    def reread(self, partition_indexes: frozenset[int]) -> None:
        """Read these from their beginning again: free, since the ledger knows what it has.

        Not before the read under way has ended: its answer would move the positions on again, past
        messages that were forgotten meanwhile.
        """
        self._reread |= partition_indexes

    async def run(self) -> None:
        """Read and remove until cancelled. A store that is away is waited for."""
        while True:
            try:
                await self._turn()
                continue
            except StorageUnavailable as unavailable:
                _log.warning("queue_unavailable", reason=unavailable.reason)
            await asyncio.sleep(STORE_RETRY_S)

    async def drain(self) -> None:
        """Remove what is taken in, once; called after ``run`` ended. What can't be removed is read again."""
        try:
            await self._remove()
        except StorageUnavailable as unavailable:
            _log.warning("removal_left_undone", reason=unavailable.reason)

    async def _turn(self) -> None:
        if self._clock.monotonic_s() - self._removed_at_s >= REMOVAL_EVERY_S:
            await self._remove()
        owned, lanes = self._readable(), self._lanes()
        behind = far_behind(lanes, self._clock.monotonic_s())
        self._queue.own(owned, behind)
        self._queue.reread(self._reread)
        self._reread = frozenset()
        count_max = min(
            READ_COUNT_MAX,
            room_in(lanes, open_orders_max=self._open_orders_max),
            max(1, READ_BYTES_MAX // max(1, self._message_bytes)),
        )
        if owned <= behind or count_max <= 0:
            await asyncio.sleep(self._full_wait_s if owned else _UNOWNED_WAIT_S)
            self._full_wait_s = min(2 * self._full_wait_s, _FULL_WAIT_S_MAX)
            return
        self._full_wait_s = _FULL_WAIT_S
        started_s = self._clock.monotonic_s()
        messages = await self._queue.read(count_max=count_max, wait_ms_max=READ_WAIT_MS_MAX)
        self.read_count += len(messages)
        if self._crash_points.has_mark:
            for message in messages:
                self._crash_points.meet(message.raw)
        if messages:
            self._message_bytes = sum(map(size_bytes, messages)) // len(messages)
        self._on_read(len(messages))
        ordered = sorted(messages, key=attrgetter("partition_index"))
        for partition_index, group in groupby(ordered, key=attrgetter("partition_index")):
            self._on_messages(partition_index, list(group))
        if READ_CROWDED_COUNT <= len(messages) < count_max:
            await asyncio.sleep(READ_SPACING_S - (self._clock.monotonic_s() - started_s))

    async def _remove(self) -> None:
        self._removed_at_s = self._clock.monotonic_s()
        if not self._taken_in:
            return
        messages, self._taken_in = self._taken_in, []
        self._crash_points.reach("before_removal")
        try:
            removed_count = await self._queue.remove(messages)
        except StorageUnavailable:
            # Else what was left would stay in the stream until the next connection.
            self.reread(frozenset(message.partition_index for message in messages))
            raise
        self.removed_count += removed_count
        self.unremoved_count += len(messages) - removed_count
        self._crash_points.reach("after_removal")


def far_behind(lanes: Sequence[ReadFor], now_s: float) -> frozenset[int]:
    """The partitions of lanes that take in more slowly than is read for them; the others go on.

    More would only wait longer there, until it is too old to be removed once it is taken in.
    """
    return frozenset().union(
        *(
            lane.indexes
            for lane in lanes
            if lane.oldest_read_at_s is not None
            and now_s - lane.oldest_read_at_s > READ_AHEAD_S_MAX
        )
    )


def room_in(lanes: Sequence[ReadFor], *, open_orders_max: int) -> int:
    """How many messages may be read now for all lanes together."""
    message_count = sum(lane.message_count for lane in lanes)
    return room_left(message_count, sum(lane.open_count for lane in lanes), open_orders_max)


def room_left(message_count: int, open_count: int, open_orders_max: int) -> int:
    """How many messages may be read now, so that neither the inbox nor the open orders outgrow memory."""
    return min(INBOX_MESSAGES_MAX - message_count, open_orders_max - open_count - message_count)
