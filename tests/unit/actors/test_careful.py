"""Partitions whose hosts die without progress: what ends them is found in a child's place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import cast
from uuid import uuid4

import pytest

from actors import letter_desk
from actors.careful import Care
from actors.lane_worker import LaneWorker
from actors.sacrificing import AnswerJob, MessageJob
from payments.attempts import ResultClass
from payments.partitioning import partition_index
from payments.retry_policy import RetryRule, Strategy
from payments.state import PartitionState
from runtime.crash_points import CrashPoints
from storage.envelope import queue_entry
from storage.ports import STALLS_BEFORE_CARE
from storage.queue import REMOVAL_AGE_S_MAX
from tests.fakes.fake_host import PARTITION_COUNT, QUICK, World
from tests.fakes.fake_ledger import FakeLedger, FakeOwnership
from tests.fakes.fake_queue import FakeOwnerQueue
from tests.fakes.fake_sacrifice import FakeSacrifice
from tests.queue_commands import a_command

MARK = b"ends its host"


def deadly_message(job: object) -> bool:
    """What no process survives to decode."""
    return isinstance(job, MessageJob) and any(MARK in part for part in job.raw)


class Survivor(CrashPoints):
    """Counts what would have ended the host."""

    def __init__(self) -> None:
        super().__init__({}, mark=MARK)
        self.met_count = 0

    def meet(self, parts: Iterable[bytes]) -> None:
        self.met_count += any(MARK in part for part in parts)


def hosts_died(world: World) -> None:
    """Whoever claimed every partition was gone before their first flush: the next claim is careful."""
    for held in world.books.partitions.values():
        held.owner = uuid4()
        held.stall_count = STALLS_BEFORE_CARE - 1
        held.batch_seq_claimed = held.head.batch_seq


async def test_the_message_that_ends_hosts_becomes_a_letter_and_its_neighbours_settle() -> None:
    """The head of the stream is tried one by one; the partition then goes on as before."""
    world = World()
    world.sacrifice = FakeSacrifice(deadly_message)
    bad = a_command(uuid4())._replace(description=MARK.decode())
    index = partition_index(bad.order_uuid, PARTITION_COUNT)
    before = [await world.post() for _ in range(30)]
    await world.gateway.append([queue_entry(bad, index)])
    after = [await world.post() for _ in range(30)]
    hosts_died(world)
    async with world.running(world.host()):
        await world.until(lambda: all(world.status_of(o) for o in (*before, *after)))
        await world.until(lambda: not any(world.server.copy.streams.values()))
        later = await world.post()
        await world.until(lambda: world.status_of(later) is not None)
        await world.until(lambda: world.books.partitions[index].stall_count == 0)
    (letter,) = world.books.letters.rows
    assert (letter.reason, letter.order_uuid) == ("kills_host", bad.order_uuid)
    assert letter.attempt_count == STALLS_BEFORE_CARE + 1
    assert len(world.sacrifice.jobs) >= 61


async def test_the_reader_stays_away_until_what_ends_hosts_is_off_the_stream() -> None:
    """However long children take to start: what was read too long ago to be removed is read anew first."""
    world = World()
    world.sacrifice = FakeSacrifice(deadly_message, start_s=1.1 * REMOVAL_AGE_S_MAX)
    world.crash_points = survivor = Survivor()
    bad = a_command(uuid4())._replace(description=MARK.decode())
    index = partition_index(bad.order_uuid, PARTITION_COUNT)
    await world.gateway.append([queue_entry(bad, index)])
    hosts_died(world)
    async with world.running(world.host()):
        await world.until(lambda: len(world.books.letters.rows) == 1)
        # Only when a look has found it gone, the partition is read as ever.
        await world.until(lambda: world.books.partitions[index].stall_count == 0)
        assert not world.server.copy.streams[index]
        later = await world.post()
        await world.until(lambda: world.status_of(later) is not None)
    assert survivor.met_count == 0
    assert len(world.books.letters.rows) == 1


async def test_a_deadly_order_is_not_taken_in_by_its_repeat() -> None:
    """Held until a replay: the client's next try must not end the next host."""
    world = World()
    world.sacrifice = FakeSacrifice(deadly_message)
    bad = a_command(uuid4())._replace(description=MARK.decode())
    index = partition_index(bad.order_uuid, PARTITION_COUNT)
    await world.gateway.append([queue_entry(bad, index)])
    hosts_died(world)
    async with world.running(world.host()):
        await world.until(lambda: len(world.books.letters.rows) == 1)
        await world.until(lambda: not any(world.server.copy.streams.values()))
        world.server.copy.records.clear()
        await world.gateway.append([queue_entry(bad._replace(description="mended"), index)])
        await world.until(lambda: not any(world.server.copy.streams.values()))
    assert not world.books.orders


async def test_an_order_whose_answer_ends_hosts_is_parked() -> None:
    """Its neighbours' answers settle them; the parked one stays open, with its reason."""
    world = World()
    async with world.running(world.host("host-0")):
        orders = [await world.post(token="tok_slow_30") for _ in range(8)]
        await world.until(lambda: len(world.books.orders) == len(orders))
    victim = orders[3]
    key = world.books.order_keys[victim]

    def is_deadly(job: object) -> bool:
        return isinstance(job, AnswerJob) and (job.head.partition_index, job.order.order_no) == key

    world.sacrifice = FakeSacrifice(is_deadly)
    hosts_died(world)
    async with world.running(world.host("host-1")):
        others = [order for order in orders if order != victim]
        await world.until(lambda: all(world.status_of(o) for o in others))
        await world.until(lambda: key in world.books.parked)
        later = await world.post()
        await world.until(lambda: world.status_of(later) is not None)
        assert world.status_of(victim) is None
        assert key in world.books.open_orders
        assert world.books.parked[key][0] == "kills_host"
        # The fix is running: an operator lets it go on, and its owner takes it up by itself.
        world.sacrifice = None
        world.unparking.wishes.add(key)
        await world.until(lambda: world.status_of(victim) is not None)
    assert not world.books.parked


async def test_evidence_that_ends_hosts_is_tried_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What people, or a PSP's events, say of an order whose hosts died is decided in a child before, too."""
    monkeypatch.setattr(letter_desk, "LOOK_EVERY_S", 0.01)
    world = World(
        policy=replace(QUICK, unknown=RetryRule(strategy=Strategy.FIXED, first_ms=600_000))
    )
    async with world.running(world.host("host-0")):
        orders = [await world.post(token="tok_timeout_before") for _ in range(4)]
        rows = world.books.open_orders
        await world.until(lambda: sum(not row.is_outcome_known for row in rows.values()) == 4)
    victim, *others = orders
    key = world.books.order_keys[victim]

    def is_deadly(job: object) -> bool:
        if not isinstance(job, AnswerJob) or not job.answer.is_evidence:
            return False
        return (job.head.partition_index, job.order.order_no) == key

    world.sacrifice = FakeSacrifice(is_deadly)
    evidence = world.books.evidence
    for order in orders:
        evidence.give(world.books.order_keys[order], result=ResultClass.DECLINED_FINAL)
    hosts_died(world)
    async with world.running(world.host("host-1")):
        await world.until(lambda: all(world.status_of(order) for order in others))
        await world.until(lambda: key in world.books.parked)
        assert world.status_of(victim) is None


@pytest.mark.parametrize("has_died", [False, True])
async def test_a_death_after_progress_is_no_sign(has_died: bool) -> None:
    """A single takeover from a host that had written tries nothing: hosts die of many things."""
    world = World()
    world.sacrifice = FakeSacrifice(lambda job: True)
    if has_died:
        hosts_died(world)
        for held in world.books.partitions.values():
            held.batch_seq_claimed = held.head.batch_seq - 1
    orders = [await world.post() for _ in range(10)]
    async with world.running(world.host()):
        await world.until(lambda: all(world.status_of(o) for o in orders))
    assert world.sacrifice.jobs == []


async def test_care_begins_before_the_reader_sees_the_partition() -> None:
    """A claim may wait for its lane's flush: nobody forgets meanwhile that the partition is suspicious."""
    world = World()
    world.sacrifice = FakeSacrifice(deadly_message)
    world.crash_points = survivor = Survivor()
    bad = a_command(uuid4())._replace(description=MARK.decode())
    index = partition_index(bad.order_uuid, PARTITION_COUNT)
    await world.gateway.append([queue_entry(bad, index)])
    hosts_died(world)
    host = world.host()
    locks = [lane.lock for lane in host._lanes]
    for lock in locks:
        await lock.acquire()
    async with world.running(host):
        await world.until(lambda: world.books.partitions[index].stall_count == STALLS_BEFORE_CARE)
        # Several turns of whoever takes care.
        await asyncio.sleep(0.2)
        for lock in locks:
            lock.release()
        await world.until(lambda: len(world.books.letters.rows) == 1)
        await world.until(lambda: not any(world.server.copy.streams.values()))
    assert survivor.met_count == 0


def _care(world: World, indexes: frozenset[int]) -> Care:
    """Of one lane that has these partitions."""
    lane = SimpleNamespace(partitions=SimpleNamespace(indexes=indexes))
    return Care(
        sacrifice=FakeSacrifice(deadly_message),
        queue=FakeOwnerQueue(world.server),
        ownership=FakeOwnership(world.books, FakeLedger(world.books, lane_count=1)),
        lane_of=lambda _: cast(LaneWorker, lane),
        working=lambda: indexes,
        on_parked=lambda _index, _order: None,
        clock=world.clock,
    )


def _suspicious(world: World) -> PartitionState:
    return PartitionState(
        head=world.books.partitions[1].head,
        open_orders=[],
        recorded_at=world.clock.now(),
        stall_count=STALLS_BEFORE_CARE,
    )


async def test_nobody_is_woken_while_no_partition_is_under_care(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nearly always there is none: care looks only while there is something to look at."""
    world, looks, begin_again = World(), 0, asyncio.Event()
    real_sleep = asyncio.sleep

    async def sleep(_delay_s: float) -> None:
        nonlocal looks
        looks += 1
        await begin_again.wait()

    care = _care(world, frozenset())
    monkeypatch.setattr(asyncio, "sleep", sleep)
    caring = asyncio.create_task(care.run())
    for _ in range(3):
        await real_sleep(0)
    assert looks == 0
    care.claimed(_suspicious(world), is_own=False)
    for _ in range(3):
        await real_sleep(0)
    assert looks == 1
    # The lane has lost it meanwhile: care ends, and waits again.
    begin_again.set()
    for _ in range(10):
        await real_sleep(0)
    assert (looks, care.unread) == (1, frozenset())
    caring.cancel()


async def test_a_look_that_is_out_of_date_ends_no_new_care() -> None:
    """While one partition's entries are tried, another one may go and come back, suspicious anew."""
    world = World()
    care, state = _care(world, frozenset({1})), _suspicious(world)
    care.claimed(state, is_own=False)
    before = care._stalled[1]
    before.is_head_done = True
    care.claimed(state, is_own=False)
    await care._step(1, before)
    assert care.unread == {1}
