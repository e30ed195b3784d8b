"""The queue as a gateway uses it, on a cluster: each partition's order goes to its own server.

A wait proves what its own connection wrote, and here a batch is written on several. So the sessions
of all servers written to make up one generation: when one of them ends, the generation is over, and
what it wrote and did not prove is appended again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from payments.defects import InvariantViolation
from runtime.faults import StorageUnavailable
from storage.queue_connection import PartitionMoved
from storage.queue_gateway import APPEND_ENTRIES_MAX, RedisGatewayQueue
from storage.queue_ports import (
    AppendBatch,
    AppendResult,
    ConnectionReplaced,
    KeyRecord,
    QueueEntry,
)
from storage.queue_sessions import STORE
from storage.queue_settings import QueueAddress, QueueSettings
from storage.queue_topology import Topology, stays_at

# A partition that has moved is looked for once; if it moves again meanwhile, the caller comes again.
APPEND_TRIES_MAX = 2


class ClusterGatewayQueue:
    """One connection to each server of a cluster (``storage.queue_ports.GatewayQueue``)."""

    def __init__(self, settings: QueueSettings) -> None:
        self._settings = settings
        self._topology = Topology(settings)
        self._queues: dict[QueueAddress, RedisGatewayQueue] = {}
        self._turn = asyncio.Lock()
        self._generation = 1
        self._written: dict[QueueAddress, int] = {}
        """Servers written to in this generation, with the session's own number."""

    async def append(self, entries: Sequence[QueueEntry]) -> AppendBatch:
        """See ``storage.queue_ports.GatewayQueue``. One script call for each partition."""
        if not 1 <= len(entries) <= APPEND_ENTRIES_MAX:
            raise InvariantViolation(f"{len(entries)} entries are not 1..{APPEND_ENTRIES_MAX}")
        async with self._turn:
            results: dict[int, AppendResult] = {}
            for tries_left in reversed(range(APPEND_TRIES_MAX)):
                left = [n for n in range(len(entries)) if n not in results]
                faults = await self._append_once(entries, left, results)
                if not faults:
                    break
                is_moved = all(isinstance(fault, PartitionMoved) for fault in faults)
                if not tries_left or not is_moved:
                    # Also what was appended just now can't be told apart any more from what was not.
                    self._end_generation()
                    raise faults[0]
            return AppendBatch(
                results=[results[n] for n in range(len(entries))], generation=self._generation
            )

    async def wait_durable(self, batch: AppendBatch, *, timeout_ms: int) -> bool:
        """See ``storage.queue_ports.GatewayQueue``. True once every server written to says so."""
        async with self._turn:
            if batch.generation != self._generation:
                raise ConnectionReplaced(f"the connections of {batch.generation} are gone")
            waits = [
                self._queues[address].wait_durable(
                    AppendBatch(results=(), generation=generation), timeout_ms=timeout_ms
                )
                for address, generation in self._written.items()
            ]
            answers = await asyncio.gather(*waits, return_exceptions=True)
            for answer in answers:
                if isinstance(answer, BaseException):
                    self._end_generation()
                    self._topology.doubt()
                    raise answer
            return all(answers)

    async def find(
        self, partition_index: int, order_uuid: UUID, *, timeout_ms: int
    ) -> KeyRecord | None:
        """See ``storage.queue_ports.GatewayQueue``."""
        (address,) = await self._topology.places((partition_index,))
        try:
            return await self._queue_at(address).find(
                partition_index, order_uuid, timeout_ms=timeout_ms
            )
        except StorageUnavailable:
            self._topology.doubt()
            raise

    async def close(self) -> None:
        """Close all connections."""
        for queue in self._queues.values():
            await queue.close()

    async def _append_once(
        self, entries: Sequence[QueueEntry], wanted: Sequence[int], results: dict[int, AppendResult]
    ) -> list[StorageUnavailable]:
        """Append the wanted entries, add to ``results`` what the servers said; return their faults."""
        groups: dict[int, list[int]] = {}
        for n in wanted:
            groups.setdefault(entries[n].partition_index, []).append(n)
        places = await self._topology.places(groups)
        await self._close_unused(await self._topology.primaries())

        async def append_at(address: QueueAddress, indexes: Sequence[int]) -> None:
            appended = await self._queue_at(address).append_apart(
                [[entries[n] for n in groups[index]] for index in indexes]
            )
            self._note_written(address, appended.generation)
            order = [n for index in indexes for n in groups[index]]
            results.update(zip(order, appended.results, strict=True))

        ended = await asyncio.gather(
            *(append_at(address, indexes) for address, indexes in places.items()),
            return_exceptions=True,
        )
        faults: list[StorageUnavailable] = []
        for fault in ended:
            if isinstance(fault, StorageUnavailable):
                faults.append(fault)
            elif fault is not None:
                raise fault
        if faults:
            self._topology.doubt()
        return faults

    def _note_written(self, address: QueueAddress, generation: int) -> None:
        before = self._written.get(address)
        if before is not None and before != generation:
            raise StorageUnavailable(STORE, "a session ended between an append and its proof")
        self._written[address] = generation

    def _end_generation(self) -> None:
        self._generation += 1
        self._written = {}

    def _queue_at(self, address: QueueAddress) -> RedisGatewayQueue:
        queue = self._queues.get(address)
        if queue is None:
            queue = RedisGatewayQueue(self._settings, locate=stays_at(address))
            self._queues[address] = queue
        return queue

    async def _close_unused(self, primaries: frozenset[QueueAddress]) -> None:
        """Close the connections to servers that serve nothing any more, and end what they proved."""
        for address in self._queues.keys() - primaries:
            if address in self._written:
                self._end_generation()
            await self._queues.pop(address).close()
