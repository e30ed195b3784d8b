"""Acknowledged orders that no owner has reported as taken in: kept, so that they can be sent again.

A promotion of a Redis copy may lose what only the old primary and another copy held. Then every
gateway sends its unreported orders again through the same script, which knows duplicates.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice, takewhile
from typing import NamedTuple
from uuid import UUID

from storage.queue_ports import QueueEntry

# An ordinary order has 1 KiB, the largest 200: the count alone would bound gigabytes. Five times what
# as many ordinary orders need.
BYTES_MAX = 256 * 1024**2

# PSPs' events have this part of the places: of repetitions comes no report, and the books are not asked
# for them. Beyond it the oldest are forgotten, so that however many come they take no order's place.
EVENTS_PART = 5


class _Kept(NamedTuple):
    entry: QueueEntry
    kept_at_s: float
    size_bytes: int


class Unreported:
    """Bounded book-keeping. Times are the caller's monotonic seconds."""

    def __init__(self, count_max: int, *, bytes_max: int = BYTES_MAX) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[UUID, _Kept] = OrderedDict()
        self._event_count_max = count_max // EVENTS_PART
        # A dict as an ordered set: the oldest first.
        self._events: dict[UUID, None] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def has_room_for(self, count: int) -> bool:
        """Whether so many more could be kept."""
        return len(self._kept) + count <= self._count_max and self._bytes < self._bytes_max

    def holds(self, order_uuid: UUID) -> bool:
        """Whether the order still waits for its report."""
        return order_uuid in self._kept

    def keep(self, entry: QueueEntry, now_s: float) -> None:
        """Keep an order, or an event, that is about to be acknowledged."""
        self._forget(entry.order_uuid)
        size_bytes = len(b"".join(entry.fields))
        self._kept[entry.order_uuid] = _Kept(entry, now_s, size_bytes)
        self._bytes += size_bytes
        if entry.is_event:
            self._events[entry.order_uuid] = None
            if len(self._events) > self._event_count_max:
                self._forget(next(iter(self._events)))

    def reported(self, order_uuids: Iterable[UUID]) -> None:
        """Forget orders that the books hold now."""
        for order_uuid in order_uuids:
            self._forget(order_uuid)

    def older_than(self, kept_before_s: float, count_max: int) -> list[QueueEntry]:
        """Return the oldest of those kept before then, and put them last: others come next time."""
        oldest = islice(self._kept.items(), count_max)
        late = list(takewhile(lambda item: item[1].kept_at_s <= kept_before_s, oldest))
        for order_uuid, _ in late:
            self._kept.move_to_end(order_uuid)
        return [kept.entry for _, kept in late]

    def forget_events(self, entries: Iterable[QueueEntry], kept_before_s: float) -> None:
        """Forget those of the entries that are PSPs' events and were kept before then."""
        for entry in entries:
            kept = self._kept.get(entry.order_uuid) if entry.is_event else None
            if kept is not None and kept.kept_at_s < kept_before_s:
                self._forget(entry.order_uuid)

    def oldest_age_s(self, now_s: float) -> float:
        """Return for how long the oldest has waited for its report; 0 when none waits. Looks at each."""
        return max((now_s - kept.kept_at_s for kept in self._kept.values()), default=0.0)

    def all(self) -> list[QueueEntry]:
        """Return everything kept."""
        return [kept.entry for kept in self._kept.values()]

    def _forget(self, order_uuid: UUID) -> None:
        kept = self._kept.pop(order_uuid, None)
        if kept is not None:
            self._bytes -= kept.size_bytes
            if kept.entry.is_event:
                del self._events[order_uuid]
