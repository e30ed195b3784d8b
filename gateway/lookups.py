"""Look-ups of orders in the books, batched: one query for all that ask at the same time, a second for what it found."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from payments.defects import caused_by
from runtime.clock import Clock
from runtime.faults import StorageUnavailable
from runtime.metrics import GATEWAY_LOOKUP_FAILURES, GATEWAY_LOOKUP_KEYS, Metrics
from storage.lookup_keys import LookupKey, OperationLookup, OrderLookup
from storage.read_ports import PaymentQueries, Stored, StoredOperation, StoredOrder

Answer = asyncio.Future[Stored | None]

# One query of 500 keys stays at a few milliseconds, so that no request waits behind a long one.
LOOKUP_KEYS_MAX = 500
# While one query waits for the server, the next keys gather; more at once only split the batches.
LOOKUPS_IN_FLIGHT_MAX = 2
# Two thirds of what a look-up of thirty keys costs Postgres it costs for one key, too. After one of a crowd the
# next waits for so long, and holds more: less than an append and its proof take, which a POST waits for anyway.
LOOKUP_SPACING_S = 0.02
LOOKUP_CROWDED_KEYS = 16
# Beyond this the books answer more slowly than we ask: say so instead of piling up.
LOOKUPS_PENDING_MAX = 20_000
# One lost connection is no outage: so long look-ups are tried again before the books count as away.
AWAY_AFTER_S = 1.0
# A server that stands still fails nothing for its connections' whole time-out. Twice what one look-up takes
# while the server is busiest; and what waits meanwhile stays below what a gateway may have open.
SILENT_AFTER_S = 2.0
# Whoever reads one payment waits no longer than whoever posts one: in line, too, while the books are away.
FIND_S_MAX = 5.0


class Asker(Protocol):
    """Who is told what the books hold. A request asks for itself: nothing is made for each look-up."""

    @property
    def is_lookup_wanted(self) -> bool:
        """Whether the answer can still change anything; asked before the books are."""
        ...

    def found(self, order: Stored | None) -> None:
        """The books hold this, or nothing."""
        ...

    def not_found_out(self, fault: Exception, *, is_away: bool) -> None:
        """StorageUnavailable, or a defect. ``is_away``: the books count as out of reach."""
        ...


class _Future:
    """An asker that only wants to know."""

    __slots__ = ("answer",)

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    @property
    def is_lookup_wanted(self) -> bool:
        return not self.answer.done()

    def found(self, order: Stored | None) -> None:
        if not self.answer.done():
            self.answer.set_result(order)

    def not_found_out(self, fault: Exception, *, is_away: bool) -> None:
        if not self.answer.done():
            self.answer.set_exception(fault)


class Lookups:
    """The gateway's way to ask which orders the books hold. Never older than the call itself."""

    def __init__(self, queries: PaymentQueries, *, clock: Clock, metrics: Metrics) -> None:
        self._queries = queries
        self._clock = clock
        self._keys_per_lookup = metrics.histogram(GATEWAY_LOOKUP_KEYS)
        self._failures = metrics.counter(GATEWAY_LOOKUP_FAILURES)
        self._pending: deque[tuple[LookupKey, Asker]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_start_planned = False
        self._next_at_s = 0.0
        self._failing_since_s: float | None = None
        self._silent_since_s: float | None = None

    @property
    def is_away(self) -> bool:
        """Whether the books are out of reach: for AWAY_AFTER_S look-ups failed and none succeeded, or
        for SILENT_AFTER_S look-ups were under way and none came to an end."""
        now_s = self._clock.monotonic_s()
        failing_s, silent_s = self._failing_since_s, self._silent_since_s
        return (failing_s is not None and now_s - failing_s >= AWAY_AFTER_S) or (
            silent_s is not None and now_s - silent_s >= SILENT_AFTER_S
        )

    def ask(self, key: LookupKey) -> Answer:
        """Return the future order, or None when the books hold none. Fails with StorageUnavailable.

        Cancel it when the answer is no longer wanted.
        """
        answer: Answer = asyncio.get_running_loop().create_future()
        self.ask_for(key, _Future(answer))
        return answer

    def ask_for(self, key: LookupKey, asker: Asker) -> None:
        """Look the order up and tell ``asker``, in a later turn of the loop or, when too many wait, now."""
        if len(self._pending) >= LOOKUPS_PENDING_MAX:
            fault = StorageUnavailable("postgres", "too many look-ups wait")
            asker.not_found_out(fault, is_away=self.is_away)
            return
        self._pending.append((key, asker))
        if not self._is_start_planned and len(self._tasks) < LOOKUPS_IN_FLIGHT_MAX:
            # On the next turn of the loop: whoever else asks in this turn comes along.
            self._is_start_planned = True
            asyncio.get_running_loop().call_soon(self._start)

    async def find(self, key: OrderLookup) -> StoredOrder | None:
        """Return the order, or None when the books hold none, within FIND_S_MAX. Raises StorageUnavailable."""
        found = await self._find(key)
        return found if isinstance(found, StoredOrder) else None

    async def find_operation(self, key: OperationLookup) -> StoredOperation | None:
        """Return the operation, in the same way."""
        found = await self._find(key)
        return found if isinstance(found, StoredOperation) else None

    async def _find(self, key: LookupKey) -> Stored | None:
        try:
            async with asyncio.timeout(FIND_S_MAX):
                return await self.ask(key)
        except TimeoutError:
            raise caused_by(StorageUnavailable("postgres", "no answer in time"), None)

    async def held(self, keys: Sequence[LookupKey]) -> list[UUID]:
        """Return those of many orders that the books hold, asked apart from what requests ask.

        Raises StorageUnavailable.
        """
        held: list[UUID] = []
        for start in range(0, len(keys), LOOKUP_KEYS_MAX):
            chunk = keys[start : start + LOOKUP_KEYS_MAX]
            orders = [key for key in chunk if isinstance(key, OrderLookup)]
            held += await self._queries.known_orders(orders)
            operations = [key for key in chunk if isinstance(key, OperationLookup)]
            held += await self._queries.operations(operations)
        return held

    async def close(self) -> None:
        """Give up what is still asked."""
        # Out of the line first: a look-up that ends would start the next one.
        pending, self._pending = self._pending, deque()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, asker in pending:
            if isinstance(asker, _Future):
                asker.answer.cancel()

    def _start(self) -> None:
        self._is_start_planned = False
        loop = asyncio.get_running_loop()
        while self._pending and len(self._tasks) < LOOKUPS_IN_FLIGHT_MAX:
            if (now_s := loop.time()) < self._next_at_s:
                self._is_start_planned = True
                loop.call_at(self._next_at_s, self._start)
                return
            batch = self._take()
            if not batch:
                return
            if len(batch) >= LOOKUP_CROWDED_KEYS:
                self._next_at_s = now_s + LOOKUP_SPACING_S
            task = asyncio.create_task(self._run(batch))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _take(self) -> list[tuple[LookupKey, Asker]]:
        batch: list[tuple[LookupKey, Asker]] = []
        while self._pending and len(batch) < LOOKUP_KEYS_MAX:
            asked = self._pending.popleft()
            if asked[1].is_lookup_wanted:
                batch.append(asked)
        return batch

    async def _run(self, batch: list[tuple[LookupKey, Asker]]) -> None:
        self._keys_per_lookup.observe(len(batch))
        if self._silent_since_s is None:
            self._silent_since_s = self._clock.monotonic_s()
        try:
            found = await self._fetch(batch)
        except StorageUnavailable as fault:
            self._failures.inc()
            if self._failing_since_s is None:
                self._failing_since_s = self._clock.monotonic_s()
            for _, asker in batch:
                asker.not_found_out(fault, is_away=self.is_away)
            return
        except BaseException as defect:
            # Whoever waits must not wait for ever because of a defect here: they get to see it.
            told = RuntimeError(f"the look-up failed: {type(defect).__name__}")
            for _, asker in batch:
                asker.not_found_out(told, is_away=self.is_away)
            raise
        self._failing_since_s = None
        for (_, order_uuid), asker in batch:
            asker.found(found.get(order_uuid))

    async def _fetch(self, batch: Sequence[tuple[LookupKey, Asker]]) -> Mapping[UUID, Stored]:
        """Ask for orders and, where there are any, for operations.

        Whoever wants to know asks for what is there; an order that was posted is new, nearly always.
        """
        wanted: list[OrderLookup] = []
        posted: list[OrderLookup] = []
        operations: list[OperationLookup] = []
        for key, asker in batch:
            if isinstance(key, OperationLookup):
                operations.append(key)
            elif isinstance(asker, _Future):
                wanted.append(key)
            else:
                posted.append(key)
        found: dict[UUID, Stored] = {}
        if operations:
            found.update(await self._queries.operations(operations))
        if posted and (known := await self._queries.known_orders(posted)):
            wanted += [key for key in posted if key.order_uuid in known]
        if wanted:
            found.update(await self._queries.orders(wanted))
        return found

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._silent_since_s = self._clock.monotonic_s() if self._tasks else None
        if self._pending and not self._is_start_planned:
            self._start()
        if not task.cancelled():
            # A defect surfaces in the loop's exception handler, which logs it.
            task.result()
