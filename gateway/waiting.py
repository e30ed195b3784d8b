"""Waiters for ``Prefer: wait``: requests held until their order is settled, or their time is over.

Owners report settled orders through the reply channel; one read in the books then serves all
waiters of a message. A lost report only costs time: every second the books are asked anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from uuid import UUID

from gateway.lookups import Answer, Lookups
from payments.lifecycle import PaymentState
from runtime.clock import Clock
from runtime.metrics import GATEWAY_WAITERS, Metrics
from storage.lookup_keys import LookupKey
from storage.read_ports import Stored, StoredOrder

# The fallback when a report was lost; a report comes within milliseconds.
READ_AGAIN_S = 1.0
# At the end of a wait the order is read once more, so that the answer shows how far it is. It is a
# single look-up; where the books don't answer in this time, the order is shown as it was accepted.
LAST_LOOK_S = 1.0


class Waiter:
    """One held request. Use it in a ``with`` block, entered before the order is appended."""

    def __init__(self, waiters: Waiters, key: LookupKey) -> None:
        self._waiters = waiters
        self.key = key
        self.settled: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()

    def __enter__(self) -> Waiter:
        self._waiters.add(self)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._waiters.drop(self)
        self.settled.cancel()

    async def wait(self, timeout_s: float) -> Stored | None:
        """Return the order: settled, or as it stands when the time is over; None if that can't be read."""
        if not self.settled.done():
            await asyncio.wait((self.settled,), timeout=timeout_s)
        return (
            self.settled.result()
            if self.settled.done()
            else await self._waiters.last_look(self.key)
        )


class Waiters:
    """All waiters of this gateway, by order."""

    def __init__(self, lookups: Lookups, *, count_max: int, clock: Clock, metrics: Metrics) -> None:
        self._lookups = lookups
        self._count_max = count_max
        self._clock = clock
        self._by_order: dict[LookupKey, set[Waiter]] = {}
        self._keys_by_uuid: dict[UUID, LookupKey] = {}
        self._count = 0
        self._reading: asyncio.Task[None] | None = None
        metrics.gauge(GATEWAY_WAITERS).set_function(lambda: self._count)

    def start(self) -> None:
        """Start the reads that make up for lost reports. Call ``close`` in the end."""
        self._reading = asyncio.create_task(self._read_on())

    async def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    @property
    def has_room(self) -> bool:
        """Whether one more request can be held; if not, it is answered at once, with 202."""
        return self._count < self._count_max

    def waiter(self, key: LookupKey) -> Waiter:
        """Return a waiter for the order, to be entered."""
        return Waiter(self, key)

    async def last_look(self, key: LookupKey) -> Stored | None:
        """Return the order as the books have it now, or None when they don't say in time."""
        answer = self._lookups.ask(key)
        await asyncio.wait((answer,), timeout=LAST_LOOK_S)
        if not answer.done():
            answer.cancel()
            return None
        return None if answer.exception() is not None else answer.result()

    def add(self, waiter: Waiter) -> None:
        """Register; called by the waiter's ``with`` block."""
        self._by_order.setdefault(waiter.key, set()).add(waiter)
        self._keys_by_uuid[waiter.key[1]] = waiter.key
        self._count += 1

    def drop(self, waiter: Waiter) -> None:
        """Forget; called by the waiter's ``with`` block."""
        same_order = self._by_order[waiter.key]
        same_order.discard(waiter)
        self._count -= 1
        if not same_order:
            del self._by_order[waiter.key]
            del self._keys_by_uuid[waiter.key[1]]

    def reported_settled(self, order_uuids: Iterable[UUID]) -> None:
        """Read those of these orders that somebody waits for: an owner reported them."""
        for order_uuid in order_uuids:
            key = self._keys_by_uuid.get(order_uuid)
            if key is not None:
                self._read(key)

    async def _read_on(self) -> None:
        while True:
            await asyncio.sleep(READ_AGAIN_S)
            for key in list(self._by_order):
                self._read(key)

    def _read(self, key: LookupKey) -> None:
        # All asked in one turn of the loop become one query.
        self._lookups.ask(key).add_done_callback(partial(self._was_read, key))

    def _was_read(self, key: LookupKey, answer: Answer) -> None:
        if answer.cancelled() or answer.exception() is not None:
            return
        order = answer.result()
        if order is None or not is_wait_over(order):
            return
        for waiter in self._by_order.get(key, ()):
            if not waiter.settled.done():
                waiter.settled.set_result(order)


def is_wait_over(order: Stored) -> bool:
    """Whether waiting longer is no use: it is settled, or it is the buyer's turn to act."""
    if order.is_frozen:
        return True
    return isinstance(order, StoredOrder) and order.view.status == PaymentState.REQUIRES_ACTION.wire
