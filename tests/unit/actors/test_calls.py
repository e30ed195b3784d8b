"""PSP calls: bounded, one an order, and given up in good order."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import cast

import pytest

from actors.breakers import BreakerState, Verdict
from actors.calls import PspCalls
from actors.psp_lines import PspLimits, PspLine
from payments.attempts import PspAnswer, ResultClass
from payments.open_order import CallAnswer, PspCall
from payments.parking import ParkReason
from payments.rows import TimerKind
from psp.port import Psp
from runtime.crash_points import CrashPoints
from tests.manual_clock import ManualClock
from tests.scenario import START
from tests.unit.actors.messages import a_call


class SlowPsp:
    """Answers when told to."""

    name = "psp"
    account = "main"

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.running = 0
        self.running_max = 0
        self.fault: Exception | None = None
        self.result = ResultClass.DECLINED_FINAL

    async def charge(
        self, psp_key: str, request: bytes, *, reference: str | None = None, timeout_s: float
    ) -> PspAnswer:
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        await self.may_answer.wait()
        self.running -= 1
        if self.fault is not None:
            raise self.fault
        return PspAnswer(result=self.result, message=psp_key)


class Rig:
    def __init__(self, *, in_flight_max: int = 2) -> None:
        self.psp = SlowPsp()
        self.other = SlowPsp()
        self.answers: list[CallAnswer] = []
        self.defects: list[BaseException] = []
        self.now = START
        self.calls = PspCalls(
            {"psp": cast(Psp, self.psp), "other": cast(Psp, self.other)},
            self.answers.append,
            self.defects.append,
            limits=lambda _: PspLimits(in_flight_max=in_flight_max, charge_timeout_ms=100),
            ledger_now=lambda: self.now,
            clock=ManualClock(),
            crash_points=CrashPoints({}),
        )

    async def settle(self) -> None:
        self.psp.may_answer.set()
        for _ in range(100):
            await asyncio.sleep(0)


async def test_calls_in_flight_are_bounded_and_all_run() -> None:
    """Never more at a time than allowed, and none forgotten."""
    rig = Rig(in_flight_max=3)
    rig.calls.start(a_call(n) for n in range(10))
    await asyncio.sleep(0)
    assert (rig.calls.in_flight_count, rig.calls.waiting_count) == (3, 7)
    await rig.settle()
    assert rig.psp.running_max == 3
    assert sorted(answer.order_no for answer in rig.answers) == list(range(10))


async def test_an_order_has_one_call_until_its_answer_is_written() -> None:
    """A second call for the same order waits for ``done``, not only for the answer."""
    rig = Rig()
    rig.calls.start([a_call(1), a_call(1)])
    await rig.settle()
    rig.calls.start([a_call(1)])
    await rig.settle()
    assert len(rig.answers) == 1
    assert rig.calls.is_busy(0, 1)
    rig.calls.done(0, 1)
    rig.calls.start([a_call(1)])
    await rig.settle()
    assert len(rig.answers) == 2


async def test_a_pause_starts_nothing_and_loses_nothing() -> None:
    """While paused nothing new leaves; afterwards everything does."""
    rig = Rig()
    rig.calls.pause(True)
    rig.calls.start([a_call(1), a_call(2)])
    await rig.settle()
    assert rig.answers == []
    rig.calls.pause(False)
    await rig.settle()
    assert len(rig.answers) == 2


async def test_partitions_given_up_leave_no_trace() -> None:
    """What waits is dropped at once; what runs is waited for, and at last forgotten."""
    rig = Rig(in_flight_max=1)
    gone = frozenset({0})
    rig.calls.start([a_call(1), a_call(2), a_call(3, partition_index=5)])
    await asyncio.sleep(0)
    assert rig.calls.running_count_of(gone) == 1
    rig.calls.unqueue(gone)
    assert not rig.calls.is_busy(0, 2)
    assert rig.calls.is_busy(0, 1)
    rig.calls.forget(gone)
    assert rig.calls.running_count_of(gone) == 0
    await rig.settle()
    assert {answer.order_no for answer in rig.answers} == {1, 3}


async def test_closing_abandons_what_does_not_end() -> None:
    """After a drain's time nothing runs on, and nothing that waited starts."""
    rig = Rig(in_flight_max=1)
    rig.calls.start([a_call(1), a_call(2)])
    await asyncio.sleep(0)
    assert await rig.calls.close(timeout_s=0) == 1
    await rig.settle()
    assert rig.answers == []


async def test_a_connector_that_raises_is_a_defect() -> None:
    """A connector classifies every answer; what it raises must not be taken for silence."""
    rig = Rig()
    rig.psp.fault = KeyError("bug")
    rig.calls.start([a_call(1)])
    await rig.settle()
    assert isinstance(rig.defects[0], KeyError)


@pytest.mark.parametrize(
    ("step", "result"),
    [(TimerKind.SEND, ResultClass.NOT_SENT), (TimerKind.CANCEL, ResultClass.UNKNOWN)],
)
@pytest.mark.parametrize(("psp", "account"), [("psp", "other"), ("gone", "main")])
async def test_an_attempt_goes_to_its_own_account_or_nowhere(
    psp: str, account: str, step: TimerKind, result: ResultClass
) -> None:
    """At another account the same key would charge again; the order waits for its own."""
    rig = Rig()
    rig.calls.start([a_call(1, psp=psp, account=account, step=step)])
    await rig.settle()
    assert [answer.answer.result for answer in rig.answers] == [result]
    assert rig.psp.running_max == 0


async def test_a_key_that_grew_old_while_waiting_is_not_sent() -> None:
    """A call that was held back until its PSP may have forgotten the key never leaves."""
    calls = Rig(in_flight_max=1)
    calls.calls.pause(True)
    calls.calls.start([a_call(1, send_before=START + timedelta(hours=23))])
    calls.now = START + timedelta(hours=23)
    calls.calls.pause(False)
    await calls.settle()
    assert [answer.answer.result for answer in calls.answers] == [ResultClass.NOT_SENT]
    assert calls.psp.running_max == 0


def to_other(n: int) -> PspCall:
    call = a_call(n)
    return call._replace(attempt=call.attempt._replace(psp="other"))


async def test_a_slow_psp_leaves_the_other_its_calls() -> None:
    """Each PSP has places of its own, however many calls wait for the other one."""
    rig = Rig(in_flight_max=2)
    rig.calls.start(a_call(n) for n in range(50))
    rig.calls.start(to_other(n) for n in range(100, 104))
    rig.other.may_answer.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert [answer.order_no for answer in rig.answers] == [100, 101, 102, 103]
    assert (rig.calls.in_flight_count, rig.calls.waiting_count) == (2, 48)
    await rig.settle()
    assert len(rig.answers) == 54


async def test_what_waits_is_refused_once_the_breaker_opens() -> None:
    """It is answered at once, with a reason and an estimate, so that it goes elsewhere or rests."""
    rig = Rig(in_flight_max=20)
    rig.psp.result = ResultClass.NOT_SENT
    rig.calls.start(a_call(n) for n in range(40))
    query = a_call(90)._replace(step=TimerKind.QUERY, send_before=None)
    rig.calls.start([query])
    await asyncio.sleep(0)
    await rig.settle()
    assert rig.calls.lines["psp"].breaker.state is BreakerState.OPEN
    parked = [answer for answer in rig.answers if answer.parked is not None]
    assert len(parked) == 21
    assert {answer.parked for answer in parked} == {ParkReason.PSP_DOWN}
    results = {answer.step: answer.answer.result for answer in parked}
    assert results == {TimerKind.SEND: ResultClass.NOT_SENT, TimerKind.QUERY: ResultClass.UNKNOWN}
    waits = [answer.answer.retry_after_s for answer in parked]
    assert all(wait_s is not None and wait_s > 4 for wait_s in waits)
    assert waits == sorted(waits, key=lambda wait_s: wait_s or 0)
    assert rig.calls.refused_count == 21
    assert rig.calls.availability().refusing == {"psp"}
    assert rig.psp.running_max == 20


@pytest.mark.parametrize(
    ("result", "is_silent", "is_tainted", "seconds", "expected"),
    [
        (ResultClass.APPROVED, False, False, 0.0, Verdict.WELL),
        (ResultClass.DECLINED_FINAL, False, True, 9.0, Verdict.WELL),
        (ResultClass.NOT_SENT, True, False, 0.0, Verdict.FAILED),
        (ResultClass.NOT_SENT, False, False, 0.0, Verdict.FAILED),
        (ResultClass.NOT_SENT, True, True, 0.0, Verdict.FAILED),
        (ResultClass.NOT_SENT, False, True, 0.0, Verdict.UNCLEAR),
        (ResultClass.UNKNOWN, False, False, 9.0, Verdict.UNCLEAR),
        (ResultClass.UNKNOWN, True, False, 0.0, Verdict.CUT),
        (ResultClass.UNKNOWN, True, False, 0.1, Verdict.FAILED),
    ],
)
def test_what_an_answer_tells_of_its_psp(
    result: ResultClass, is_silent: bool, is_tainted: bool, seconds: float, expected: Verdict
) -> None:
    """Refusals of a first send and silence are the PSP's; the rest is the order's."""
    line = PspLine(PspLimits(charge_timeout_ms=100), ManualClock())
    call = a_call(1)
    call = call._replace(attempt=call.attempt._replace(is_tainted=is_tainted))
    assert line.verdict(call, PspAnswer(result=result, is_silent=is_silent), seconds) is expected
