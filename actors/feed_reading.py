"""Reads for lines that have room: what is new in the feed, and deliveries that are due again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from actors.delivering import Delivering
from actors.dispatcher_settings import LINES_PER_LOOK_MAX, LOOK_PAUSE_S_MAX, LOOK_PAUSE_S_MIN
from actors.endpoint_line import EndpointLine, InHand
from actors.event_bodies import EventBodies
from actors.line_keeping import LineKeeping
from payments.feed import EventKey
from runtime.clock import Clock
from runtime.faults import StorageUnavailable
from storage.dispatch_ports import DispatchStore, DueDelivery
from storage.event_feed import EventFeed, FeedQuery


class FeedReading:
    """Fills lines, each from its own place: one that is behind reads what others have passed."""

    def __init__(
        self,
        feed: EventFeed,
        bodies: EventBodies,
        store: DispatchStore,
        keeping: LineKeeping,
        delivering: Delivering,
        *,
        clock: Clock,
    ) -> None:
        self._feed = feed
        self._bodies = bodies
        self._store = store
        self._keeping = keeping
        self._delivering = delivering
        self._clock = clock

    async def read_feed(self) -> bool:
        """Look once for every line whose turn it is; return whether there was anything new.

        Raises StorageUnavailable.
        """
        now_s = self._clock.monotonic_s()
        hungry = [
            line for line in self._keeping.lines if line.next_look_s <= now_s and line.room > 0
        ]
        is_news = False
        for first in range(0, len(hungry), LINES_PER_LOOK_MAX):
            is_news |= await self._read_for(hungry[first : first + LINES_PER_LOOK_MAX])
        return is_news

    async def read_due(self) -> None:
        """Look once for deliveries that are due. Raises StorageUnavailable."""
        rooms = {
            line.endpoint.endpoint_no: line.retry_room
            for line in self._keeping.lines
            if line.retry_room > 0
        }
        numbers = list(rooms)
        for first in range(0, len(numbers), LINES_PER_LOOK_MAX):
            asked = {
                number: rooms[number] for number in numbers[first : first + LINES_PER_LOOK_MAX]
            }
            await self._take_due(await self._store.due(asked))

    async def _take_due(self, found: Sequence[DueDelivery]) -> None:
        taken: list[tuple[EndpointLine, InHand]] = []
        by_endpoint = sorted(found, key=lambda one: one.endpoint_no)
        for endpoint_no, due in groupby(by_endpoint, lambda one: one.endpoint_no):
            if (line := self._keeping.line(endpoint_no)) is not None:
                taken += [(line, in_hand) for in_hand in line.take_due(due)]
        try:
            bodies = await self._bodies.of(in_hand.position.key for _, in_hand in taken)
        except StorageUnavailable:
            # Looked for again with the next look; that events can't be read is told by who reads the feed.
            for line, in_hand in taken:
                line.give_back(in_hand)
        else:
            self._put(taken, bodies)

    async def _read_for(self, lines: Sequence[EndpointLine]) -> bool:
        pages = await self._feed.pages(
            [
                FeedQuery(line.endpoint.merchant_no, line.endpoint.mode, line.read_to, line.room)
                for line in lines
            ]
        )
        wanted = [line.wanted(page) for line, page in zip(lines, pages, strict=True)]
        # Before anything is taken: what can't be read now is looked for again.
        bodies = await self._bodies.of(one.position.key for found in wanted for one in found)
        now_s = self._clock.monotonic_s()
        for line, page, found in zip(lines, pages, wanted, strict=True):
            if page.entries:
                line.look_pause_s = 0.0
            else:
                line.look_pause_s = min(
                    max(2 * line.look_pause_s, LOOK_PAUSE_S_MIN), LOOK_PAUSE_S_MAX
                )
            line.next_look_s = now_s + line.look_pause_s
            line.take_page(page, found)
            self._put([(line, in_hand) for in_hand in found], bodies)
        return any(page.entries for page in pages)

    def _put(
        self, taken: Sequence[tuple[EndpointLine, InHand]], bodies: Mapping[EventKey, bytes]
    ) -> None:
        """Give each its bytes, and have it sent."""
        for line, in_hand in taken:
            line.put(in_hand, bodies[in_hand.position.key])
        for line in {id(line): line for line, _ in taken}.values():
            self._delivering.start_for(line)
