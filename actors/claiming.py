"""Which partitions a host works on: it claims, gives up, and takes over from itself after a doubt."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from actors.calls import PspCalls
from actors.careful import Care, is_waiting
from actors.lane_worker import LaneWorker
from actors.leases import LeaseWatch, plan
from actors.ledger_clock import LedgerClock
from actors.settings import HostSettings
from payments.book import PartitionBook
from payments.decided import Planner
from payments.defects import InvariantViolation
from payments.state import PartitionState
from runtime.clock import Clock
from storage.ports import (
    CommitUnknown,
    Ownership,
    PartitionView,
    StorageUnavailable,
)
from storage.sealing import EnvelopeUnreadable

_log = structlog.get_logger(__name__)

# How often a partition that is being given up is looked at: much shorter than any PSP call.
_RETIRE_LOOK_S = 0.02

CLAIM_FREE = "free"
CLAIM_TAKEOVER = "takeover"
CLAIM_OWN = "own"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimPorts:
    """What claiming needs of its host."""

    ownership: Ownership
    lanes: Sequence[LaneWorker]
    calls: PspCalls
    planner: Planner
    ledger_clock: LedgerClock
    reread: Callable[[frozenset[int]], None]
    read_draining: Callable[[], Coroutine[Any, Any, frozenset[str]]]
    """Names of hosts that the operator wants to own nothing."""
    on_defect: Callable[[BaseException], None]
    clock: Clock
    waiting: Callable[[frozenset[int]], Coroutine[Any, Any, frozenset[int]]]
    """Which partitions' streams hold messages. Raises StorageUnavailable."""
    care: Care


class Claiming:
    """The loop that looks at leases and partitions, and acts on what it sees."""

    def __init__(self, settings: HostSettings, ports: ClaimPorts, incarnation: UUID) -> None:
        self._settings = settings
        self._ports = ports
        self._incarnation = incarnation
        self._watch = LeaseWatch(settings.lease_ms)
        self._retirements: set[asyncio.Task[None]] = set()
        self._unclear: set[int] = set()
        self._lost: set[int] = set()
        self._halted: set[int] = set()
        self._wake = asyncio.Event()
        self.retiring: frozenset[int] = frozenset()
        """Partitions being given up: nothing new is taken in for them."""
        self.terminated_count = 0
        """Writes of ours that a takeover ended: one a partition."""
        self.claim_counts: Counter[str] = Counter()
        """Claims by kind: CLAIM_FREE, CLAIM_TAKEOVER, CLAIM_OWN."""

    @property
    def halted(self) -> frozenset[int]:
        """Partitions whose books could not be carried on at their claim."""
        return frozenset(self._halted)

    @property
    def held(self) -> frozenset[int]:
        return frozenset().union(*(lane.partitions.indexes for lane in self._ports.lanes))

    def note_lost(self, partition_indexes: frozenset[int]) -> None:
        """The fence says that these belong to somebody else."""
        self._lost |= partition_indexes
        self._wake.set()

    def note_unclear(self, partition_indexes: frozenset[int]) -> None:
        """A commit of these is in doubt."""
        self._unclear |= partition_indexes
        self._wake.set()

    async def run(self) -> None:
        """Look and act until cancelled. While the ledger is away nothing changes hands."""
        while True:
            self._wake.clear()
            try:
                await self._step()
            except StorageUnavailable as unavailable:
                _log.warning("claims_postponed", reason=unavailable.reason)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.beat_ms / 1000):
                    await self._wake.wait()

    async def give_up_all(self) -> None:
        """For a drain: hand everything over. ``run`` must have ended."""
        for task in self._retirements:
            task.cancel()
        await asyncio.gather(*self._retirements, return_exceptions=True)
        if self.held:
            await self._retire(self.held)

    async def _step(self) -> None:
        ownership = self._ports.ownership
        await self._drop(frozenset(self._lost))
        # Before the tables are read: what is handed over meanwhile must not look like ours.
        held = self.held | self._halted
        leases = await ownership.leases()
        alive = self._watch.observe(leases, self._ports.clock.monotonic_s())
        views = await ownership.partitions()
        doing = plan(
            own=self._incarnation,
            leases=leases,
            alive=alive,
            draining=await self._ports.read_draining(),
            partitions=views,
            held=held,
        )
        if refused := doing.lost & self._unclear:
            # Somebody took them over and ended our connection before it could commit.
            self.terminated_count += len(refused)
            _log.warning("late_write_refused", by="termination", partitions=sorted(refused))
        await self._drop(doing.lost)
        own = {view.partition_index: view for view in views if view.owner == self._incarnation}
        # A claim waits behind a commit in doubt, so that what is read afterwards is decided. Side by
        # side, so that one that has to wait holds up no other.
        unclear = [own[index] for index in sorted(self._unclear & own.keys())]
        await asyncio.gather(*(self._take(view) for view in (*unclear, *doing.claim)))
        giving_up = frozenset(doing.give_up) - self.retiring - self._halted
        if giving_up:
            task = asyncio.create_task(self._retire(giving_up), name="retire")
            self._retirements.add(task)
            task.add_done_callback(self._retired)

    async def _take(self, view: PartitionView) -> None:
        """Claim one partition and work on it. What fails is tried again at the next look."""
        partition_index = view.partition_index
        try:
            await self._claim(view)
        except StorageUnavailable as unavailable:
            _log.warning("claim_postponed", partition=partition_index, reason=unavailable.reason)
        except CommitUnknown as unclear:
            # If it was committed, the tables will show it as ours and not worked on.
            _log.warning("claim_unclear", partition=partition_index, reason=unclear.reason)
        except (InvariantViolation, EnvelopeUnreadable) as defect:
            # Its books can't be carried on. Kept, so that no other host runs into it, and left alone.
            self._halted.add(partition_index)
            self._unclear.discard(partition_index)
            _log.error("partition_halted", partition=partition_index, defect=str(defect))

    async def _claim(self, view: PartitionView) -> None:
        ports, partition_index = self._ports, view.partition_index
        lane_index = partition_index % len(ports.lanes)
        kind = self._kind_of(view)
        has_waiting = kind == CLAIM_TAKEOVER and await is_waiting(ports.waiting, partition_index)
        state = await ports.ownership.claim(
            partition_index=partition_index,
            epoch_seen=view.epoch,
            incarnation=self._incarnation,
            lane_index=lane_index,
            has_waiting=has_waiting,
        )
        if state is None:
            return
        self.claim_counts[kind] += 1
        book = PartitionBook(state, ports.planner, self._settings.policy)
        async with ports.lanes[lane_index].lock:
            # In one step: under care before the reader can see it, and not sooner, since care lets go
            # of what no lane works on.
            ports.care.claimed(state, is_own=kind == CLAIM_OWN)
            self._work_on(lane_index, book, state)

    def _kind_of(self, view: PartitionView) -> str:
        if view.owner is None:
            return CLAIM_FREE
        return CLAIM_OWN if view.owner == self._incarnation else CLAIM_TAKEOVER

    def _work_on(self, lane_index: int, book: PartitionBook, state: PartitionState) -> None:
        partition_index = state.head.partition_index
        self._ports.ledger_clock.observe(state.recorded_at)
        self._unclear.discard(partition_index)
        unscheduled = [order.order_no for order in state.open_orders if not order.has_timer]
        self._ports.lanes[lane_index].partitions.add(book, unscheduled=unscheduled)
        self._ports.reread(frozenset({partition_index}))
        _log.info(
            "partition_claimed",
            host=self._settings.name,
            partition=partition_index,
            epoch=state.head.epoch,
            open_orders=len(state.open_orders),
        )

    async def _drop(self, partition_indexes: frozenset[int]) -> None:
        """Forget partitions that the books give to somebody else."""
        for lane in self._ports.lanes:
            mine = partition_indexes & lane.partitions.indexes
            if mine:
                async with lane.lock:
                    lane.partitions.drop(mine)
        self._lost -= partition_indexes
        self._unclear -= partition_indexes
        self._halted -= partition_indexes

    async def _retire(self, partition_indexes: frozenset[int]) -> None:
        """Give partitions up in good order: take nothing new, let calls and flushes end, hand over.

        A call that outlives ``drain_s`` is left behind: the next owner asks the PSP under its key.
        """
        self.retiring |= partition_indexes
        clock, calls = self._ports.clock, self._ports.calls
        deadline_s = clock.monotonic_s() + self._settings.drain_s
        try:
            for lane in self._ports.lanes:
                lane.partitions.retire(partition_indexes & lane.partitions.indexes)
            while calls.running_count_of(partition_indexes):
                if clock.monotonic_s() >= deadline_s:
                    break
                await asyncio.sleep(_RETIRE_LOOK_S)
            for lane in self._ports.lanes:
                async with lane.lock:
                    await self._hand_over(lane, partition_indexes & lane.partitions.indexes)
        except StorageUnavailable as unavailable:
            # They may still be ours. What was forgotten for their sake, messages and calls that had
            # not started, only a new claim brings back.
            _log.warning("hand_over_postponed", reason=unavailable.reason)
            self.note_unclear(partition_indexes & self.held)
        finally:
            self.retiring -= partition_indexes

    async def _hand_over(self, lane: LaneWorker, partition_indexes: frozenset[int]) -> None:
        if not partition_indexes:
            return
        await self._ports.ownership.hand_over(
            partition_indexes=sorted(partition_indexes), incarnation=self._incarnation
        )
        lane.partitions.drop(partition_indexes)
        _log.info(
            "partitions_handed_over",
            host=self._settings.name,
            partitions=sorted(partition_indexes),
        )

    def _retired(self, task: asyncio.Task[None]) -> None:
        self._retirements.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._ports.on_defect(error)
        self._wake.set()
