"""How well a PSP's latest charges ended, where a routing rule asks."""

from __future__ import annotations

from actors.psp_lines import (
    SUCCESS_CHARGES_MAX,
    SUCCESS_CHARGES_MIN,
    SUCCESS_S,
    PspLimits,
    PspLine,
    SuccessWindow,
)
from payments.attempts import PspAnswer, ResultClass
from payments.rows import TimerKind
from tests.manual_clock import ManualClock
from tests.unit.actors.messages import a_call


def test_few_charges_say_nothing() -> None:
    """One decline of three is no third."""
    window = SuccessWindow(ManualClock())
    for _ in range(SUCCESS_CHARGES_MIN - 1):
        window.ended(is_approved=False)
        assert window.percent() is None
    window.ended(is_approved=True)
    assert window.percent() == 100 // SUCCESS_CHARGES_MIN


def test_only_the_latest_charges_count() -> None:
    """Older ones leave, by number and by time: a PSP that nobody asks any more is not known any more."""
    clock = ManualClock()
    window = SuccessWindow(clock)
    for _ in range(SUCCESS_CHARGES_MAX):
        window.ended(is_approved=False)
    for _ in range(SUCCESS_CHARGES_MAX):
        window.ended(is_approved=True)
    assert window.percent() == 100
    clock.advance(SUCCESS_S + 1)
    assert window.percent() is None


def test_a_line_notes_how_charges_end() -> None:
    """Questions, and the first half of a charge, are none; a line of which no rule asks notes nothing."""
    line = PspLine(PspLimits(is_success_watched=True), ManualClock())
    unwatched = PspLine(PspLimits(), ManualClock())
    send = a_call(1)
    question = send._replace(step=TimerKind.QUERY)
    for _ in range(SUCCESS_CHARGES_MIN):
        for one in (line, unwatched):
            one.note_success(send, PspAnswer(result=ResultClass.PREPARED))
            one.note_success(question, PspAnswer(result=ResultClass.DECLINED_FINAL))
            one.note_success(send, PspAnswer(result=ResultClass.APPROVED))
            one.note_success(send, PspAnswer(result=ResultClass.NOT_SENT))
    assert line.success_percent() == 50
    assert unwatched.success_percent() is None
