"""The queue as an owner uses it, on a cluster: each partition is read and removed at its own server.

A read can wait for streams of one hash slot alone, so all are asked over and over instead, the more
seldom the longer nothing comes. A server that fails is left alone for a while: its partitions wait
for the cluster to promote a copy, and the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, TypeVar

from redis.exceptions import TimeoutError as RedisTimeoutError

from runtime.clock import Clock
from runtime.faults import StorageUnavailable
from storage.queue_connection import PartitionMoved
from storage.queue_owner import RedisOwnerQueue
from storage.queue_ports import NOBODY, Message
from storage.queue_sessions import STORE
from storage.queue_settings import QueueAddress, QueueSettings
from storage.queue_topology import Topology, stays_at

T = TypeVar("T")

# Between two looks at empty streams: what an order may lose, against what an idle host costs.
POLL_S_MIN = 0.005
POLL_S_MAX = 0.02
# A server that did not answer holds up the others by its time-out; so it is asked again only then.
SILENT_AWAY_S = 5.0
# One that refuses costs little. A lost connection alone is no fault of the server: it is made again.
REFUSING_AWAY_S = 0.25


class ClusterOwnerQueue:
    """One connection to each server of a cluster (``storage.queue_ports.OwnerQueue``)."""

    def __init__(self, settings: QueueSettings, *, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._topology = Topology(settings)
        self._queues: dict[QueueAddress, RedisOwnerQueue] = {}
        # Of all sessions on all servers: a message of one must never be removed on another.
        self._generations = count(1)
        self._owned: frozenset[int] = frozenset()
        self._resting: frozenset[int] = NOBODY
        self._away_until_s: dict[QueueAddress, float] = {}
        self._is_failing: set[QueueAddress] = set()
        """Whose last answer was a fault."""
        self._rotation = 0

    def own(self, partition_indexes: frozenset[int], resting: frozenset[int] = NOBODY) -> None:
        """See ``storage.queue_ports.OwnerQueue``."""
        gone = self._owned - partition_indexes
        self._owned, self._resting = partition_indexes, resting
        # Once given up it starts at 0-0 again, also when it comes back before the next read.
        self.reread(gone)

    def reread(self, partition_indexes: frozenset[int]) -> None:
        """See ``storage.queue_ports.OwnerQueue``."""
        for queue in self._queues.values():
            queue.reread(partition_indexes)

    async def read(self, *, count_max: int, wait_ms_max: int) -> Sequence[Message]:
        """See ``storage.queue_ports.OwnerQueue``."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_ms_max / 1000
        pause_s = POLL_S_MIN
        while True:
            messages = await self._read_now(count_max)
            left_s = deadline_s - loop.time()
            if messages or left_s <= 0:
                return messages
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, POLL_S_MAX)

    async def read_raw(
        self, partition_index: int, *, after: str, count_max: int
    ) -> Sequence[Message]:
        """See ``storage.queue_ports.OwnerQueue``."""
        places = await self._present((partition_index,))
        if not places:
            raise StorageUnavailable(STORE, f"the server of partition {partition_index} is away")
        (address,) = places
        asking = self._queue_at(address).read_raw(partition_index, after=after, count_max=count_max)
        return (await self._all_of({address: asking}))[address]

    async def waiting(self, partition_indexes: frozenset[int]) -> frozenset[int]:
        """See ``storage.queue_ports.OwnerQueue``. Those of a server that is away are left out."""
        places = await self._present(partition_indexes)
        found = await self._all_of(
            {
                address: self._queue_at(address).waiting(frozenset(indexes))
                for address, indexes in places.items()
            }
        )
        return frozenset().union(*found.values())

    async def remove(self, messages: Sequence[Message]) -> int:
        """See ``storage.queue_ports.OwnerQueue``. Those of a server that is away are dropped."""
        if not messages:
            return 0
        by_partition: dict[int, list[Message]] = {}
        for message in messages:
            by_partition.setdefault(message.partition_index, []).append(message)
        places = await self._present(by_partition)
        removed = await self._all_of(
            {
                address: self._queue_at(address).remove(
                    [message for index in indexes for message in by_partition[index]]
                )
                for address, indexes in places.items()
            }
        )
        return sum(removed.values())

    async def publish(self, reply_to: str, payload: bytes) -> None:
        """See ``storage.queue_ports.OwnerQueue``. Any server passes it on to all."""
        now_s = self._clock.monotonic_s()
        for address in sorted(await self._topology.primaries(), key=lambda a: (a.host, a.port)):
            if self._away_until_s.get(address, 0.0) <= now_s:
                await self._all_of({address: self._queue_at(address).publish(reply_to, payload)})
                return
        raise StorageUnavailable(STORE, "every server of the cluster is away")

    async def close(self) -> None:
        """Close all connections."""
        for queue in self._queues.values():
            await queue.close()

    async def _read_now(self, count_max: int) -> list[Message]:
        working = self._owned - self._resting
        if not working:
            return []
        places = await self._present(self._owned)
        for address, queue in self._queues.items():
            if address not in places:
                # What moved elsewhere, and may come back, starts at 0-0 then.
                queue.own(NOBODY)
        weights: dict[QueueAddress, int] = {}
        for address, indexes in places.items():
            own = frozenset(indexes)
            self._queue_at(address).own(own, self._resting & own)
            if count := len(own & working):
                weights[address] = count
        messages: list[Message] = []
        while weights and (left := count_max - len(messages)) > 0:
            shares = self._shares(left, weights)
            read = await self._all_of(
                {
                    address: self._queue_at(address).read(count_max=share, wait_ms_max=0)
                    for address, share in shares.items()
                }
            )
            for found in read.values():
                messages += found
            # What the others left of their shares goes to those that filled theirs.
            full = {a for a, found in read.items() if len(found) == shares[a]}
            weights = {a: weight for a, weight in weights.items() if a in full}
        return messages

    def _shares(self, count: int, weights: Mapping[QueueAddress, int]) -> dict[QueueAddress, int]:
        """Divide ``count`` in proportion; the rest goes one by one, beginning elsewhere each time."""
        total = sum(weights.values())
        shares = {address: count * weight // total for address, weight in weights.items()}
        self._rotation += 1
        order = sorted(weights, key=lambda a: (a.host, a.port))
        for n in range(count - sum(shares.values())):
            shares[order[(n + self._rotation) % len(order)]] += 1
        return {address: share for address, share in shares.items() if share}

    async def _present(self, partition_indexes: Iterable[int]) -> dict[QueueAddress, list[int]]:
        """Return the partitions by server, without servers that are away."""
        now_s = self._clock.monotonic_s()
        places = await self._topology.places(partition_indexes)
        primaries = await self._topology.primaries()
        for address in self._queues.keys() - primaries:
            await self._queues.pop(address).close()
            self._away_until_s.pop(address, None)
            self._is_failing.discard(address)
        return {a: i for a, i in places.items() if self._away_until_s.get(a, 0.0) <= now_s}

    async def _all_of(
        self, work: Mapping[QueueAddress, Coroutine[Any, Any, T]]
    ) -> dict[QueueAddress, T]:
        """Return what the servers answered. Raises the first fault when none of them did."""
        done = await asyncio.gather(*work.values(), return_exceptions=True)
        answers: dict[QueueAddress, T] = {}
        fault: StorageUnavailable | None = None
        for address, answer in zip(work, done, strict=True):
            if isinstance(answer, StorageUnavailable):
                fault = answer
                self._topology.doubt()
                self._note_fault(address, answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                self._is_failing.discard(address)
                answers[address] = answer
        if fault is not None and not answers:
            raise fault
        return answers

    def _note_fault(self, address: QueueAddress, fault: StorageUnavailable) -> None:
        if isinstance(fault, PartitionMoved):
            return
        away_s = REFUSING_AWAY_S if address in self._is_failing else 0.0
        if isinstance(fault.__cause__, (TimeoutError, RedisTimeoutError)):
            away_s = SILENT_AWAY_S
        self._is_failing.add(address)
        self._away_until_s[address] = self._clock.monotonic_s() + away_s

    def _queue_at(self, address: QueueAddress) -> RedisOwnerQueue:
        queue = self._queues.get(address)
        if queue is None:
            queue = self._queues[address] = RedisOwnerQueue(
                self._settings,
                clock=self._clock,
                locate=stays_at(address),
                generations=self._generations,
            )
        return queue
