"""One endpoint's bookkeeping: how far it is, and how much it may have in hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.endpoint_line import (
    IN_FLIGHT_FAILING_MAX,
    PAGE_MAX,
    RETRIES_MAX,
    WAITING_MAX,
    WINDOW_MAX,
    EndpointLine,
    InHand,
)
from payments.feed import FEED_START, FeedPosition, before_transaction
from payments.lifecycle import PaymentEvent
from payments.mode import Mode
from storage.dispatch_ports import DispatchEndpoint, DueDelivery
from storage.event_feed import FeedEntry, FeedPage
from storage.webhook_ports import EndpointStatus
from tests.fakes.fake_queries import FAKE_NOW

BODY = b"{}"


def a_line(
    *,
    types: tuple[str, ...] = ("*",),
    recorded: frozenset[FeedPosition] = frozenset(),
    waiting_count: int = 0,
) -> EndpointLine:
    endpoint = DispatchEndpoint(
        endpoint_no=1,
        merchant_no=1,
        mode=Mode.TEST,
        url="https://example.org/",
        types=types,
        status=EndpointStatus.ENABLED,
        position=FEED_START,
        failing_since=None,
        secrets=(b"s" * 32,),
    )
    return EndpointLine(endpoint, recorded=recorded, waiting_count=waiting_count, in_flight_max=8)


def take(line: EndpointLine, page: FeedPage) -> list[InHand]:
    wanted = line.wanted(page)
    line.take_page(page, wanted)
    return wanted


def place(number: int) -> FeedPosition:
    return FeedPosition(number, 0, 1, 1)


def a_page(*numbers: int, reached: FeedPosition | None = None, event: int = 5) -> FeedPage:
    entries = [FeedEntry(place(number), event, FAKE_NOW) for number in numbers]
    return FeedPage(entries, reached or entries[-1].position, is_full=reached is None)


def test_a_place_moves_only_with_everything_before_it() -> None:
    """Results come in any order: the place stands before the first event that has none."""
    line = a_line()
    first, second, third = take(line, a_page(1, 2, 3))
    line.recorded(third, is_waiting=False)
    line.recorded(second, is_waiting=True)
    assert line.passed == FEED_START
    line.recorded(first, is_waiting=False)
    assert line.passed == place(3)
    assert line.waiting_count == 1


@given(order=st.permutations(list(range(1, 9))), reached=st.booleans())
def test_no_order_of_results_passes_an_event(order: list[int], reached: bool) -> None:
    """Whatever ends first, what is not recorded stays before the place, and in the end all is passed."""
    line = a_line()
    horizon = before_transaction(50) if reached else None
    taken = {one.position: one for one in take(line, a_page(*range(1, 9), reached=horizon))}
    left = set(taken)
    for number in order:
        line.recorded(taken[place(number)], is_waiting=False)
        left.discard(place(number))
        assert all(position > line.passed for position in left)
    assert line.passed == (horizon or place(8))


def test_what_nobody_asked_for_is_passed_without_a_row() -> None:
    """An endpoint that wants failures moves past successes."""
    line = a_line(types=("payment_order.failed",))
    assert take(line, a_page(1, 2, event=PaymentEvent.SUCCEEDED)) == []
    assert line.passed == place(2)
    (wanted,) = take(line, a_page(3, event=PaymentEvent.DECLINED))
    assert (wanted.position, line.passed) == (place(3), place(2))


def test_what_has_a_row_already_is_not_sent_again() -> None:
    """After a restart the results behind the place are known, and only what is missing is read."""
    line = a_line(recorded=frozenset({place(2)}))
    assert [one.position for one in take(line, a_page(1, 2, 3))] == [place(1), place(3)]


def test_a_line_reads_no_further_ahead_than_its_window() -> None:
    """An endpoint that takes nothing is read so many events, and no more until some have ended."""
    line = a_line()
    number = 0
    while line.room:
        take(line, a_page(*range(number + 1, number + line.room + 1)))
        number += PAGE_MAX
    assert number == WINDOW_MAX
    assert a_line(waiting_count=WAITING_MAX).room == 0


def test_a_failing_endpoint_is_sent_little() -> None:
    """While its last try has failed, two at a time find out when it is back."""
    line = a_line()
    for one in take(line, a_page(*range(1, 21))):
        line.put(one, BODY)
    line.failing_since = FAKE_NOW
    sent = [line.next_to_send() for _ in range(5)]
    assert [one is not None for one in sent] == [True] * IN_FLIGHT_FAILING_MAX + [False] * 3
    line.sent()
    line.failing_since = None
    more = [line.next_to_send() for _ in range(20)]
    assert sum(one is not None for one in more) == 7


def test_a_delivery_that_is_due_is_in_hand_once() -> None:
    """What is on its way is not taken again, and so many retries are in hand at most."""
    line = a_line(waiting_count=100)
    (in_window,) = take(line, a_page(1))
    due = [DueDelivery(1, place(number), 5, FAKE_NOW, 2) for number in range(1, 60)]
    taken = line.take_due(due)
    assert len(taken) == RETRIES_MAX
    assert in_window.position not in {one.position for one in taken}
    assert taken[0].tries_before == 2
    assert line.take_due(due) == []
    assert line.retry_room == 0
    line.recorded(taken[0], is_waiting=False)
    assert (line.waiting_count, line.retry_room) == (99, RETRIES_MAX)


def test_a_stopped_line_sends_nothing() -> None:
    """After a stop what is in line is dropped: it is read again if the endpoint is enabled."""
    line = a_line()
    for one in take(line, a_page(1, 2)):
        line.put(one, BODY)
    line.stop()
    assert line.next_to_send() is None
    assert (line.room, line.retry_room) == (0, 0)
