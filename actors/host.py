"""A partition host: owns partitions of one shard, and carries their orders from the stream to the books.

A plain class with its ports handed in: a test builds it on fakes, ``actors.remote`` runs it in a Ray
actor, ``python -m actors host`` in a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from uuid import UUID

import structlog

from actors.calls import PspCalls
from actors.careful import Care
from actors.claiming import Claiming, ClaimPorts
from actors.exposing import HostParts
from actors.host_ports import HostPorts
from actors.lane_worker import LanePorts, LaneWorker
from actors.leases import LeaseLost
from actors.ledger_clock import LedgerClock
from actors.letter_desk import LetterDesk
from actors.measuring import MeasuredLane
from actors.parking import Resumer
from actors.reading import StreamReader
from actors.replying import Replier
from actors.settings import COMMIT_LATE_S, COMMITS_LOOKED_AT_S, STORE_RETRY_S, HostSettings
from actors.timers import fire_timers
from actors.unparking import run_unparking
from payments.open_order import CallAnswer
from storage.ports import StorageUnavailable
from storage.queue_ports import Message

_log = structlog.get_logger(__name__)


class PartitionHost:
    """One incarnation of a host. ``run`` ends by a drain, or raises when it must not go on."""

    def __init__(
        self, settings: HostSettings, ports: HostPorts, incarnation: UUID, pid: int
    ) -> None:
        self._settings = settings
        self._ports = ports
        self._incarnation = incarnation
        self._pid = pid
        self._stop = asyncio.Event()
        self._defect: asyncio.Future[None] | None = None
        ledger_clock = LedgerClock(ports.clock)
        self._calls = self._new_calls(ledger_clock)
        self._replier = Replier(ports.reply_queue)
        self._reader = StreamReader(
            ports.reading_queue,
            readable=self._readable,
            lanes=lambda: [lane.partitions for lane in self._lanes],
            open_orders_max=settings.open_orders_max,
            on_messages=self._on_messages,
            clock=ports.clock,
            crash_points=ports.crash_points,
            on_read=ports.metrics.read,
        )
        self._lanes = self._new_lanes(ledger_clock)
        self._care = Care(
            sacrifice=ports.sacrifice,
            queue=ports.reading_queue,
            ownership=ports.ownership,
            lane_of=self._lane_of,
            working=self._working,
            on_parked=self._on_parked,
            clock=ports.clock,
        )
        self._claiming = Claiming(
            settings,
            ClaimPorts(
                ownership=ports.ownership,
                lanes=self._lanes,
                calls=self._calls,
                planner=ports.planner,
                ledger_clock=ledger_clock,
                reread=self._reader.reread,
                read_draining=ports.read_draining,
                on_defect=self._on_defect,
                clock=ports.clock,
                waiting=ports.reply_queue.waiting,
                care=self._care,
            ),
            incarnation,
        )
        self._letters = LetterDesk(
            ports.ledger, self._lanes, self._working, self._reader.reread, self._care, ports.clock
        )
        self._resumer = self._new_resumer(ledger_clock)
        self.parts = self._parts()

    def _new_lanes(self, ledger_clock: LedgerClock) -> list[LaneWorker]:
        settings, ports = self._settings, self._ports
        return [
            LaneWorker(
                settings,
                LanePorts(
                    ledger=ports.ledger,
                    lane=MeasuredLane(lane, ports.metrics, ports.clock),
                    calls=self._calls,
                    ledger_clock=ledger_clock,
                    clock=ports.clock,
                    crash_points=ports.crash_points,
                    on_taken_in=self._reader.note_taken_in,
                    on_replies=self._replier.add,
                    on_lost=self._on_lost,
                    on_unclear=self._on_unclear,
                    metrics=ports.metrics,
                ),
            )
            for lane in ports.ledger.lanes
        ]

    def _new_calls(self, ledger_clock: LedgerClock) -> PspCalls:
        return PspCalls(
            self._ports.psps,
            self._on_answer,
            self._on_defect,
            limits=self._settings.limits_of,
            resume_per_s=self._settings.resume_per_s,
            ledger_now=ledger_clock.now,
            clock=self._ports.clock,
            crash_points=self._ports.crash_points,
        )

    def _new_resumer(self, ledger_clock: LedgerClock) -> Resumer:
        lanes, ports = [lane.partitions for lane in self._lanes], self._ports
        return Resumer(self._calls, lanes, ports.planner, self._settings, ledger_clock, ports.clock)

    def _parts(self) -> HostParts:
        return HostParts(
            self._lanes, self._reader, self._claiming, self._calls, self._replier, self._resumer
        )

    # --- what it is doing ---------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._settings.name

    @property
    def partition_indexes(self) -> frozenset[int]:
        return self._claiming.held

    @property
    def open_count(self) -> int:
        return sum(lane.partitions.open_count for lane in self._lanes)

    @property
    def calls(self) -> PspCalls:
        return self._calls

    @property
    def fenced_count(self) -> int:
        """Flushes of partitions that had another owner or epoch: refused late writes."""
        return sum(lane.fenced_count for lane in self._lanes)

    def stop(self) -> None:
        """Begin a drain: finish what runs, hand the partitions over, end ``run``."""
        self._stop.set()

    # --- life ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Own partitions until stopped. Raises LeaseLost, or the defect that must end the process."""
        self._defect = asyncio.get_running_loop().create_future()
        await self._retrying(self._register)
        workers = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("beats", self._beat()),
                ("calls", self._hold_calls()),
                ("claims", self._claiming.run()),
                (
                    "timers",
                    fire_timers(
                        self._ports.ledger,
                        working=self._working,
                        open_count=lambda: self.open_count,
                        lane_of=self._lane_of,
                    ),
                ),
                ("parked", self._resumer.run()),
                ("reader", self._reader.run()),
                ("letters", self._letters.run()),
                ("care", self._care.run()),
                (
                    "unparking",
                    run_unparking(
                        self._ports.unparking, self._lanes, self._working, self._on_unclear
                    ),
                ),
                ("replies", self._replier.run()),
                *((f"lane {index}", lane.run()) for index, lane in enumerate(self._lanes)),
            )
        ]
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            watched: list[asyncio.Future[Any]] = [*workers, stopping, self._defect]
            done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                ended.result()
            by_name = {task.get_name(): task for task in workers}
            await self._drain(by_name["claims"])
        finally:
            await _cancelled([*workers, stopping])
            await self._reader.drain()

    async def _register(self) -> None:
        await self._ports.ownership.register(
            incarnation=self._incarnation,
            host_name=self._settings.name,
            node=self._settings.node,
            pid=self._pid,
            metrics_address=self._ports.metrics.address,
        )
        _log.info("host_started", host=self.name, incarnation=str(self._incarnation))

    async def _drain(self, claims: asyncio.Task[None]) -> None:
        await _cancelled([claims])
        _log.info("host_draining", host=self.name, partitions=len(self.partition_indexes))
        await self._claiming.give_up_all()
        await self._calls.close(timeout_s=0)
        with contextlib.suppress(StorageUnavailable):
            await self._ports.ownership.release_lease(self._incarnation)
        _log.info("host_drained", host=self.name)

    async def _beat(self) -> None:
        """Raise the lease's counter. While the ledger is away no lease lapses: nobody can read either."""
        while True:
            with contextlib.suppress(StorageUnavailable):
                if not await self._ports.ownership.beat(self._incarnation):
                    raise LeaseLost(f"the lease of {self.name} was released")
            await asyncio.sleep(self._settings.beat_ms / 1000)

    async def _hold_calls(self) -> None:
        """Start no PSP call while a commit is late. Apart from the beats, which a frozen ledger holds up."""
        while True:
            self._calls.pause(any(lane.commit_age_s() > COMMIT_LATE_S for lane in self._lanes))
            await asyncio.sleep(COMMITS_LOOKED_AT_S)

    async def _retrying(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while not self._stop.is_set():
            try:
                return await step()
            except StorageUnavailable as unavailable:
                _log.warning("ledger_unavailable", reason=unavailable.reason)
                await asyncio.sleep(STORE_RETRY_S)
        return None

    # --- what comes in ----------------------------------------------------------------------------------

    def _lane_of(self, partition_index: int) -> LaneWorker:
        return self._lanes[partition_index % len(self._lanes)]

    def _working(self) -> frozenset[int]:
        """Partitions for which new work may be taken in now."""
        resting = frozenset().union(*(lane.partitions.resting for lane in self._lanes))
        return self.partition_indexes - self._claiming.retiring - resting

    def _readable(self) -> frozenset[int]:
        unread = (lane.partitions.unread for lane in self._lanes)
        return self._working().difference(self._care.unread, *unread)

    def _on_messages(self, partition_index: int, messages: Sequence[Message]) -> None:
        if partition_index in self._claiming.retiring:
            return  # its next owner reads them
        self._lane_of(partition_index).partitions.offer_messages(partition_index, messages)

    def _on_answer(self, answer: CallAnswer) -> None:
        if not self._care.takes_answer(answer):
            self._lane_of(answer.partition_index).partitions.offer_answer(answer)

    def _on_lost(self, partition_indexes: frozenset[int]) -> None:
        self._claiming.note_lost(partition_indexes)

    def _on_unclear(self, partition_indexes: frozenset[int]) -> None:
        self._claiming.note_unclear(partition_indexes)

    def _on_parked(self, partition_index: int, order_no: int) -> None:
        self._calls.done(partition_index, order_no)
        self._on_unclear(frozenset({partition_index}))

    def _on_defect(self, error: BaseException) -> None:
        if self._defect is not None and not self._defect.done():
            self._defect.set_exception(error)


async def _cancelled(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end; their own failures were looked at where they ran."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
