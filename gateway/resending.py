"""Sends acknowledged orders again after the queue's primary changed.

A promotion may bring up a copy that lacks what the old primary and another copy held, or an operator
may accept one that was behind. So the histories that the primaries write are looked at each second,
and with a new one every order that no owner has reported is appended once more, through the same
script, which knows duplicates, on a connection beside those of new orders.

Nothing is waited for: what was appended stays unreported until its owner speaks of it, and should
this primary be lost too, its successor's history is a new one again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.appending import APPEND_ENTRIES_MAX
from gateway.unreported import Unreported
from runtime.clock import Clock
from runtime.faults import StorageUnavailable
from runtime.logs import get_logger
from runtime.metrics import GATEWAY_PRIMARY_CHANGES, GATEWAY_RESENT_ORDERS, Metrics
from storage.queue_ports import AppendStatus, GatewayQueue, QueueEntry

# The promise is to notice a new primary within a second or so.
LOOK_S = 1.0
# While no primary answers: it may be back, or another one be promoted, at any moment.
LOOK_AGAIN_S = 0.25
# What a stream had no room for, or a fault kept back, is tried again after this time.
RESEND_AGAIN_S = 0.5
# Between two calls of the script, so that new orders get their turn on the server.
PAUSE_S = 0.005


class Resending:
    """One for a gateway. ``run`` it until it is cancelled."""

    def __init__(
        self,
        queue: GatewayQueue,
        histories: Callable[[], Awaitable[frozenset[bytes]]],
        unreported: Unreported,
        *,
        late_ack_s: float,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """``queue`` is its own connection. ``histories`` tells the replication ids of the primaries.

        ``late_ack_s`` is how long an acknowledgement of the old primary may still be on its way here:
        so long after a change, what is unreported is sent once more.
        """
        self._queue = queue
        self._histories = histories
        self._unreported = unreported
        self._late_ack_s = late_ack_s
        self._clock = clock
        self._known: frozenset[bytes] = frozenset()
        self._again_at_s: float | None = None
        self._late_at_s: float | None = None
        self._log = get_logger("gateway.resending")
        self._resent = metrics.counter(GATEWAY_RESENT_ORDERS)
        self._changes = metrics.counter(GATEWAY_PRIMARY_CHANGES)

    async def run(self) -> None:
        """Look and send, for ever. Ends by cancellation alone."""
        while True:
            pause_s = await self.turn()
            await asyncio.sleep(pause_s)

    async def turn(self) -> float:
        """Look once, and send if need be. Returns after how many seconds to come again."""
        try:
            histories = await self._histories()
        except StorageUnavailable:
            return LOOK_AGAIN_S
        is_new = not histories <= self._known
        # At a start the first history is none to compare with; but nothing may have been missed.
        if is_new and (self._known or len(self._unreported)):
            self._changes.inc()
            self._log.warning("queue_primary_changed", unreported=len(self._unreported))
            self._late_at_s = self._clock.monotonic_s() + self._late_ack_s
            await self._send()
        elif self._again_at_s is not None and self._clock.monotonic_s() >= self._again_at_s:
            await self._send()
        self._known = histories
        return LOOK_S if self._again_at_s is None else min(LOOK_S, RESEND_AGAIN_S)

    async def _send(self) -> None:
        """Append everything unreported once; what could not be taken is left to a later turn."""
        entries = self._unreported.all()
        sent_count = left_count = 0
        for start in range(0, len(entries), APPEND_ENTRIES_MAX):
            # Owners go on reporting meanwhile.
            portion = [
                entry
                for entry in entries[start : start + APPEND_ENTRIES_MAX]
                if self._unreported.holds(entry.order_uuid)
            ]
            taken_count = await self._append(portion) if portion else 0
            sent_count += taken_count
            left_count += len(portion) - taken_count
            await asyncio.sleep(PAUSE_S)
        self._resent.inc(sent_count)
        if entries:
            self._log.warning("orders_sent_again", count=sent_count, left=left_count)
        now_s = self._clock.monotonic_s()
        if left_count:
            self._again_at_s = now_s + RESEND_AGAIN_S
        elif self._late_at_s is not None and now_s < self._late_at_s:
            self._again_at_s = self._late_at_s
        else:
            self._again_at_s = self._late_at_s = None

    async def _append(self, entries: list[QueueEntry]) -> int:
        """Return how many the queue has now."""
        try:
            appended = await self._queue.append(entries)
        except StorageUnavailable:
            return 0
        for entry, result in zip(entries, appended.results, strict=True):
            is_other = result.fingerprint != entry.fingerprint
            if result.status is AppendStatus.DUPLICATE and is_other:
                # Only where acknowledged orders were lost: another body under the key came first since.
                self._log.error("order_displaced", order_uuid=str(entry.order_uuid))
        return sum(result.status is not AppendStatus.FULL for result in appended.results)
