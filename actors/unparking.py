"""Parked orders that an operator lets go on: looked for each second, rebuilt by a claim from ourselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from actors.lane_worker import LaneWorker
from storage.ports import StorageUnavailable
from storage.unparking import Unparking

_log = structlog.get_logger(__name__)

# An operator waits for this; one query of a host in it, of a table that is empty but for trouble.
LOOK_EVERY_S = 1.0


async def run_unparking(
    unparking: Unparking | None,
    lanes: Sequence[LaneWorker],
    working: Callable[[], frozenset[int]],
    on_unparked: Callable[[frozenset[int]], None],
) -> None:
    """Look until cancelled. Without anywhere to look it only waits for that: its end would end the host."""
    if unparking is None:
        await asyncio.Event().wait()
        return
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            await _unpark_wanted(unparking, lanes, working(), on_unparked)
        except StorageUnavailable as unavailable:
            _log.warning("unparking_postponed", reason=unavailable.reason)


async def _unpark_wanted(
    unparking: Unparking,
    lanes: Sequence[LaneWorker],
    working: frozenset[int],
    on_unparked: Callable[[frozenset[int]], None],
) -> None:
    if not working:
        return
    for partition_index, order_no in await unparking.wanted(sorted(working)):
        lane = lanes[partition_index % len(lanes)]
        # No flush meanwhile, and none of the partition until it is claimed anew: the order is neither parked nor
        # in memory then, and what an operation is to move would be counted nowhere.
        async with lane.lock:
            epoch = lane.partitions.epoch_of(partition_index)
            if epoch is None:
                continue
            try:
                await unparking.unpark(partition_index, epoch, order_no)
            finally:
                # Also when nobody knows whether it was written: then no later look would find the order.
                lane.partitions.suspend(frozenset({partition_index}))
                on_unparked(frozenset({partition_index}))
        _log.info("order_unparked", partition=partition_index, order=order_no)
