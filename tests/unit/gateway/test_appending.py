"""Append lanes: what proves an append, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from gateway.appending import AppendLanes
from gateway.open_requests import OpenRequest
from runtime.metrics import Metrics
from storage.queue_ports import (
    AppendBatch,
    AppendResult,
    AppendStatus,
    ConnectionReplaced,
    KeyRecord,
    QueueEntry,
)
from tests.manual_clock import ManualClock
from tests.queue_commands import an_entry


class ReplacedQueue:
    """Its first connection ends right after a wait that was too short; the next append makes another one.

    So it happens to a gateway that is frozen while the reply is on its way, and the primary dies.
    """

    def __init__(self) -> None:
        self.generation = 1
        self.appended: list[tuple[int, UUID]] = []
        self.waited = asyncio.Event()

    async def append(self, entries: Sequence[QueueEntry]) -> AppendBatch:
        self.appended += [(self.generation, entry.order_uuid) for entry in entries]
        results = [
            AppendResult(AppendStatus.NEW, entry.fingerprint, entry.accepted_at_ms, "1-0")
            for entry in entries
        ]
        return AppendBatch(results=results, generation=self.generation)

    async def wait_durable(self, batch: AppendBatch, *, timeout_ms: int) -> bool:
        if batch.generation != self.generation:
            raise ConnectionReplaced("gone")
        if self.generation == 1:
            self.waited.set()
            await asyncio.sleep(0)
            self.generation = 2
            return False
        return True

    async def find(
        self, partition_index: int, order_uuid: UUID, *, timeout_ms: int
    ) -> KeyRecord | None:
        return None

    async def close(self) -> None:
        """Nothing is open."""


def _request(entry: QueueEntry) -> OpenRequest:
    return OpenRequest(
        entry, deadline_s=10_000.0, future=asyncio.get_running_loop().create_future()
    )


async def test_a_wait_proves_nothing_that_another_connection_wrote() -> None:
    """What was appended before a reconnection counts as proven only once it was appended again."""
    queue = ReplacedQueue()
    lanes = AppendLanes(
        [queue], learned=lambda _request: None, clock=ManualClock(), metrics=Metrics()
    )
    first, second = _request(an_entry()), _request(an_entry())
    lanes.start()
    lanes.submit(first)
    await queue.waited.wait()
    lanes.submit(second)
    async with asyncio.timeout(5):
        while not (first.is_durable and second.is_durable):
            await asyncio.sleep(0.001)
    await lanes.close()
    assert (1, first.entry.order_uuid) in queue.appended
    assert (2, first.entry.order_uuid) in queue.appended
