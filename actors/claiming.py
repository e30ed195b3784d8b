"""Which partitions a host works on: it claims, gives up, and takes over from itself after a doubt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from actors.calls import PspCalls
from actors.lane_worker import LaneWorker
from actors.leases import LeaseWatch, plan
from actors.settings import HostSettings
from payments.book import PartitionBook
from payments.decided import Planner
from runtime.clock import Clock
from storage.ports import Ownership, PartitionView, StorageUnavailable

_log = structlog.get_logger(__name__)

# How often a partition that is being given up is looked at: much shorter than any PSP call.
_RETIRE_LOOK_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimPorts:
    """What claiming needs of its host."""

    ownership: Ownership
    lanes: Sequence[LaneWorker]
    calls: PspCalls
    planner: Planner
    reread: Callable[[frozenset[int]], None]
    read_draining: Callable[[], Coroutine[Any, Any, frozenset[str]]]
    """Names of hosts that the operator wants to own nothing."""
    on_defect: Callable[[BaseException], None]
    clock: Clock


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
        self._wake = asyncio.Event()
        self.retiring: frozenset[int] = frozenset()
        """Partitions being given up: nothing new is taken in for them."""

    @property
    def held(self) -> frozenset[int]:
        return frozenset().union(*(lane.partition_indexes for lane in self._ports.lanes))

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
        leases = await ownership.leases()
        alive = self._watch.observe(leases, self._ports.clock.monotonic_s())
        views = await ownership.partitions()
        doing = plan(
            own=self._incarnation,
            leases=leases,
            alive=alive,
            draining=await self._ports.read_draining(),
            partitions=views,
            held=self.held,
        )
        await self._drop(doing.lost)
        own = {view.partition_index: view for view in views if view.owner == self._incarnation}
        for partition_index in sorted(self._unclear & own.keys()):
            # Waits behind the commit in doubt, so that what is read afterwards is decided.
            await self._take(own[partition_index])
        for view in doing.claim:
            await self._take(view)
        giving_up = frozenset(doing.give_up) - self.retiring
        if giving_up:
            task = asyncio.create_task(self._retire(giving_up), name="retire")
            self._retirements.add(task)
            task.add_done_callback(self._retired)

    async def _take(self, view: PartitionView) -> None:
        partition_index = view.partition_index
        lane_index = partition_index % len(self._ports.lanes)
        lane = self._ports.lanes[lane_index]
        async with lane.lock:
            state = await self._ports.ownership.claim(
                partition_index=partition_index,
                epoch_seen=view.epoch,
                incarnation=self._incarnation,
                lane_index=lane_index,
            )
            if state is None:
                return
            self._unclear.discard(partition_index)
            book = PartitionBook(state, self._ports.planner, self._settings.policy)
            unscheduled = [order.order_no for order in state.open_orders if not order.has_timer]
            lane.add(book, unscheduled=unscheduled)
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
            mine = partition_indexes & lane.partition_indexes
            if mine:
                async with lane.lock:
                    lane.drop(mine)
        self._lost -= partition_indexes
        self._unclear -= partition_indexes

    async def _retire(self, partition_indexes: frozenset[int]) -> None:
        """Give partitions up in good order: take nothing new, let calls and flushes end, hand over.

        A call that outlives ``drain_s`` is left behind: the next owner asks the PSP under its key.
        """
        self.retiring |= partition_indexes
        clock, calls = self._ports.clock, self._ports.calls
        deadline_s = clock.monotonic_s() + self._settings.drain_s
        try:
            for lane in self._ports.lanes:
                lane.retire(partition_indexes & lane.partition_indexes)
            while calls.running_count_of(partition_indexes):
                if clock.monotonic_s() >= deadline_s:
                    break
                await asyncio.sleep(_RETIRE_LOOK_S)
            for lane in self._ports.lanes:
                async with lane.lock:
                    await self._hand_over(lane, partition_indexes & lane.partition_indexes)
        except StorageUnavailable as unavailable:
            # They stay ours; the next look at the tables tries again.
            _log.warning("hand_over_postponed", reason=unavailable.reason)
        finally:
            self.retiring -= partition_indexes

    async def _hand_over(self, lane: LaneWorker, partition_indexes: frozenset[int]) -> None:
        if not partition_indexes:
            return
        await self._ports.ownership.hand_over(
            partition_indexes=sorted(partition_indexes), incarnation=self._incarnation
        )
        lane.drop(partition_indexes)
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
