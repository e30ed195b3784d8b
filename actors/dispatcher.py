"""The dispatcher: reads events in the feed's order and has them delivered to the endpoints that ask for them.

One leads at a time; others wait. It keeps nothing that it could not read again: an endpoint's place in the
feed moves only with the rows that tell what became of each event before it. So whatever dies wherever, every
event is delivered at least once, under the same id and with the same bytes, or has a row that says why not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any

from actors.delivering import Delivering, Sender, moved
from actors.dispatcher_settings import (
    BEAT_EVERY_S,
    DUE_EVERY_S,
    LEAD_SILENT_S,
    LOOK_PAUSE_S_MIN,
    PLACES_EVERY_S,
    PRUNE_EVERY_S,
    PRUNED_MAX,
    RECORD_EVERY_S,
    RECOUNT_EVERY_S,
    STORE_RETRY_S,
    DispatcherSettings,
)
from actors.event_bodies import EventBodies
from actors.feed_reading import FeedReading
from actors.held_up import HeldUpWatch
from actors.line_keeping import LineKeeping
from runtime.clock import Clock
from runtime.dispatcher_metrics import (
    DISPATCHER_BEHIND_SECONDS,
    DISPATCHER_ENDPOINTS,
    DISPATCHER_HELD_UP_SECONDS,
    DISPATCHER_IN_FLIGHT,
    DISPATCHER_LEADS,
    DISPATCHER_RECORDS,
    DISPATCHER_WAITING,
)
from runtime.faults import StorageUnavailable
from runtime.logs import get_logger
from runtime.metrics import Metrics
from storage.dispatch_ports import DispatchRecord, DispatchStore
from storage.event_feed import EventFeed


class Dispatcher:
    """Call ``run``; it ends after ``stop``, or by a defect."""

    def __init__(
        self,
        settings: DispatcherSettings,
        *,
        feed: EventFeed,
        store: DispatchStore,
        sender: Sender,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._log = get_logger("actors.dispatcher")
        self._stop = asyncio.Event()
        self._delivering = Delivering(settings, sender, clock=clock, metrics=metrics)
        self._keeping = LineKeeping(settings, store)
        self._reading = FeedReading(
            feed, EventBodies(feed), store, self._keeping, self._delivering, clock=clock
        )
        self._held_up = HeldUpWatch(feed, clock)
        self._leads = metrics.gauge(DISPATCHER_LEADS)
        self._records = metrics.batches(DISPATCHER_RECORDS)
        self.metrics_address: str | None = None
        """Where its metrics are, for the row that tells who leads."""
        self._expose(metrics)

    def stop(self) -> None:
        """Let what is on its way come to its end, record it, and end."""
        self._stop.set()

    async def run(self) -> None:
        """Lead whenever nobody else does, until stopped. Raises what is a defect of ours."""
        try:
            while not self._stop.is_set():
                try:
                    if await self._wait_for_lead():
                        await self._lead()
                except StorageUnavailable as fault:
                    self._log.warning("lead_lost", reason=str(fault))
                    self._leads.set(0)
                    await self._delivering.drain(0.0)
                    self._delivering.forget()
                    self._keeping.drop_all()
                    await self._pause(STORE_RETRY_S)
        finally:
            await self._delivering.drain(0.0)
            await self._store.close()

    async def _wait_for_lead(self) -> bool:
        """Return True once we lead, False when we shall stop."""
        silent_since_s, last_beat = self._clock.monotonic_s(), None
        while not self._stop.is_set():
            if await self._store.take_lead(self._settings.name, self.metrics_address):
                self._log.info("leads", name=self._settings.name)
                self._leads.set(1)
                return True
            beat = await self._store.last_beat()
            now_s = self._clock.monotonic_s()
            if beat != last_beat:
                silent_since_s, last_beat = now_s, beat
            elif beat is not None and now_s - silent_since_s > LEAD_SILENT_S:
                self._log.warning("silent_lead_ended", beat=beat)
                await self._store.end_silent(beat)
            await self._pause(STORE_RETRY_S)
        return False

    async def _lead(self) -> None:
        await self._keeping.refresh()
        # Each ends by itself after a stop: one that was cut off in the middle of a statement would take the
        # session, and with it the lead, along.
        await _together(
            self._read_feed(), self._read_due(), self._record_results(), self._look_around()
        )
        await self._delivering.drain(self._settings.drain_s)
        while record := self._delivering.take():
            await self._write(record)
        self._leads.set(0)

    async def _read_feed(self) -> None:
        """Read on sessions of their own: that one can't be had costs neither the lead nor what is on its way."""
        while not self._stop.is_set():
            try:
                is_news = await self._reading.read_feed()
            except StorageUnavailable as fault:
                self._log.warning("feed_unread", reason=str(fault))
                await self._pause(STORE_RETRY_S)
            else:
                await self._pause(0.0 if is_news else LOOK_PAUSE_S_MIN)

    async def _read_due(self) -> None:
        while not self._stop.is_set():
            await self._reading.read_due()
            await self._pause(DUE_EVERY_S)

    async def _record_results(self) -> None:
        while not self._stop.is_set():
            while record := self._delivering.take():
                await self._write(record)
            await self._pause(RECORD_EVERY_S)

    async def _write(self, record: DispatchRecord) -> None:
        self._records.observe(len(record.tried))
        await self._store.record(record)
        self._keeping.drop_stopped(record.stopped)

    async def _look_around(self) -> None:
        """Signs of life, endpoints that were changed, and what is done rarely."""
        every = {
            PLACES_EVERY_S: self._write_places,
            RECOUNT_EVERY_S: self._keeping.recount,
            PRUNE_EVERY_S: self._prune,
        }
        done_at_s = dict.fromkeys(every, self._clock.monotonic_s())
        while not self._stop.is_set():
            await self._keeping.refresh()
            with contextlib.suppress(StorageUnavailable):
                await self._held_up.look()
            await self._store.beat(behind_s=self._behind_s(), held_up_s=self._held_up.seconds)
            for every_s, work in every.items():
                if self._clock.monotonic_s() - done_at_s[every_s] >= every_s:
                    done_at_s[every_s] = self._clock.monotonic_s()
                    await work()
            await self._pause(BEAT_EVERY_S)

    async def _write_places(self) -> None:
        """Write how far endpoints are that got nothing: it only spares the next start some reading."""
        idle = [line for line in self._keeping.lines if line.passed != line.passed_stored]
        if idle:
            await self._store.record(DispatchRecord(moved=[moved(line) for line in idle]))

    async def _prune(self) -> None:
        before = self._clock.now() - self._settings.keep
        for line in self._keeping.lines:
            await self._store.prune(line.endpoint.endpoint_no, before=before, count_max=PRUNED_MAX)

    def _behind_s(self) -> float:
        """How old the oldest event is that was read for an endpoint and has no delivery yet."""
        now = self._clock.now()
        return max((_age_s(now, line.oldest_at) for line in self._keeping.lines), default=0.0)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    def _expose(self, metrics: Metrics) -> None:
        keeping = self._keeping
        metrics.read(DISPATCHER_IN_FLIGHT, lambda: [((), self._delivering.in_flight_count)])
        metrics.read(DISPATCHER_BEHIND_SECONDS, lambda: [((), self._behind_s())])
        metrics.read(DISPATCHER_HELD_UP_SECONDS, lambda: [((), self._held_up.seconds)])
        metrics.read(
            DISPATCHER_WAITING, lambda: [((), sum(line.waiting_count for line in keeping.lines))]
        )
        metrics.read(DISPATCHER_ENDPOINTS, lambda: _samples(keeping.counts))


async def _together(*loops: Coroutine[Any, Any, None]) -> None:
    """Run loops until all have ended, or one has failed; then the others are cut off. Raises its fault."""
    # A TaskGroup of Python 3.11 may leave a cancellation behind in the task that waits for it.
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for fault in ended:
        if isinstance(fault, Exception):
            raise fault


def _age_s(now: datetime, moment: datetime | None) -> float:
    return 0.0 if moment is None else max((now - moment).total_seconds(), 0.0)


def _samples(counts: Mapping[str, int]) -> Sequence[tuple[Sequence[str], float]]:
    return [((word,), count) for word, count in counts.items()]
