"""Events' bytes, read once for all endpoints of a merchant: they are about as far, and want the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from itertools import islice

from actors.dispatcher_settings import (
    BODIES_KEPT_BYTES_MAX,
    BODIES_KEPT_MAX,
    EVENTS_PER_READ_MAX,
)
from payments.defects import InvariantViolation
from payments.feed import EventKey
from storage.event_feed import EventFeed


class EventBodies:
    """Reads bodies, and keeps the latest."""

    def __init__(self, feed: EventFeed) -> None:
        self._feed = feed
        self._kept: OrderedDict[EventKey, bytes] = OrderedDict()
        self.kept_bytes = 0

    async def of(self, keys: Iterable[EventKey]) -> Mapping[EventKey, bytes]:
        """Return the bytes of each. Raises StorageUnavailable, and InvariantViolation for one that is not there."""
        wanted = set(keys)
        bodies = {key: self._kept[key] for key in wanted if key in self._kept}
        missing = iter(sorted(wanted - bodies.keys()))
        while chunk := list(islice(missing, EVENTS_PER_READ_MAX)):
            events = await self._feed.events(chunk)
            for key in chunk:
                if key not in events:
                    raise InvariantViolation(f"the event {key} is in the feed and not in the books")
                bodies[key] = events[key].body
                self._keep(key, events[key].body)
        while len(self._kept) > BODIES_KEPT_MAX or self.kept_bytes > BODIES_KEPT_BYTES_MAX:
            self.kept_bytes -= len(self._kept.popitem(last=False)[1])
        return bodies

    def _keep(self, key: EventKey, body: bytes) -> None:
        # Somebody else may have read it meanwhile.
        self.kept_bytes += len(body) - len(self._kept.get(key, b""))
        self._kept[key] = body
