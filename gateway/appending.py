"""Append lanes: micro-batches of entries, each appended and proven on one queue connection.

A lane takes whatever waits as soon as its connection is free, so batches grow with the load and
nothing waits for company. While the replicas are behind, a lane goes on appending: one wait proves
everything that its connection wrote before, so a slow batch holds up no other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from gateway.idempotency import AppendState
from gateway.open_requests import OpenRequest
from runtime.clock import Clock
from runtime.crash_points import CrashPoints
from runtime.faults import StorageUnavailable
from runtime.metrics import (
    GATEWAY_APPEND_ENTRIES,
    GATEWAY_APPEND_SECONDS,
    GATEWAY_SHORT_WAITS,
    Metrics,
)
from storage.queue_ports import AppendBatch, ConnectionReplaced, GatewayQueue

# The append script serves at most so many entries in one call, to stay under 1 ms of server time.
APPEND_ENTRIES_MAX = 100
# How long one wait for the replicas holds a connection. Healthy ones answer within 2 ms; longer
# slices would keep new entries from being appended while the replicas are behind.
WAIT_SLICE_MS = 100
# After a failed call: a server that refuses at once must not be asked in a tight loop.
PAUSE_AFTER_FAULT_S = 0.05


class AppendLanes:
    """Several connections side by side, fed from one line. Tells ``learned`` what it learns."""

    def __init__(
        self,
        queues: Sequence[GatewayQueue],
        *,
        learned: Callable[[OpenRequest], None],
        clock: Clock,
        metrics: Metrics,
        crash_points: CrashPoints | None = None,
    ) -> None:
        self._crash_points = crash_points
        self._queues = queues
        self._learned = learned
        self._clock = clock
        self._entries_per_append = metrics.histogram(GATEWAY_APPEND_ENTRIES)
        self._append_seconds = metrics.histogram(GATEWAY_APPEND_SECONDS)
        self._short_waits = metrics.counter(GATEWAY_SHORT_WAITS)
        self._line: deque[OpenRequest] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Run every lane until ``close``."""
        self._tasks = [asyncio.create_task(_Lane(self, queue).run()) for queue in self._queues]

    async def close(self) -> None:
        """Stop the lanes. What still stands in line is left to its deadline."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def tasks(self) -> Sequence[asyncio.Task[None]]:
        """The lanes' tasks, to be watched: none ends before ``close`` but by a defect."""
        return self._tasks

    @property
    def is_alive(self) -> bool:
        """Whether every lane still runs; a dead one is a defect."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    def submit(self, request: OpenRequest) -> None:
        """Put a request in line. The line is bounded by whoever opens requests."""
        self._line.append(request)
        self._wake()

    def return_to_line(self, requests: Sequence[OpenRequest]) -> None:
        """Put requests first in line again, in their order: their connection is gone."""
        self._line.extendleft(reversed(requests))
        self._wake()

    async def take(self) -> list[OpenRequest]:
        """Return the next batch, waiting until there is one."""
        while not (batch := self.take_now()):
            idle = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            await idle
        return batch

    def take_now(self) -> list[OpenRequest]:
        """Return the next batch, empty when nobody stands in line. Deadlines are checked here."""
        now_s = self._clock.monotonic_s()
        batch: list[OpenRequest] = []
        while self._line and len(batch) < APPEND_ENTRIES_MAX:
            request = self._line.popleft()
            if not request.is_decided and request.deadline_s > now_s:
                batch.append(request)
        return batch

    async def append(self, queue: GatewayQueue, batch: list[OpenRequest]) -> AppendBatch | None:
        """Run the script once and note what it said; None when the queue could not be asked."""
        self._entries_per_append.observe(len(batch))
        started_s = self._clock.monotonic_s()
        for request in batch:
            request.is_started = True
        self._reach("before_append")
        try:
            appended = await queue.append([request.entry for request in batch])
        except StorageUnavailable:
            for request in batch:
                request.append = AppendState.UNAVAILABLE
                self._learned(request)
            return None
        self._reach("after_append")
        now_s = self._clock.monotonic_s()
        self._append_seconds.observe(now_s - started_s)
        for request, result in zip(batch, appended.results, strict=True):
            request.appended(result, now_s)
            if not request.is_proof_wanted:
                # The others' next news is that they are proven, or that the books hold them.
                self._learned(request)
        return appended

    def proven(self, requests: Sequence[OpenRequest]) -> None:
        """Note that these are on every copy promised."""
        for request in requests:
            request.is_durable = True
            self._learned(request)

    def count_short_wait(self) -> None:
        """Count a wait that ended too soon."""
        self._short_waits.inc()

    def _reach(self, point: str) -> None:
        if self._crash_points is not None:
            self._crash_points.reach(point)

    def _wake(self) -> None:
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return


class _Lane:
    """One connection: append, then wait for the copies, over and over."""

    def __init__(self, lanes: AppendLanes, queue: GatewayQueue) -> None:
        self._lanes = lanes
        self._queue = queue
        self._unproven: list[OpenRequest] = []
        self._last: AppendBatch | None = None

    async def run(self) -> None:
        while True:
            batch = self._lanes.take_now() if self._unproven else await self._lanes.take()
            if batch:
                appended = await self._lanes.append(self._queue, batch)
                if appended is None:
                    # This connection's earlier writes can't be proven here any more either.
                    await self._start_over()
                    continue
                if self._last is not None and appended.generation != self._last.generation:
                    # A wait here proves nothing of what an earlier connection wrote.
                    self._return_unproven()
                self._last = appended
                self._unproven += batch
            self._unproven = self._still_wanted()
            if self._unproven and self._last is not None:
                await self._prove(self._last)

    def _still_wanted(self) -> list[OpenRequest]:
        return [request for request in self._unproven if request.is_proof_wanted]

    async def _prove(self, last: AppendBatch) -> None:
        is_durable: bool | None = None
        with suppress(ConnectionReplaced, StorageUnavailable):
            is_durable = await self._queue.wait_durable(last, timeout_ms=WAIT_SLICE_MS)
        if is_durable is None:
            await self._start_over()
            return
        if not is_durable:
            self._lanes.count_short_wait()
            return
        proven, self._unproven = self._unproven, []
        self._lanes.proven(proven)

    async def _start_over(self) -> None:
        """Let the script run again for what is not proven: a wait elsewhere would prove nothing."""
        self._return_unproven()
        self._last = None
        await asyncio.sleep(PAUSE_AFTER_FAULT_S)

    def _return_unproven(self) -> None:
        again, self._unproven = self._still_wanted(), []
        self._lanes.return_to_line(again)
