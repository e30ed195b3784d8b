"""Parked orders go on: through a token bucket for each PSP, in turn among merchants.

The owner holds its parked orders in memory as it holds all open ones, and their rows say why they rest.
So a host that takes over finds them, and nothing else has to be told when a PSP is back.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from actors.breakers import BreakerState
from actors.calls import PspCalls
from actors.lane_partitions import LanePartitions
from actors.ledger_clock import LedgerClock
from actors.settings import HostSettings
from payments.book import PartitionBook
from payments.decided import Planner
from payments.fallback import may_leave
from payments.open_order import OpenOrder
from payments.parking import ParkReason
from payments.rows import TimerKind
from runtime.clock import Clock

# Often enough that a resumed order's wait is not felt, and its bucket holds some tokens each time.
RESUME_EVERY_S = 0.1

# Between two looks at all that is parked, and between two rounds of probes: the answers to the former
# ones are in by then.
LOOK_EVERY_S = 1.0


class TokenBucket:
    """Lets ``per_s`` pieces through a second, and at most ``burst`` at once after a rest."""

    def __init__(self, per_s: float, burst: float, clock: Clock) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._filled_at_s = clock.monotonic_s()

    def available(self) -> int:
        """Whole tokens that may be taken now."""
        now_s = self._clock.monotonic_s()
        grown = self._tokens + (now_s - self._filled_at_s) * self._per_s
        self._tokens, self._filled_at_s = min(self._burst, grown), now_s
        return int(self._tokens)

    def take(self, count: int) -> None:
        """Take tokens that ``available`` has promised."""
        self._tokens -= count


class ParkedOrder(NamedTuple):
    """Where a parked order is found."""

    partition_index: int
    order_no: int


class FairQueue:
    """Hands out parked orders one merchant after the other, each one's oldest first."""

    def __init__(self) -> None:
        self._by_merchant: OrderedDict[int, deque[ParkedOrder]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._by_merchant)

    def add(self, merchant_no: int, parked: ParkedOrder) -> None:
        self._by_merchant.setdefault(merchant_no, deque()).append(parked)

    def take(self, count_max: int) -> Iterator[ParkedOrder]:
        """Yield up to that many: whoever had a turn stands at the end again."""
        for _ in range(count_max):
            if not self._by_merchant:
                return
            merchant_no, orders = self._by_merchant.popitem(last=False)
            yield orders.popleft()
            if orders:
                self._by_merchant[merchant_no] = orders


class Resumer:
    """Brings parked orders of one host up again when their PSP, or another one, takes orders."""

    def __init__(
        self,
        calls: PspCalls,
        lanes: Sequence[LanePartitions],
        planner: Planner,
        settings: HostSettings,
        ledger_clock: LedgerClock,
        clock: Clock,
    ) -> None:
        per_s = float(settings.resume_per_s)
        self._calls = calls
        self._lanes = lanes
        self._planner = planner
        self._policy = settings.policy
        self._ledger_clock = ledger_clock
        self._restated_max = settings.resume_per_s
        self._clock = clock
        self._buckets = {
            name: TokenBucket(per_s, max(1.0, per_s / 10), clock) for name in calls.lines
        }
        self._queues = {name: FairQueue() for name in calls.lines}
        self._probed_at_s: dict[str, float] = {}
        self._looked_at_s: float | None = None
        self.resumed_count = 0

    async def run(self) -> None:
        """Resume until cancelled."""
        while True:
            await asyncio.sleep(RESUME_EVERY_S)
            self.resume()

    def resume(self) -> int:
        """Offer as many parked orders to their lanes as may go on now. Returns how many."""
        if not any(self._queues.values()) and not self._look():
            return 0
        count = 0
        for psp, queue in self._queues.items():
            for parked in queue.take(self._room(psp)) if queue else ():
                self._buckets[psp].take(1)
                count += self._offer(parked)
        self.resumed_count += count
        return count

    def _room(self, psp: str) -> int:
        """How many may go to this PSP now."""
        breaker = self._calls.lines[psp].breaker
        if not breaker.admits():
            return 0
        room = self._buckets[psp].available()
        if breaker.state is BreakerState.HALF_OPEN:
            now_s = self._clock.monotonic_s()
            if now_s - self._probed_at_s.get(psp, -LOOK_EVERY_S) < LOOK_EVERY_S:
                return 0
            self._probed_at_s[psp] = now_s
            room = min(room, breaker.probes_left)
        return room

    def _offer(self, parked: ParkedOrder) -> bool:
        for lane in self._lanes:
            book = lane.books.get(parked.partition_index)
            if book is not None and book.is_parked(parked.order_no):
                lane.offer_due(parked.partition_index, parked.order_no, TimerKind.RESUME)
                return True
        return False

    def _look(self) -> bool:
        """Line up what is parked and may go on. Returns whether there is anything."""
        now_s = self._clock.monotonic_s()
        if self._looked_at_s is not None and now_s - self._looked_at_s < LOOK_EVERY_S:
            return False
        self._looked_at_s = now_s
        resting: Counter[str] = Counter()
        refusing = self._calls.availability().refusing
        restated: list[ParkedOrder] = []
        for book in self._books():
            for order in book.parked_orders():
                resting[order.attempt.psp] += 1
                place = ParkedOrder(book.head.partition_index, order.order_no)
                if (psp := self._goes_to(order, book.head.epoch, refusing)) in self._queues:
                    self._queues[psp].add(order.command.merchant_no, place)
                elif self._is_late(order):
                    restated.append(place)
        # Their estimate was wrong: they are refused anew, with another one, or end by their age.
        for place in restated[: self._restated_max]:
            self._offer(place)
        for name, line in self._calls.lines.items():
            line.parked_count = resting[name]
        return any(self._queues.values())

    def _goes_to(self, order: OpenOrder, epoch: int, refusing: frozenset[str]) -> str:
        """Its own PSP when that takes calls again; else another, if it never ran; else it goes on resting."""
        psp = order.attempt.psp
        if psp not in refusing:
            return psp
        if may_leave(order, epoch=epoch, policy=self._policy):
            return self._planner.route(order.payment, avoiding=refusing) or ""
        return ""

    def _is_late(self, order: OpenOrder) -> bool:
        at = order.next_retry_at
        return at is not None and at <= self._ledger_clock.now()

    def _books(self) -> Iterator[PartitionBook]:
        for lane in self._lanes:
            resting = lane.resting
            for partition_index, book in lane.books.items():
                if partition_index not in resting:
                    yield book


def parked_counts(
    books: Iterable[PartitionBook], psps: Iterable[str]
) -> Sequence[tuple[tuple[str, str], int]]:
    """Return ``((psp, reason), count)`` of the orders that rest.

    Each of ``psps`` is there with each reason, also when nothing rests: a count that falls shows 0, and
    doesn't vanish.
    """
    counts = {(psp, reason.wire): 0 for psp in psps for reason in ParkReason}
    for book in books:
        for order in book.parked_orders():
            if order.parked is not None:
                place = (order.attempt.psp, order.parked.wire)
                counts[place] = counts.get(place, 0) + 1
    return sorted(counts.items())
