"""One endpoint in the dispatcher's memory: what it was read, what is sent, and how far it is.

Pure bookkeeping without I/O. A line is bounded: it reads no further ahead than its window, sends so many
deliveries at a time, and stops reading while too many of them wait to be tried again. So an endpoint that is
slow, or away, is behind by itself, and costs others nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from payments.event_types import wanted_numbers
from payments.feed import FeedPosition
from storage.dispatch_ports import DispatchEndpoint, DueDelivery
from storage.event_feed import FeedPage

# Events read and not recorded yet, of one endpoint. With results recorded every 50 ms this carries some
# thousand deliveries a second to one endpoint; twice as much would only be lost by a crash.
WINDOW_MAX = 256
# Events asked for at a time: 20 endpoints in one page are about a megabyte.
PAGE_MAX = 64
# Retries in hand at a time, of one endpoint.
RETRIES_MAX = 32
# At one time while the last try has failed: one finds out that it is back, and a second one makes that faster.
IN_FLIGHT_FAILING_MAX = 2
# Deliveries of one endpoint that wait to be tried again. More events stay in the feed until some have ended.
WAITING_MAX = 10_000


@dataclass(frozen=True, slots=True)
class InHand:
    """One delivery on its way. ``tries_before`` counts those since it was last begun."""

    position: FeedPosition
    type: int
    event_created_at: datetime
    tries_before: int
    is_first: bool
    """Read from the feed, not from those that wait."""


class EndpointLine:
    """One enabled endpoint. Thrown away when it is no longer enabled: what was not recorded is read again."""

    def __init__(
        self,
        endpoint: DispatchEndpoint,
        *,
        recorded: frozenset[FeedPosition],
        waiting_count: int,
        in_flight_max: int,
    ) -> None:
        """``recorded`` are the places behind the endpoint's own of which a delivery is known already."""
        self.endpoint = endpoint
        self.read_to = endpoint.position
        self.passed = endpoint.position
        """Everything up to here has a row, or was not asked for."""
        self.passed_stored = endpoint.position
        self.waiting_count = waiting_count
        self.failing_since = endpoint.failing_since
        self.in_flight_count = 0
        self.is_stopped = False
        self.next_look_s = 0.0
        self.look_pause_s = 0.0
        self._numbers = wanted_numbers(endpoint.types)
        self._recorded = recorded
        self._in_flight_max = in_flight_max
        # First tries in the feed's order, and which of them are over: results come in any order.
        self._window: deque[InHand] = deque()
        self._over: set[FeedPosition] = set()
        self._retries: set[FeedPosition] = set()
        self._queue: deque[tuple[InHand, bytes]] = deque()

    @property
    def is_failing(self) -> bool:
        return self.failing_since is not None

    @property
    def room(self) -> int:
        """How many events more it may be read."""
        if self.is_stopped or self.waiting_count >= WAITING_MAX:
            return 0
        return min(PAGE_MAX, WINDOW_MAX - len(self._window))

    @property
    def retry_room(self) -> int:
        """How many deliveries to ask for that are due: those in hand are among the first."""
        free = RETRIES_MAX - len(self._retries)
        return RETRIES_MAX if free > 0 and not self.is_stopped else 0

    @property
    def oldest_at(self) -> datetime | None:
        """When the oldest event happened that was read and has no delivery yet."""
        return self._window[0].event_created_at if self._window else None

    def wanted(self, page: FeedPage) -> list[InHand]:
        """Return those events of a page that it asks for and that have no row. Changes nothing."""
        return [
            InHand(entry.position, entry.type, entry.created_at, 0, is_first=True)
            for entry in page.entries
            if entry.type in self._numbers and entry.position not in self._recorded
        ]

    def take_page(self, page: FeedPage, wanted: Iterable[InHand]) -> None:
        """Take what was read: ``wanted`` are its events, each of which is then given to ``put``."""
        self._window.extend(wanted)
        self.read_to = page.reached
        self._pass()

    def take_due(self, due: Iterable[DueDelivery]) -> list[InHand]:
        """Return those that are not in hand; give each to ``put``, or back."""
        in_window = {in_hand.position for in_hand in self._window}
        taken: list[InHand] = []
        for one in due:
            if one.position in self._retries or one.position in in_window:
                continue
            if len(self._retries) >= RETRIES_MAX:
                break
            self._retries.add(one.position)
            tries = one.round_try_count
            taken.append(
                InHand(one.position, one.type, one.event_created_at, tries, is_first=False)
            )
        return taken

    def give_back(self, in_hand: InHand) -> None:
        """Leave a delivery that is due where it was."""
        self._retries.discard(in_hand.position)

    def put(self, in_hand: InHand, body: bytes) -> None:
        """Put a delivery in line, with its bytes."""
        self._queue.append((in_hand, body))

    def next_to_send(self) -> tuple[InHand, bytes] | None:
        """Return a delivery to be sent now, if there is one and it may be."""
        bound = IN_FLIGHT_FAILING_MAX if self.is_failing else self._in_flight_max
        if (
            self.is_stopped
            or not self._queue
            or self.in_flight_count >= min(bound, self._in_flight_max)
        ):
            return None
        self.in_flight_count += 1
        return self._queue.popleft()

    def stop(self) -> None:
        """Send nothing any more. What is on its way comes to its end, and is recorded."""
        self.is_stopped = True
        self._queue.clear()

    def sent(self) -> None:
        """Note that a delivery is no longer on its way."""
        self.in_flight_count -= 1

    def recorded(self, in_hand: InHand, *, is_waiting: bool) -> None:
        """Note that what became of a delivery is being written."""
        if in_hand.is_first:
            self._over.add(in_hand.position)
            self.waiting_count += is_waiting
            self._pass()
        else:
            self._retries.discard(in_hand.position)
            self.waiting_count -= not is_waiting

    def _pass(self) -> None:
        while self._window and self._window[0].position in self._over:
            self.passed = self._window.popleft().position
            self._over.discard(self.passed)
        if not self._window:
            self.passed = self.read_to
