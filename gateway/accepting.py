"""Accepting orders: append first, look up after, tell what the two say together.

Each request is appended by a lane and, in parallel, looked up in the books. What comes back is put
together by ``gateway.idempotency``; a slow tick looks after deadlines and second look-ups.
Everything that can wait is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from uuid import UUID

from gateway.appending import AppendLanes
from gateway.idempotency import AppendState, BooksState, Verdict
from gateway.lookups import Lookups
from gateway.open_requests import Decided, OpenRequest
from gateway.settings import GatewaySettings
from gateway.unreported import Unreported
from runtime.clock import Clock
from runtime.crash_points import CrashPoints
from runtime.faults import StorageUnavailable
from runtime.metrics import (
    GATEWAY_ACCEPT_SECONDS,
    GATEWAY_PENDING_ORDERS,
    GATEWAY_UNREPORTED_ORDERS,
    GATEWAY_VERDICTS,
    Metrics,
)
from storage.lookup_keys import LookupKey, OperationLookup, OrderLookup
from storage.queue_ports import GatewayQueue, QueueEntry

# How late a deadline may be noticed: small against the deadline, cheap with thousands of requests.
TICK_S = 0.05
# While a request waits for the replicas or for Postgres, the books are asked again so often.
LOOKUP_AGAIN_S = 0.1
# Reports of intake come within milliseconds; one that is this late is lost, so the books are asked.
REPORT_LATE_S = 2.0
LATE_CHECK_S = 1.0
# A PSP's event is kept to be sent again for so long at most, if no report of it comes: then its owner
# is away, or the report was lost. Its order's outcome does not hang on it alone, since the PSP is asked, too.
EVENT_KEPT_S = 60.0
# So many unreported orders are looked up at a time: the rate at which one process accepts, so that the
# memory stays bounded also while no report comes through at all.
LATE_CHECKED_MAX = 2_000

Held = Callable[[Sequence[LookupKey]], Awaitable[Iterable[UUID]]]
"""Which of these the books hold. Raises StorageUnavailable."""


async def _none_held(_keys: Sequence[LookupKey]) -> Iterable[UUID]:
    return ()


def lookup_key(entry: QueueEntry) -> LookupKey:
    """Return what the books are asked for."""
    if entry.is_operation:
        return OperationLookup(entry.partition_index, entry.order_uuid)
    return OrderLookup(entry.partition_index, entry.order_uuid)


_REFUSED = Decided(Verdict.BACKPRESSURE, None, None, None, may_run=False)


class Accepting:
    """The way of every payment order from its request to a verdict."""

    def __init__(
        self,
        queues: Sequence[GatewayQueue],
        lookups: Lookups,
        settings: GatewaySettings,
        *,
        clock: Clock,
        metrics: Metrics,
        held_checkouts: Held = _none_held,
        crash_points: CrashPoints | None = None,
    ) -> None:
        """``held_checkouts`` is asked for checkouts, where any are accepted."""
        self._lookups = lookups
        self._held_checkouts = held_checkouts
        self._settings = settings
        self._clock = clock
        self._lanes = AppendLanes(
            queues, learned=self._learned, clock=clock, metrics=metrics, crash_points=crash_points
        )
        self.unreported = Unreported(settings.unreported_orders_max)
        # Dicts as ordered sets: the oldest request first, and the same order in every run.
        self._open: dict[OpenRequest, None] = {}
        self._open_by_order: dict[UUID, dict[OpenRequest, None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._seconds = metrics.batches(GATEWAY_ACCEPT_SECONDS)
        self._verdicts = dict.fromkeys(Verdict, 0)
        metrics.read(
            GATEWAY_VERDICTS,
            lambda: [((verdict.value,), count) for verdict, count in self._verdicts.items()],
        )
        metrics.gauge(GATEWAY_PENDING_ORDERS).set_function(lambda: len(self._open))
        metrics.gauge(GATEWAY_UNREPORTED_ORDERS).set_function(lambda: len(self.unreported))

    def start(self) -> None:
        """Start the lanes and the tick. Call ``close`` in the end."""
        self._lanes.start()
        self._tasks = [
            asyncio.create_task(self._tick_on()),
            asyncio.create_task(self._forget_late_on()),
        ]

    async def close(self) -> None:
        """Stop. Requests still open are left undecided: drain before."""
        await self._lanes.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def run_until_failure(self) -> None:
        """Never return; raise what a task died of that every request depends on."""
        # asyncio.wait leaves the tasks alone when it is cancelled itself.
        done, _ = await asyncio.wait(
            (*self._tasks, *self._lanes.tasks), return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            task.result()

    @property
    def is_alive(self) -> bool:
        """Whether every task that requests depend on still runs; a dead one is a defect."""
        return self._lanes.is_alive and not any(task.done() for task in self._tasks)

    @property
    def is_full(self) -> bool:
        """Whether new orders are refused because too many are under way or unreported."""
        count = len(self._open)
        return count >= self._settings.pending_orders_max or not self.unreported.has_room_for(
            count + 1
        )

    async def accept(self, entry: QueueEntry) -> Decided:
        """Return the verdict on one order, within the request's deadline."""
        if self.is_full:
            self._verdicts[Verdict.BACKPRESSURE] += 1
            return _REFUSED
        started_s = self._clock.monotonic_s()
        request = self._opened(entry, started_s)
        self._look_up(request, started_s)
        try:
            decided = await request.future
        finally:
            self._drop(request)
        self._keep_accepted(request, decided)
        self._seconds.observe(self._clock.monotonic_s() - started_s)
        self._verdicts[decided.verdict] += 1
        return decided

    async def accept_event(self, entry: QueueEntry) -> Verdict:
        """Return the verdict on a PSP's event: proven as an order is, or reported by its owner.

        The books are not asked: they know each event by its name when its owner takes it in.
        """
        return (await self.accept_unasked(entry)).verdict

    async def accept_unasked(self, entry: QueueEntry) -> Decided:
        """Return the queue's own verdict on an entry that is no order: whoever sends it asks the books."""
        if self.is_full:
            return _REFUSED
        request = self._opened(entry, self._clock.monotonic_s())
        request.books = BooksState.UNAVAILABLE
        try:
            decided = await request.future
        finally:
            self._drop(request)
        self._keep_accepted(request, decided)
        return decided

    def _opened(self, entry: QueueEntry, now_s: float) -> OpenRequest:
        request = OpenRequest(
            entry,
            deadline_s=now_s + self._settings.request_deadline_s,
            future=asyncio.get_running_loop().create_future(),
        )
        self._add(request)
        self._lanes.submit(request)
        return request

    def _keep_accepted(self, request: OpenRequest, decided: Decided) -> None:
        """Keep what was accepted until its owner reports it."""
        is_accepted = decided.verdict in (Verdict.ACCEPTED, Verdict.ACCEPTED_DEFERRED)
        if is_accepted and not request.is_taken_in:
            self.unreported.keep(request.entry, self._clock.monotonic_s())

    def taken_in(self, order_uuids: Iterable[UUID]) -> None:
        """Note that the books hold these orders now, as an owner reported."""
        order_uuids = list(order_uuids)
        self.unreported.reported(order_uuids)
        now_s = self._clock.monotonic_s()
        for order_uuid in order_uuids:
            for request in self._open_by_order.get(order_uuid, ()):
                if request.entry.is_event:
                    request.taken_in()
                else:
                    # The books decide, also whether it was this body or another one.
                    self._look_up(request, now_s)

    def _add(self, request: OpenRequest) -> None:
        self._open[request] = None
        self._open_by_order.setdefault(request.entry.order_uuid, {})[request] = None

    def _drop(self, request: OpenRequest) -> None:
        self._open.pop(request, None)
        same_order = self._open_by_order.get(request.entry.order_uuid)
        if same_order is not None:
            same_order.pop(request, None)
            if not same_order:
                del self._open_by_order[request.entry.order_uuid]

    def _learned(self, request: OpenRequest) -> None:
        request.settle(is_past_deadline=False)

    def _look_up(self, request: OpenRequest, now_s: float) -> None:
        entry = request.entry
        if not (request.is_decided or request.is_looked_up or entry.is_event or entry.is_checkout):
            request.is_looked_up = True
            request.lookup_at_s = now_s
            self._lookups.ask_for(lookup_key(entry), request)

    async def _tick_on(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now_s = self._clock.monotonic_s()
            is_away = self._lookups.is_away
            for request in list(self._open):
                if is_away and request.books is BooksState.NONE:
                    # Its look-up may hang for long; what is durable is not to wait for it.
                    request.books = BooksState.UNAVAILABLE
                self._tick(request, now_s)

    def _tick(self, request: OpenRequest, now_s: float) -> None:
        if request.settle(is_past_deadline=now_s >= request.deadline_s):
            return
        # Waiting for the replicas: the books may take it in meanwhile. Or the books did not answer.
        is_asking_worth_it = request.append is not AppendState.NONE or request.books in (
            BooksState.NONE,
            BooksState.UNAVAILABLE,
        )
        if is_asking_worth_it and now_s - request.lookup_at_s >= LOOKUP_AGAIN_S:
            self._look_up(request, now_s)

    async def _forget_late_on(self) -> None:
        """Ask the books for orders whose report is overdue: a lost one must not fill the memory."""
        while True:
            await asyncio.sleep(LATE_CHECK_S)
            now_s = self._clock.monotonic_s()
            entries = self.unreported.older_than(now_s - REPORT_LATE_S, LATE_CHECKED_MAX)
            self.unreported.forget_events(entries, now_s - EVENT_KEPT_S)
            orders, checkouts = _keys_of(entries)
            try:
                self.unreported.reported(await self._lookups.held(orders))
                if checkouts:
                    self.unreported.reported(await self._held_checkouts(checkouts))
            except StorageUnavailable:
                # They stay, and are asked for again.
                continue


def _keys_of(entries: Iterable[QueueEntry]) -> tuple[list[LookupKey], list[LookupKey]]:
    """Return the keys of orders, and those of checkouts; the books are not asked for events."""
    orders: list[LookupKey] = []
    checkouts: list[LookupKey] = []
    for entry in entries:
        if not entry.is_event:
            of_kind = checkouts if entry.is_checkout else orders
            of_kind.append(lookup_key(entry))
    return orders, checkouts
