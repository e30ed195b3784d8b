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


async def fire_timers(
    ledger: OwnerLedger,
    *,
    working: Callable[[], frozenset[int]],
    open_count: Callable[[], int],
    lane_of: Callable[[int], LaneWorker],
) -> None:
    """Look at the timers of the partitions at work until cancelled."""
    while True:
        await asyncio.sleep(TIMERS_EVERY_S)
        # Timers of partitions at rest would only stand before those of the others.
        indexes = working()
        if not indexes or not open_count():
            continue
        try:
            due = await ledger.due_timers(sorted(indexes), count_max=TIMERS_READ_MAX)
        except StorageUnavailable as unavailable:
            _log.warning("timers_postponed", reason=unavailable.reason)
            continue
        for timer in due:
            lane_of(timer.partition_index).partitions.offer_due(
                timer.partition_index, timer.order_no, TimerKind(timer.kind)
            )
