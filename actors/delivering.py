"""Deliveries on their way: tries under way, what became of them, and what that means for their endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from actors.dispatcher_settings import RECORDS_MAX, DispatcherSettings
from actors.endpoint_line import EndpointLine, InHand
from actors.webhook_sending import TryError, TryResult, state_after
from payments.feed import event_id
from runtime.clock import Clock
from runtime.dispatcher_metrics import (
    DISPATCHER_DEAD,
    DISPATCHER_STOPPED,
    DISPATCHER_TRIES,
    DISPATCHER_TRY_SECONDS,
)
from runtime.logs import get_logger
from runtime.metrics import Metrics
from storage.dispatch_ports import DispatchRecord, MovedEndpoint, StoppedEndpoint, TriedDelivery
from storage.webhook_ports import DeliveryState, EndpointStatus

_DELIVERED = "delivered"


class Sender(Protocol):
    """Makes one try, and never raises for what a receiver does."""

    async def send(
        self, url: str, secrets: Sequence[bytes], webhook_id: str, body: bytes
    ) -> TryResult: ...


class Delivering:
    """Starts tries as lines allow, and gathers what is to be recorded."""

    def __init__(
        self, settings: DispatcherSettings, sender: Sender, *, clock: Clock, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._sender = sender
        self._clock = clock
        self._metrics = metrics
        self._log = get_logger("actors.delivering")
        self._seconds = metrics.batches(DISPATCHER_TRY_SECONDS)
        self._dead = metrics.counter(DISPATCHER_DEAD)
        # There from the start: an increase from nothing to one would be none to who watches it.
        self._stops = {
            status: metrics.counter(DISPATCHER_STOPPED, status.wire)
            for status in (EndpointStatus.PAUSED, EndpointStatus.GONE)
        }
        self._tasks: set[asyncio.Task[None]] = set()
        self._tried: list[tuple[EndpointLine, InHand, TriedDelivery]] = []
        self._stopped: dict[int, StoppedEndpoint] = {}
        self._died: BaseException | None = None

    @property
    def in_flight_count(self) -> int:
        return len(self._tasks)

    def start_for(self, line: EndpointLine) -> None:
        """Start as many tries as the line has ready and may have on their way."""
        while (ready := line.next_to_send()) is not None:
            task = asyncio.create_task(self._try(line, *ready))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def take(self) -> DispatchRecord:
        """Return what became of tries since the last call, and make it the lines' present.

        If it can't be written, all lines have to be thrown away. Raises what a try died of: a defect.
        """
        if self._died is not None:
            raise self._died
        record = DispatchRecord(stopped=list(self._stopped.values()))
        self._stopped.clear()
        taken, self._tried = self._tried[:RECORDS_MAX], self._tried[RECORDS_MAX:]
        # The last try of a delivery counts, and one statement can't write a row twice.
        last = {(one.endpoint_no, one.position): one for _, _, one in taken}
        record.tried = list(last.values())
        lines = {id(line): line for line, _, _ in taken}
        for line, in_hand, tried in taken:
            line.recorded(in_hand, is_waiting=tried.state is DeliveryState.WAITING)
        record.moved = [moved(line) for line in lines.values() if not line.is_stopped]
        return record

    async def drain(self, timeout_s: float) -> None:
        """Let what is on its way come to its end, for a while; the rest is cut off."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def forget(self) -> None:
        """Drop what was not recorded: it is read, and sent, again."""
        self._tried.clear()
        self._stopped.clear()

    async def _try(self, line: EndpointLine, in_hand: InHand, body: bytes) -> None:
        endpoint = line.endpoint
        tried_at = self._clock.now()
        try:
            result = await self._sender.send(
                endpoint.url, endpoint.secrets, event_id(in_hand.position.key), body
            )
        finally:
            line.sent()
        tries = in_hand.tries_before + 1
        stop = self._judged(line, result, tried_at)
        state, delay_s = state_after(result.error, tries)
        if result.error is TryError.GONE:
            state, delay_s = DeliveryState.DEAD, 0.0
        elif stop is not None and state is DeliveryState.DEAD:
            # It is the endpoint that is given up, for now: a pause loses nothing.
            state = DeliveryState.WAITING
        self._tried.append(
            (
                line,
                in_hand,
                TriedDelivery(
                    endpoint_no=endpoint.endpoint_no,
                    position=in_hand.position,
                    type=in_hand.type,
                    event_created_at=in_hand.event_created_at,
                    state=state,
                    round_try_count=tries,
                    delay_s=delay_s,
                    tried_at=tried_at,
                    http_status=result.http_status,
                    error=None if result.error is None else result.error.value,
                    duration_ms=result.duration_ms,
                ),
            )
        )
        self._count(result, state)
        if stop is not None:
            self._stop(line, stop)
        self.start_for(line)

    def _judged(
        self, line: EndpointLine, result: TryResult, tried_at: datetime
    ) -> StoppedEndpoint | None:
        """Note what a try says of its endpoint; return why it is sent nothing any more, if that follows."""
        if result.error is None:
            line.failing_since = None
            return None
        line.failing_since = line.failing_since or tried_at
        number = line.endpoint.endpoint_no
        if result.error is TryError.GONE:
            return StoppedEndpoint(number, EndpointStatus.GONE, "it answered 410 Gone")
        if tried_at - line.failing_since < self._settings.pause_after:
            return None
        since = line.failing_since.isoformat(timespec="seconds")
        return StoppedEndpoint(number, EndpointStatus.PAUSED, f"no try has succeeded since {since}")

    def _stop(self, line: EndpointLine, stop: StoppedEndpoint) -> None:
        line.stop()
        if stop.endpoint_no in self._stopped:
            return
        self._stopped[stop.endpoint_no] = stop
        self._stops[stop.status].inc()
        self._log.warning(
            "webhook_endpoint_stopped",
            endpoint_no=stop.endpoint_no,
            merchant_no=line.endpoint.merchant_no,
            status=stop.status.wire,
            reason=stop.reason,
        )

    def _count(self, result: TryResult, state: DeliveryState) -> None:
        word = _DELIVERED if result.error is None else result.error.value
        self._metrics.counter(DISPATCHER_TRIES, word).inc()
        self._seconds.observe(result.duration_ms / 1000)
        if state is DeliveryState.DEAD:
            self._dead.inc()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (defect := task.exception()) is not None:
            self._died = defect


def moved(line: EndpointLine) -> MovedEndpoint:
    """Return how far the line is, to be written."""
    line.passed_stored = line.passed
    return MovedEndpoint(line.endpoint.endpoint_no, line.passed, line.is_failing)
