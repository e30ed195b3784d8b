"""The inbox: oldest first, and nothing lost when a flush fails."""

from __future__ import annotations

from actors.inbox import Inbox
from payments.rows import TimerKind
from tests.unit.actors.messages import a_message, an_answer


def test_work_comes_out_in_order_and_goes_back_in_order() -> None:
    """What was put back comes out again before what came later."""
    inbox = Inbox()
    messages = [a_message(number) for number in range(6)]
    answers = [an_answer(order_no) for order_no in range(6)]
    inbox.add_messages(messages[:4], 1.0)
    for answer in answers[:4]:
        inbox.add_answer(answer, 1.0)
    taken = inbox.take(3, 2.0)
    inbox.add_messages(messages[4:], 3.0)
    inbox.put_back(taken, 4.0)
    work = inbox.take(10, 5.0)
    assert work.messages == messages
    assert work.answers == answers[:4]
    assert len(inbox) == 0


def test_a_timer_waits_once_and_gives_way_to_an_answer() -> None:
    """A timer read again is one timer; one whose order was just answered is out of date."""
    inbox = Inbox()
    for step in (TimerKind.SEND, TimerKind.QUERY):
        inbox.add_due(1, step, 1.0)
    inbox.add_due(2, TimerKind.SEND, 1.0)
    inbox.add_answer(an_answer(2), 1.0)
    assert inbox.take(10, 2.0).due == [(1, TimerKind.QUERY)]


def test_a_newer_timer_is_not_overwritten_by_one_put_back() -> None:
    """Between a failed flush and its repetition the newer reading stands."""
    inbox = Inbox()
    inbox.add_due(1, TimerKind.SEND, 1.0)
    taken = inbox.take(10, 2.0)
    inbox.add_due(1, TimerKind.QUERY, 3.0)
    inbox.put_back(taken, 4.0)
    assert inbox.take(10, 5.0).due == [(1, TimerKind.QUERY)]


def test_waiting_since_is_the_arrival_of_the_oldest() -> None:
    """A partition's turn is by its oldest work; what a full flush left waits from then on."""
    inbox = Inbox()
    assert inbox.waiting_since_s is None
    inbox.add_messages([a_message(1), a_message(2)], 1.0)
    inbox.add_answer(an_answer(1), 5.0)
    assert inbox.waiting_since_s == 1.0
    inbox.take(1, 7.0)
    assert inbox.waiting_since_s == 7.0
    inbox.take(9, 8.0)
    assert inbox.waiting_since_s is None


def test_forgotten_messages_leave_answers() -> None:
    """What will be read again is forgotten; what a PSP said is not."""
    inbox = Inbox()
    inbox.add_messages([a_message(1)], 1.0)
    inbox.add_answer(an_answer(1), 1.0)
    assert inbox.drop_messages() == 1
    assert (inbox.message_count, len(inbox)) == (0, 1)


def test_the_oldest_message_tells_how_far_behind_it_is() -> None:
    """The first message that waits counts, also one that was put back; answers don't."""
    inbox = Inbox()
    inbox.add_answer(an_answer(1), 1.0)
    assert inbox.oldest_read_at_s is None
    inbox.add_messages([a_message(n)._replace(read_at_s=float(n)) for n in (5, 6)], 7.0)
    assert inbox.oldest_read_at_s == 5.0
    taken = inbox.take(1, 8.0)
    assert inbox.oldest_read_at_s == 6.0
    inbox.put_back(taken, 9.0)
    assert inbox.oldest_read_at_s == 5.0


def test_a_flush_takes_messages_up_to_its_bytes() -> None:
    """Large messages come a few at a time, one at least; the others wait in their order."""
    inbox = Inbox()
    messages = [a_message(n)._replace(raw=(b"p", bytes(999))) for n in range(5)]
    inbox.add_messages(messages, 1.0)
    assert inbox.take(10, 2.0, bytes_max=2_000).messages == messages[:2]
    assert inbox.take(10, 3.0, bytes_max=1).messages == messages[2:3]
    assert inbox.waiting_since_s == 3.0
    assert inbox.take(10, 4.0).messages == messages[3:]
