"""PSP calls: many at a time, bounded, each started only after its attempt was committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from actors.breakers import BreakerState
from actors.psp_lines import PspLimits, PspLine
from payments.attempts import PspAnswer, ResultClass
from payments.defects import InvariantViolation
from payments.open_order import CallAnswer, PspCall
from payments.operation_kinds import OperationKind
from payments.operations import Operation
from payments.parking import ParkReason
from payments.routing import ALL_AVAILABLE, Availability
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
        limits: Callable[[str], PspLimits],
        ledger_now: Callable[[], datetime],
        clock: Clock,
        crash_points: CrashPoints,
        resume_per_s: float = 100.0,
    ) -> None:
        """``clock`` measures how long calls take, and decides nothing; ``ledger_now`` decides."""
        self._ledger_now = ledger_now
        self._psps = psps
        self._on_answer = on_answer
        self._on_defect = on_defect
        self._crash_points = crash_points
        # It measures, and opens breakers.
        self._clock: Clock = clock
        self._limits = limits
        self.lines = {name: PspLine(limits(name), self._clock) for name in psps}
        """By the PSP's name, in the order of the configuration; those not configured any more last."""
        self._busy: set[tuple[int, int]] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._is_paused = False
        self._resume_per_s = resume_per_s
        self.refused_count = 0
        """Calls that were not made because a breaker was open."""
        self.retry_count = 0
        """Calls for attempts that may have run before: sent again, asked for, canceled."""
        self._durations: list[tuple[str, ResultClass, float]] = []

    @property
    def in_flight_count(self) -> int:
        return len(self._running)

    @property
    def waiting_count(self) -> int:
        return sum(len(line.waiting) for line in self.lines.values())

    def availability(self) -> Availability:
        """Which PSPs take new orders now."""
        troubled = [
            (name, line)
            for name, line in self.lines.items()
            if line.breaker.state is not BreakerState.CLOSED
        ]
        percents = {
            name: percent
            for name, line in self.lines.items()
            if (percent := line.success_percent()) is not None
        }
        if not troubled and not percents:
            return ALL_AVAILABLE
        return Availability(
            success_percents=percents,
            refusing=frozenset(name for name, line in troubled if line.refuses),
            probes={name: line.breaker.probes_left for name, line in troubled if not line.refuses},
        )

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
                self._line(call.attempt.psp).waiting.append(call)
                self.retry_count += call.attempt.is_tainted or call.attempt.try_count > 0
        self._fill()

    def pause(self, is_paused: bool) -> None:
        """Start nothing new while paused; what runs goes on."""
        self._is_paused = is_paused
        self._fill()

    def unqueue(self, partition_indexes: frozenset[int]) -> None:
        """Drop what has not started for partitions that are being given up; their next owner sends it."""
        for line in self.lines.values():
            for _ in range(len(line.waiting)):
                call = line.waiting.popleft()
                if call.partition_index in partition_indexes:
                    self._busy.discard((call.partition_index, call.order_no))
                else:
                    line.waiting.append(call)

    def forget(self, partition_indexes: frozenset[int]) -> None:
        """Forget partitions given up, also what still runs for them: its answer finds no book."""
        self.unqueue(partition_indexes)
        self._busy = {key for key in self._busy if key[0] not in partition_indexes}

    def running_count_of(self, partition_indexes: frozenset[int]) -> int:
        """How many orders of these partitions have a call or an answer on its way to the books."""
        waiting = {
            (call.partition_index, call.order_no)
            for line in self.lines.values()
            for call in line.waiting
        }
        return sum(key[0] in partition_indexes and key not in waiting for key in self._busy)

    async def close(self, *, timeout_s: float) -> int:
        """Wait for what runs, then abandon the rest. Returns how many were abandoned: their outcome is unknown."""
        for line in self.lines.values():
            line.waiting.clear()
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)
        abandoned = list(self._running)
        for task in abandoned:
            task.cancel()
        if abandoned:
            await asyncio.wait(abandoned)
        return len(abandoned)

    def _line(self, psp: str) -> PspLine:
        line = self.lines.get(psp)
        if line is None:
            # Orders of a PSP that was taken out of the configuration: they are told so, one by one.
            line = self.lines[psp] = PspLine(self._limits(psp), self._clock)
        return line

    def _fill(self) -> None:
        if self._is_paused:
            return
        for line in self.lines.values():
            while line.waiting:
                if not line.breaker.admits():
                    self._refuse_waiting(line)
                    break
                if not line.has_room:
                    break
                self._start(line, line.waiting.popleft())

    def _start(self, line: PspLine, call: PspCall) -> None:
        line.running_count += 1
        task = asyncio.create_task(self._carry_out(line, call, is_probe=line.breaker.started()))
        self._running.add(task)
        task.add_done_callback(partial(self._finished, line))

    def _refuse_waiting(self, line: PspLine) -> None:
        """Answer all that waits in a line whose breaker is open: it goes elsewhere, or rests."""
        refused, retry_in_s = list(line.waiting), line.breaker.retry_in_s()
        line.waiting.clear()
        for call in refused:
            self.refused_count += 1
            # Behind those that rest already.
            line.parked_count += 1
            wait_s = retry_in_s + line.parked_count / self._resume_per_s
            answer = _not_asked(call, "the PSP is not called while its circuit breaker is open")
            self._answer(call, answer._replace(retry_after_s=wait_s), parked=ParkReason.PSP_DOWN)

    def _finished(self, line: PspLine, task: asyncio.Task[None]) -> None:
        line.running_count -= 1
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A connector raises only for defects: the host must not go on as if nothing were.
            self._on_defect(error)
        if line.waiting:
            # No other line has a place more by this end.
            self._fill()

    async def _carry_out(self, line: PspLine, call: PspCall, *, is_probe: bool) -> None:
        self._crash_points.reach("before_psp_call")
        started_s = self._clock.monotonic_s()
        answer = self._unasked(call)
        if answer is None:
            answer = await self._ask(call, line.timeout_s(call.step))
            seconds = self._clock.monotonic_s() - started_s
            line.breaker.ended(line.verdict(call, answer, seconds), is_probe=is_probe)
            line.note_success(call, answer)
            self._durations.append((call.attempt.psp, answer.result, seconds))
        elif is_probe:
            line.breaker.withdrawn()
        self._crash_points.reach("after_psp_call")
        self._answer(call, answer)

    def _answer(
        self, call: PspCall, answer: PspAnswer, *, parked: ParkReason | None = None
    ) -> None:
        self._on_answer(
            CallAnswer.__new__(
                CallAnswer,
                partition_index=call.partition_index,
                order_no=call.order_no,
                step=call.step,
                attempt_no=call.attempt.attempt_no,
                answer=answer,
                parked=parked,
            )
        )

    def _unasked(self, call: PspCall) -> PspAnswer | None:
        """Why the PSP is not asked at all; None when it is."""
        psp = self._psps.get(call.attempt.psp)
        if psp is None or psp.account != call.attempt.psp_account:
            # The order waits until its own account is back: at another one its key would charge anew.
            attempt = call.attempt
            return _not_asked(
                call, f"account {attempt.psp_account} at {attempt.psp} is not configured"
            )
        if call.send_before is not None and self._ledger_now() >= call.send_before:
            return PspAnswer(result=ResultClass.NOT_SENT, message="the key was too old to be sent")
        return None

    def _ask(self, call: PspCall, timeout_s: float) -> Coroutine[Any, Any, PspAnswer]:
        psp = self._psps[call.attempt.psp]
        key, reference = call.attempt.psp_key, call.psp_reference
        if call.operation is not None:
            # PSPs that don't find keys find it by the charge that it is about.
            reference = call.operation.charge_reference or None
        match call.step:
            case TimerKind.SEND if call.operation is not None:
                return operate(psp, key, call.operation, timeout_s=timeout_s)
            case TimerKind.SEND:
                return psp.charge(
                    key, call.attempt.request, reference=reference, timeout_s=timeout_s
                )
            case TimerKind.QUERY:
                return psp.query(psp_key=key, reference=reference, timeout_s=timeout_s)
            case TimerKind.CANCEL:
                return psp.cancel(psp_key=key, reference=reference, timeout_s=timeout_s)
            case TimerKind.RESUME | TimerKind.EXPIRE:
                raise InvariantViolation("no call does that: a decision says which one follows")


async def operate(psp: Psp, key: str, operation: Operation, *, timeout_s: float) -> PspAnswer:
    """Ask for an operation: the same bytes under the same key, since all of it is fixed by its row."""
    reference, amount_minor = operation.charge_reference, operation.amount_minor
    match operation.kind:
        case OperationKind.CAPTURE:
            return await psp.capture(key, reference, amount_minor, timeout_s=timeout_s)
        case OperationKind.REFUND:
            return await psp.refund(key, reference, amount_minor, timeout_s=timeout_s)
        case OperationKind.VOID | OperationKind.EXPIRY:
            return await psp.void(key, reference, timeout_s=timeout_s)


def _not_asked(call: PspCall, message: str) -> PspAnswer:
    """That a question did not leave proves nothing about the charge that it asks about."""
    is_send = call.step is TimerKind.SEND
    return PspAnswer(
        result=ResultClass.NOT_SENT if is_send else ResultClass.UNKNOWN, message=message
    )
