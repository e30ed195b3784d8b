"""What the simulated stores do when they fail: each behaviour that the real ones can show."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar
from uuid import UUID

import pytest

from runtime.faults import StorageUnavailable
from storage.ports import CommitUnknown, LaneReplaced
from storage.queue_ports import AppendStatus, ConnectionReplaced
from tests.books import Writer
from tests.queue_commands import an_entry
from tests.simulation.loop import SimLoop, running_loop
from tests.simulation.net import Net, Weather
from tests.simulation.processes import SimClock
from tests.simulation.sim_ledger import SimLedger, SimOwnership
from tests.simulation.sim_postgres import SimPostgres
from tests.simulation.sim_queue import SimGatewayQueue, SimOwnerQueue
from tests.simulation.sim_redis import RESYNC_S, SimRedis

T = TypeVar("T")

KEYS = [UUID(int=number, version=4) for number in range(1, 20)]


class Queue:
    """A pair of servers and connections to it."""

    def __init__(self, loop: SimLoop, weather: Weather | None = None) -> None:
        self.loop = loop
        self.net = Net(1, weather or Weather())
        self.clock = SimClock(loop)
        self.redis = SimRedis(loop, self.net, self.clock, 1)
        self.gateway = SimGatewayQueue(self.redis, self.net)
        self.owner = SimOwnerQueue(self.redis, self.net, self.clock)
        self.owner.own(frozenset({0}))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def append(self, number: int) -> bool:
        """Append one order; return whether it was new, and fail if it isn't durable."""
        batch = self.run(self.gateway.append([an_entry(0, KEYS[number])]))
        assert self.run(self.gateway.wait_durable(batch, timeout_ms=500))
        return batch.results[0].status is AppendStatus.NEW

    def read_ids(self) -> list[str]:
        found = self.run(self.owner.read(count_max=100, wait_ms_max=10))
        return [message.stream_id for message in found]


def test_a_restart_in_place_keeps_what_was_acknowledged() -> None:
    """Killed and started again, the primary holds every order that was proven."""
    with running_loop(1) as loop:
        queue = Queue(loop)
        assert queue.append(0)
        queue.redis.crash()
        with pytest.raises(StorageUnavailable):
            queue.run(queue.gateway.append([an_entry(0, KEYS[1])]))
        queue.redis.restart()
        assert not queue.append(0)
        assert queue.append(1)


def test_when_the_replica_was_frozen_is_known() -> None:
    """From the first freeze to the first thaw or promotion, whatever froze and thawed meanwhile."""
    with running_loop(1) as loop:
        queue = Queue(loop)
        began_s = loop.time()
        for act in (
            queue.redis.freeze_replica,
            queue.redis.freeze_replica,
            queue.redis.thaw_replica,
            queue.redis.thaw_replica,
            queue.redis.freeze_replica,
            queue.redis.promote,
        ):
            act()
            queue.run(asyncio.sleep(1))
        spans_s = [(round(a - began_s), round(b - began_s)) for a, b in queue.redis.frozen_s]
        assert spans_s == [(0, 2), (4, 5)]


def test_a_promotion_loses_what_only_the_old_primary_had_and_uses_ids_again() -> None:
    """An order that was read but never proven is gone, and its id names another one."""
    with running_loop(1) as loop:
        queue = Queue(loop)
        queue.redis.id_clock_ms_max = 1
        assert queue.append(0)
        queue.redis.freeze_replica()
        batch = queue.run(queue.gateway.append([an_entry(0, KEYS[1])]))
        assert not queue.run(queue.gateway.wait_durable(batch, timeout_ms=50))
        first = queue.read_ids()
        queue.redis.promote()
        queue.run(asyncio.sleep(RESYNC_S + 1))
        assert queue.append(2)
        assert queue.read_ids() == first
        assert queue.append(1)


def test_a_replica_that_makes_its_first_copy_is_not_promoted() -> None:
    """Two primaries lost in a row lose nothing: the second one is restarted in place."""
    with running_loop(1) as loop:
        queue = Queue(loop)
        assert queue.append(0)
        queue.redis.promote()
        queue.redis.promote()
        assert queue.redis.promotion_count == 1
        queue.run(asyncio.sleep(RESYNC_S + 1))
        assert not queue.append(0)


def test_a_reply_can_get_lost_after_its_effect() -> None:
    """The connection breaks under the reply: the order is there, and nothing can be proven for it."""
    with running_loop(1) as loop:
        queue = Queue(loop)
        assert queue.append(0)
        queue.net.weather.reset_after = 1.0
        with pytest.raises(StorageUnavailable):
            queue.run(queue.gateway.append([an_entry(0, KEYS[1])]))
        queue.net.weather.reset_after = 0.0
        batch = queue.run(queue.gateway.append([an_entry(0, KEYS[1])]))
        assert batch.results[0].status is AppendStatus.DUPLICATE
        old = batch._replace(generation=batch.generation - 1)
        with pytest.raises(ConnectionReplaced):
            queue.run(queue.gateway.wait_durable(old, timeout_ms=50))


class Books:
    """A primary and its standby, and one owner of partition 1."""

    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop
        net = Net(1, Weather())
        self.postgres = SimPostgres(loop, net, SimClock(loop), 1, partition_count=2)
        self.ledger = SimLedger(self.postgres, net, lane_count=1)
        self.ownership = SimOwnership(self.ledger)
        self.writer = self.claim()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def claim(self) -> Writer:
        state = self.run(
            self.ownership.claim(
                partition_index=1,
                epoch_seen=self.postgres.books.partitions[1].head.epoch,
                incarnation=KEYS[0],
                lane_index=0,
            )
        )
        assert state is not None
        return Writer(state.head)

    def append(self) -> None:
        self.run(self.ledger.lanes[0].append(self.writer.take_in()))

    @property
    def order_count(self) -> int:
        return len(self.postgres.books.orders)


def test_a_commit_without_an_answer_is_decided_before_the_next_claim() -> None:
    """It waits for the standby, invisible; whoever claims the partition waits behind it."""
    with running_loop(1) as loop:
        books = Books(loop)
        books.postgres.freeze_standby()
        with pytest.raises(CommitUnknown):
            books.append()
        assert books.order_count == 0
        loop.call_later(1.0, books.postgres.thaw_standby)
        assert books.claim().head.order_no_last == 1
        assert books.order_count == 1


def test_a_lane_that_lost_its_server_needs_new_claims() -> None:
    """After a restart nothing is written before the partition was claimed on the new connection."""
    with running_loop(1) as loop:
        books = Books(loop)
        books.append()
        books.postgres.crash()
        books.run(asyncio.sleep(0.01))
        with pytest.raises(StorageUnavailable):
            books.append()
        books.postgres.restart()
        with pytest.raises(LaneReplaced):
            books.append()
        books.writer = books.claim()
        books.append()
        assert books.order_count == 2


def test_what_a_restart_shows_early_is_lost_by_a_promotion() -> None:
    """A commit that only the old primary had is visible after its restart, and gone after its loss."""
    with running_loop(1) as loop:
        books = Books(loop)
        books.postgres.freeze_standby()
        with pytest.raises(CommitUnknown):
            books.append()
        books.postgres.crash()
        books.postgres.restart()
        assert books.order_count == 1
        books.postgres.promote()
        assert books.order_count == 0
        assert books.postgres.books.partitions[1].head.batch_seq == 0
        assert books.postgres.undone_count == 1


def test_an_undone_marker_is_no_undone_commit() -> None:
    """What a promotion undoes counts only if somebody could have read it."""
    with running_loop(1) as loop:
        books = Books(loop)
        books.append()
        books.postgres.freeze_standby()
        loop.call_later(0.5, books.postgres.crash)
        with pytest.raises(StorageUnavailable):
            books.run(books.ownership.partitions())
        books.postgres.restart()
        books.postgres.promote()
        assert books.postgres.undone_count == 0
        assert books.order_count == 1


def test_nobody_reads_what_the_standby_may_lack() -> None:
    """A new session's marker waits until the standby has everything that the session will see."""
    with running_loop(1) as loop:
        books = Books(loop)
        books.append()
        books.postgres.freeze_standby()
        books.postgres.crash()
        books.postgres.restart()
        books.run(asyncio.sleep(0.01))
        loop.call_later(2.0, books.postgres.thaw_standby)
        asked_s = loop.time()
        assert len(books.run(books.ownership.partitions())) == 2
        assert loop.time() - asked_s >= 2.0
