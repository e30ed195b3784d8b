"""What waits for a lane's flushes."""

from __future__ import annotations

from typing import cast

import pytest

from actors.calls import PspCalls
from actors.inbox import Inbox
from actors.lane_partitions import LanePartitions
from tests.manual_clock import ManualClock
from tests.unit.actors.messages import a_message


class IdleCalls:
    """No call is under way."""

    def is_busy(self, partition_index: int, order_no: int) -> bool:
        return False


@pytest.mark.interpreted
async def test_what_a_flush_had_no_room_for_is_told_from_what_came_meanwhile() -> None:
    """A lane must not pause for long while work of before its flush waits, in partitions that work."""
    clock = ManualClock()
    partitions = LanePartitions(cast("PspCalls", IdleCalls()), clock)
    for index in (0, 1, 2):
        partitions._inboxes[index] = Inbox()
        partitions.offer_messages(index, [a_message(index + 1, partition_index=index)])
    clock.advance(1.0)
    started_s = clock.monotonic_s()
    clock.advance(0.01)
    for index in partitions.select(2):
        partitions._inboxes[index].take(10, clock.monotonic_s(), bytes_max=1_000_000)
        partitions.offer_messages(index, [a_message(9, partition_index=index)])
    assert partitions.waits_since(started_s)
    partitions._halted.add(2)
    assert not partitions.waits_since(started_s)
    assert partitions.has_work
