"""The host's timers: what is due by the database's clock is offered to its partition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from actors.lane_worker import LaneWorker
from actors.settings import TIMERS_EVERY_S, TIMERS_READ_MAX
from payments.rows import TimerKind
from storage.ports import OwnerLedger, StorageUnavailable

_log = structlog.get_logger(__name__)

# While nothing is open, only authorizations have timers, of days.
IDLE_EVERY_S = 2.0


async def fire_timers(
    ledger: OwnerLedger,
    *,
    working: Callable[[], frozenset[int]],
    open_count: Callable[[], int],
    lane_of: Callable[[int], LaneWorker],
) -> None:
    """Look at the timers of the partitions at work until cancelled."""
    idle_s = 0.0
    while True:
        await asyncio.sleep(TIMERS_EVERY_S)
        # Timers of partitions at rest would only stand before those of the others.
        indexes = working()
        idle_s = 0.0 if open_count() else idle_s + TIMERS_EVERY_S
        if not indexes or 0.0 < idle_s < IDLE_EVERY_S:
            continue
        idle_s = 0.0
        try:
            due = await ledger.due_timers(sorted(indexes), count_max=TIMERS_READ_MAX)
        except StorageUnavailable as unavailable:
            _log.warning("timers_postponed", reason=unavailable.reason)
            continue
        for timer in due:
            lane_of(timer.partition_index).partitions.offer_due(
                timer.partition_index, timer.order_no, TimerKind(timer.kind)
            )
