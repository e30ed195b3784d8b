"""Finding one payment: in the books, else in the queue. "Not found" needs the word of both."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from gateway.lookups import Lookups
from gateway.problems import Code, Problem, store_unavailable
from gateway.rendering import accepted_view
from gateway.seller_cache import SellerCache
from payments.answer import OrderView, splits_text
from payments.commands import PaymentCommand
from runtime.faults import StorageUnavailable
from storage.lookup_keys import LookupKey, OrderLookup
from storage.queue_ports import GatewayQueue, KeyRecord
from storage.read_ports import StoredOrder

# A record must be on every copy promised before it is shown, which takes milliseconds.
FIND_TIMEOUT_MS = 2_000
# Reads of the queue that may wait for a connection: 250 a second at 4 ms each.
FINDS_PENDING_MAX = 128

NOT_FOUND = Problem(
    code=Code.PAYMENT_NOT_FOUND,
    detail="Neither the books nor the queue know such a payment of this merchant and mode.",
)
_CANT_TELL = store_unavailable("Whether this payment exists can't be told now.", may_run=True)
_TOO_MANY = Problem(
    code=Code.QUEUE_BACKPRESSURE, detail="Too many look-ups of new payments wait; try again soon."
)


class Found(NamedTuple):
    """A payment, its row in the books if it is there already, and its request's fingerprint."""

    view: OrderView
    order: StoredOrder | None
    fingerprint: bytes


class Finding:
    """Reads single payments, never from a replica."""

    def __init__(
        self, lookups: Lookups, queues: Sequence[GatewayQueue], sellers: SellerCache
    ) -> None:
        self._lookups = lookups
        self._sellers = sellers
        self._pending_count = 0
        self._free: asyncio.Queue[GatewayQueue] = asyncio.Queue()
        for queue in queues:
            self._free.put_nowait(queue)

    async def find(self, key: OrderLookup) -> Found | Problem:
        """Return the payment, or the problem: 404 when it is nowhere, 503 when that can't be told."""
        try:
            order = await self._lookups.find(key)
            if order is not None:
                return Found(order.shown, order, order.fingerprint)
            return await self._find_in_queue(key)
        except StorageUnavailable:
            return _CANT_TELL

    async def record(self, key: LookupKey) -> KeyRecord | Problem | None:
        """Return what the queue holds under a key, also of what is no order. Raises StorageUnavailable."""
        if self._pending_count >= FINDS_PENDING_MAX:
            return _TOO_MANY
        self._pending_count += 1
        try:
            queue = await self._free.get()
            try:
                return await queue.find(*key, timeout_ms=FIND_TIMEOUT_MS)
            finally:
                self._free.put_nowait(queue)
        finally:
            self._pending_count -= 1

    async def _find_in_queue(self, key: OrderLookup) -> Found | Problem:
        record = await self.record(key)
        if isinstance(record, Problem):
            return record
        if record is None:
            return NOT_FOUND
        if record.command is not None:
            return await self._accepted(record.command, record.accepted_at_ms)
        # Taken in since we asked, most likely. Else it can't be decoded, and its owner will say so.
        order = await self._lookups.find(key)
        if order is None:
            return _CANT_TELL
        return Found(order.shown, order, order.fingerprint)

    async def _accepted(self, command: PaymentCommand, accepted_at_ms: int) -> Found | Problem:
        splits = command.splits or ()
        seller_ids: list[str] = []
        for seller_no in (command.seller_no, *(split.seller_no for split in splits)):
            seller_id = await self._sellers.seller_id_of(
                command.merchant_no, command.mode, seller_no
            )
            if seller_id is None:
                return _CANT_TELL
            seller_ids.append(seller_id)
        shown = splits_text(splits, seller_ids[1:]) if splits else None
        view = accepted_view(command, seller_ids[0], accepted_at_ms, shown)
        return Found(view, None, command.fingerprint)
