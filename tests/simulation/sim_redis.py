"""Redis simulated: a primary and its replica as processes, with what disks and copies hold at each moment.

The semantics are those of ``appendfsync always``: a reply leaves after the fsync of what it tells, the
replica gets what the primary has synced, syncs it too, and then tells its offset. ``WAIT`` counts the
writes of its own connection alone. What is read need not be on any other copy.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from uuid import UUID

from runtime.clock import Clock
from storage.queue_ports import AppendResult, AppendStatus, KeyRecord, Message, QueueEntry
from tests.fakes.fake_queue import append_entry, find_record, next_messages, remove_message
from tests.fakes.fake_queue_server import FakeCopy, FakeQueueServer, StreamId
from tests.simulation.loop import Cell
from tests.simulation.net import Net, Wire
from tests.simulation.ports import Time

Change = Callable[[FakeCopy], None]
Found = tuple[int, StreamId, tuple[bytes, ...]]

# One write and fsync on a fast disk.
FSYNC_S = 0.0004
# How long a new replica needs for its first whole copy.
RESYNC_S = 1.5


@dataclass(slots=True, eq=False)
class RedisSession:
    """One connection, as the server knows it."""

    wire: Wire
    generation: int
    written_offset: int = 0
    """The offset of the last write of this connection: what its WAIT speaks of."""


class SimRedis(FakeQueueServer):
    """A primary and its replica. Handlers run in the primary's process."""

    def __init__(self, time: Time, net: Net, clock: Clock, seed: object) -> None:
        super().__init__(clock)
        self._time = time
        self._net = net
        self._random = random.Random(f"{seed}:redis")
        self.disk = FakeCopy()
        """What the primary has synced."""
        self.replica = FakeCopy()
        self._log: list[Change] = []
        self.fsynced = 0
        self.replica_offset = 0
        self._acked = 0
        self._replica_arrives_s = 0.0
        self.is_replica_whole = True
        """False while the replica makes its first copy: then it must not be promoted."""
        self.id_clock_ms_max: int | None = None
        """Beyond it the clock that ids are made of stands still: ids then follow each other alone, so
        that a promotion gives the lost ones out again."""
        self.frozen_s: list[tuple[float, float]] = []
        """When the replica was frozen, from when until when; a freeze that lasts is not there yet."""
        self._frozen_since_s = 0.0
        self.incarnation = 0
        self.promotion_count = 0
        self._start_primary()

    def _start_primary(self) -> None:
        self.incarnation += 1
        self.cell: Cell = self._time.cell(f"redis-{self.incarnation}")
        self.appended = asyncio.Event()
        self._sync_waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._ack_waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._is_fsync_planned = False
        self._has_scripts = False

    # --- the store's own work -------------------------------------------------------------------------

    @property
    def offset(self) -> int:
        """How many changes the primary has in memory."""
        return len(self._log)

    def write(self, change: Change) -> None:
        """Change the primary's memory; disk and replica follow."""
        change(self.copy)
        self._log.append(change)
        if not self._is_fsync_planned:
            self._is_fsync_planned = True
            self.cell.call_at(self._time.time() + FSYNC_S, self._fsync)

    def next_id(self, partition_index: int) -> StreamId:
        now_ms = int(self.clock.monotonic_s() * 1000)
        if self.id_clock_ms_max is not None:
            now_ms = min(now_ms, self.id_clock_ms_max)
        last = self.copy.last_ids.get(partition_index, (0, 0))
        return (now_ms, 0) if (now_ms, 0) > last else (last[0], last[1] + 1)

    def expire(self) -> None:
        """Forget records whose time has come: a write like any other."""
        now_s = self.clock.monotonic_s()
        for key, record in list(self.copy.records.items()):
            if record.expires_at_s is not None and record.expires_at_s <= now_s:
                self.write(lambda copy, key=key: copy.records.pop(key, None))  # type: ignore[misc]

    def _fsync(self) -> None:
        self._is_fsync_planned = False
        for change in self._log[self.fsynced :]:
            change(self.disk)
        self.fsynced = len(self._log)
        _wake(self._sync_waiters, self.fsynced)
        self._replicate()

    def copy_everywhere(self) -> None:
        """Have every copy hold everything now: for what nobody sends again when it is lost."""
        self._fsync()
        self._replica_gets(self.fsynced, self.incarnation)

    def _replicate(self) -> None:
        arrives_s = self._net.arrival_s("redis-replica", self._time.time())
        self._replica_arrives_s = max(self._replica_arrives_s, arrives_s)
        self._time.world.call_at(
            self._replica_arrives_s, self._replica_gets, self.fsynced, self.incarnation
        )

    def _replica_gets(self, upto: int, incarnation: int) -> None:
        if incarnation != self.incarnation or self.is_replica_frozen or not self.is_replica_whole:
            return
        for change in self._log[self.replica_offset : upto]:
            change(self.replica)
        self.replica_offset = max(self.replica_offset, upto)
        self.cell.call_at(
            self._net.arrival_s("redis-replica", self._time.time()) + FSYNC_S,
            self._replica_told,
            self.replica_offset,
        )

    def _replica_told(self, offset: int) -> None:
        self._acked = max(self._acked, offset)
        _wake(self._ack_waiters, self._acked)

    async def _synced(self) -> None:
        offset = self.offset
        if self.fsynced < offset:
            future = asyncio.get_running_loop().create_future()
            self._sync_waiters.append((offset, future))
            await future

    # --- what clients ask -----------------------------------------------------------------------------

    async def run_append(
        self, session: RedisSession, entries: Sequence[QueueEntry], *, is_source_sent: bool
    ) -> Sequence[AppendResult] | None:
        """Run the append script; None where the server does not know it (NOSCRIPT)."""
        if not self._has_scripts and not is_source_sent:
            return None
        self._has_scripts = True
        self.expire()
        before = self.offset
        results = [append_entry(self, entry) for entry in entries]
        if self.offset > before:
            session.written_offset = self.offset
        new_count = sum(result.status is AppendStatus.NEW for result in results)
        self._time.effect(f"redis append {new_count} of {len(results)} at {self.offset}")
        await self._synced()
        return results

    async def run_wait(self, session: RedisSession, timeout_s: float) -> bool:
        """WAIT and WAITAOF for one replica: about this connection's writes alone."""
        wanted = session.written_offset
        if self._acked < wanted:
            future = asyncio.get_running_loop().create_future()
            self._ack_waiters.append((wanted, future))
            await asyncio.wait((future,), timeout=timeout_s)
        return self._acked >= wanted

    async def run_find(
        self, session: RedisSession, partition_index: int, order_uuid: UUID
    ) -> KeyRecord | None:
        """Run the find script."""
        self.expire()
        record = find_record(self, partition_index, order_uuid)
        if record is not None:
            session.written_offset = self.offset
            await self._synced()
        return record

    async def run_read(
        self, cursors: dict[int, StreamId], turns: Sequence[int], count_max: int, wait_s: float
    ) -> list[Found]:
        """XREAD BLOCK: what is there, else what comes within the wait."""
        found = next_messages(self.copy, cursors, turns, count_max)
        ends_s = self._time.time() + wait_s
        while not found and self._time.time() < ends_s:
            self.appended.clear()
            waiting = asyncio.ensure_future(self.appended.wait())
            await asyncio.wait((waiting,), timeout=ends_s - self._time.time())
            waiting.cancel()
            found = next_messages(self.copy, cursors, turns, count_max)
        return found

    async def run_remove(self, messages: Sequence[Message]) -> int:
        """XDEL and EXPIRE in one MULTI."""
        removed = [m.stream_id for m in messages if remove_message(self, m)]
        self._time.effect(f"redis remove {len(removed)} of {len(messages)}")
        await self._synced()
        return len(removed)

    def run_subscribe(self, reply_to: str, hear: Callable[[bytes], None]) -> None:
        """SUBSCRIBE: until the server is gone."""
        self.subscribers[reply_to] = hear

    def run_publish(self, reply_to: str, payload: bytes) -> None:
        """PUBLISH: whoever listens now hears it, nobody else ever."""
        self.published.append((reply_to, payload))
        subscriber = self.subscribers.get(reply_to)
        if subscriber is not None:
            subscriber(payload)

    # --- faults ---------------------------------------------------------------------------------------

    def freeze_replica(self) -> None:
        if not self.is_replica_frozen:
            self.is_replica_frozen = True
            self._frozen_since_s = self._time.time()

    def thaw_replica(self) -> None:
        self._note_thaw()
        self._replicate()

    def _note_thaw(self) -> None:
        if self.is_replica_frozen:
            self.is_replica_frozen = False
            self.frozen_s.append((self._frozen_since_s, self._time.time()))

    def crash(self) -> None:
        """Kill the primary: its memory is gone, and some of what it had not synced may have been written."""
        if self.cell.is_dead:
            return
        self.cell.kill()
        self.subscribers.clear()
        kept = self._random.randint(self.fsynced, self.offset)
        for change in self._log[self.fsynced : kept]:
            change(self.disk)
        self._time.effect(f"redis lost its primary, and {self.offset - kept} writes with it")
        del self._log[kept:]
        self.fsynced = kept

    def restart(self) -> None:
        """Start the primary again, in place, on what its disk holds."""
        if self.cell.is_dead:
            self.copy = deepcopy(self.disk)
            self._start_primary()
            self._acked = 0
            self._time.effect(f"redis restarts at {self.offset}")
            if self.is_replica_whole:
                self._replicate()
            else:
                self.cell.call_at(self._time.time() + RESYNC_S, self._resync)

    def promote(self) -> None:
        """Make the replica the primary, with what it has: all that was ever confirmed, perhaps no more.

        While it makes its first copy it has not even that: then the primary is restarted in place.
        """
        self.crash()
        if not self.is_replica_whole:
            self.restart()
            return
        self._note_thaw()
        lost_count = self.fsynced - self.replica_offset
        del self._log[self.replica_offset :]
        self.copy, self.disk = self.replica, deepcopy(self.replica)
        self.fsynced = self.replica_offset
        self._start_primary()
        self.promotion_count += 1
        self._acked = 0
        self.is_replica_whole = False
        self.cell.call_at(self._time.time() + RESYNC_S, self._resync)
        self._time.effect(f"redis promotes its replica; {lost_count} synced writes are lost")

    def _resync(self) -> None:
        self.replica, self.replica_offset = deepcopy(self.disk), self.fsynced
        self.is_replica_whole = True
        self._replicate()


def _wake(waiters: list[tuple[int, asyncio.Future[None]]], reached: int) -> None:
    for waiter in list(waiters):
        if waiter[0] <= reached:
            waiters.remove(waiter)
            if not waiter[1].done():
                waiter[1].set_result(None)
