"""PSP calls: many at a time, bounded, each started only after its attempt was committed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from payments.attempts import PspAnswer, ResultClass
from payments.open_order import CallAnswer, PspCall
from payments.rows import TimerKind
from psp.port import Psp
from runtime.clock import Clock
from runtime.crash_points import CrashPoints


class PspCalls:
    """Carries out calls and hands each answer to ``on_answer``. One call an order at a time."""

    def __init__(
        self,
        psps: Mapping[str, Psp],
        on_answer: Callable[[CallAnswer], None],
        on_defect: Callable[[BaseException], None],
        *,
        in_flight_max: int,
        timeout_ms: int,
        ledger_now: Callable[[], datetime],
        clock: Clock,
        crash_points: CrashPoints,
    ) -> None:
        """``clock`` measures how long calls take, and decides nothing; ``ledger_now`` decides."""
        self._ledger_now = ledger_now
        self._psps = psps
        self._on_answer = on_answer
        self._on_defect = on_defect
        self._in_flight_max = in_flight_max
        self._timeout_s = timeout_ms / 1000
        self._crash_points = crash_points
        self._waiting: deque[PspCall] = deque()
        self._busy: set[tuple[int, int]] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._is_paused = False
        self.retry_count = 0
        """Calls for attempts that may have run before: sent again, asked for, canceled."""
        self._clock = clock
        self._durations: list[tuple[str, ResultClass, float]] = []

    @property
    def in_flight_count(self) -> int:
        return len(self._running)

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    def take_durations(self) -> Sequence[tuple[str, ResultClass, float]]:
        """Return ``(psp, result, seconds)`` of the calls since the last time. Taken at each flush, and an
        order has no next call before the flush of its answer: so they are as bounded as open orders."""
        durations, self._durations = self._durations, []
        return durations

    def is_busy(self, partition_index: int, order_no: int) -> bool:
        """Whether a call for this order waits, runs, or has an answer that is not in the books yet."""
        return (partition_index, order_no) in self._busy

    def done(self, partition_index: int, order_no: int) -> None:
        """The answer is in the books: the order may have its next call."""
        self._busy.discard((partition_index, order_no))

    def start(self, calls: Iterable[PspCall]) -> None:
        """Start calls as places become free. An order that has one already is left alone."""
        for call in calls:
            key = (call.partition_index, call.order_no)
            if key not in self._busy:
                self._busy.add(key)
                self._waiting.append(call)
                self.retry_count += call.attempt.is_tainted or call.attempt.try_count > 0
        self._fill()

    def pause(self, is_paused: bool) -> None:
        """Start nothing new while paused; what runs goes on."""
        self._is_paused = is_paused
        self._fill()

    def unqueue(self, partition_indexes: frozenset[int]) -> None:
        """Drop what has not started for partitions that are being given up; their next owner sends it."""
        for call in self._waiting:
            if call.partition_index in partition_indexes:
                self._busy.discard((call.partition_index, call.order_no))
        self._waiting = deque(
            call for call in self._waiting if call.partition_index not in partition_indexes
        )

    def forget(self, partition_indexes: frozenset[int]) -> None:
        """Forget partitions given up, also what still runs for them: its answer finds no book."""
        self.unqueue(partition_indexes)
        self._busy = {key for key in self._busy if key[0] not in partition_indexes}

    def running_count_of(self, partition_indexes: frozenset[int]) -> int:
        """How many orders of these partitions have a call or an answer on its way to the books."""
        waiting = {(call.partition_index, call.order_no) for call in self._waiting}
        return sum(key[0] in partition_indexes and key not in waiting for key in self._busy)

    async def close(self, *, timeout_s: float) -> int:
        """Wait for what runs, then abandon the rest. Returns how many were abandoned: their outcome is unknown."""
        self._waiting.clear()
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)
        abandoned = list(self._running)
        for task in abandoned:
            task.cancel()
        if abandoned:
            await asyncio.wait(abandoned)
        return len(abandoned)

    def _fill(self) -> None:
        while self._waiting and not self._is_paused and len(self._running) < self._in_flight_max:
            call = self._waiting.popleft()
            task = asyncio.create_task(self._carry_out(call))
            self._running.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A connector raises only for defects: the host must not go on as if nothing were.
            self._on_defect(error)
        self._fill()

    async def _carry_out(self, call: PspCall) -> None:
        self._crash_points.reach("before_psp_call")
        started_s = self._clock.monotonic_s()
        answer = await self._ask(call)
        self._durations.append(
            (call.attempt.psp, answer.result, self._clock.monotonic_s() - started_s)
        )
        self._crash_points.reach("after_psp_call")
        self._on_answer(
            CallAnswer(
                partition_index=call.partition_index,
                order_no=call.order_no,
                step=call.step,
                attempt_no=call.attempt.attempt_no,
                answer=answer,
            )
        )

    async def _ask(self, call: PspCall) -> PspAnswer:
        psp = self._psps.get(call.attempt.psp)
        if psp is None or psp.account != call.attempt.psp_account:
            return _not_configured(call)
        if call.send_before is not None and self._ledger_now() >= call.send_before:
            return PspAnswer(result=ResultClass.NOT_SENT, message="the key was too old to be sent")
        key, reference, timeout_s = call.attempt.psp_key, call.psp_reference, self._timeout_s
        match call.step:
            case TimerKind.SEND:
                return await psp.charge(key, call.attempt.request, timeout_s=timeout_s)
            case TimerKind.QUERY:
                return await psp.query(psp_key=key, reference=reference, timeout_s=timeout_s)
            case TimerKind.CANCEL:
                return await psp.cancel(psp_key=key, reference=reference, timeout_s=timeout_s)


def _not_configured(call: PspCall) -> PspAnswer:
    """The order waits until its own account is back: at another one its key would charge anew."""
    attempt = call.attempt
    return PspAnswer(
        result=ResultClass.NOT_SENT if call.step is TimerKind.SEND else ResultClass.UNKNOWN,
        message=f"account {attempt.psp_account} at {attempt.psp} is not configured",
    )
