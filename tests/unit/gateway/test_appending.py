"""A lane proves on the connection that wrote, also when that one was replaced unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from gateway.appending import AppendLanes
from gateway.open_requests import Decided, OpenRequest
from runtime.metrics import Metrics
from storage.queue_ports import AppendBatch, AppendResult, AppendStatus, KeyRecord, QueueEntry
from tests.queue_commands import an_entry
from tests.unit.gateway.ticking import TickingClock


class ChangingQueue:
    """Each append is on another connection; a wait proves what was written on that one alone."""

    def __init__(self) -> None:
        self.generation = 0
        self.written: dict[int, list[UUID]] = {}
        self.proven: set[UUID] = set()
        self.is_slow = True

    async def append(self, entries: Sequence[QueueEntry]) -> AppendBatch:
        self.generation += 1
        self.written[self.generation] = [entry.order_uuid for entry in entries]
        results = [
            AppendResult(AppendStatus.NEW, entry.fingerprint, entry.accepted_at_ms, "1-0")
            for entry in entries
        ]
        return AppendBatch(results=results, generation=self.generation)

    async def wait_durable(self, batch: AppendBatch, *, timeout_ms: int) -> bool:
        await asyncio.sleep(0.001)
        if self.is_slow:
            return False
        self.proven.update(self.written[batch.generation])
        return True

    async def find(
        self, partition_index: int, order_uuid: UUID, *, timeout_ms: int
    ) -> KeyRecord | None:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing is open."""


async def test_an_earlier_connections_writes_are_appended_again() -> None:
    """Nothing counts as proven but what the proof was asked for."""
    queue = ChangingQueue()
    learned: list[OpenRequest] = []
    lanes = AppendLanes([queue], learned=learned.append, clock=TickingClock(), metrics=Metrics())
    futures: list[asyncio.Future[Decided]] = []

    def request() -> OpenRequest:
        futures.append(asyncio.get_running_loop().create_future())
        return OpenRequest(an_entry(), deadline_s=60.0, future=futures[-1])

    lanes.start()
    first, second = request(), request()
    lanes.submit(first)
    while queue.generation < 1:
        await asyncio.sleep(0)
    lanes.submit(second)
    while queue.generation < 2:
        await asyncio.sleep(0)
    queue.is_slow = False
    async with asyncio.timeout(5):
        while not (first.is_durable and second.is_durable):
            await asyncio.sleep(0.001)
    await lanes.close()
    assert {first.entry.order_uuid, second.entry.order_uuid} <= queue.proven
