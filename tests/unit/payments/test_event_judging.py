"""A PSP's event ends its own attempt, agrees with how its order ended, or is told apart as a contradiction."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.attempts import ResultClass
from payments.event_judging import answer_of
from payments.event_rows import EventVerdict
from payments.lifecycle import PaymentState
from payments.psp_events import EndedOrder, EventFound, PspEvent, event_fingerprint, event_uuid
from tests.scenario import START, BookWorld, Deed, an_order

PSP = "psp"
ORDER = an_order(1)
CHARGED = PspEvent(
    event_uuid=event_uuid(PSP, "evt_1"),
    psp=PSP,
    event_id="evt_1",
    order_uuid=ORDER.order_uuid,
    attempt_no=1,
    result=ResultClass.APPROVED,
    reference="ch_1",
    captured_minor=1999,
    currency="USD",
    failure_code="declined",
    decline_code=None,
    message="",
    effective_at=None,
    accepted_at=START,
)
DECLINED = CHARGED._replace(
    event_uuid=event_uuid(PSP, "evt_2"),
    event_id="evt_2",
    result=ResultClass.DECLINED_FINAL,
    reference=None,
    captured_minor=0,
    currency=None,
    decline_code="do_not_honor",
)
CANCELED = DECLINED._replace(result=ResultClass.CANCELED, decline_code=None)


def an_unknown(deed: Deed = Deed.CHARGE_SILENTLY) -> BookWorld:
    """One order whose PSP has said nothing."""
    world = BookWorld()
    world.post(ORDER)
    world.carry_out(world.calls[0], deed)
    assert not world.calls
    return world


def found_of(
    world: BookWorld, event: PspEvent, *, is_overdue: bool = False, **changes: Any
) -> EventFound:
    """An event as the owner finds it: held against the books of now."""
    key = world.books.order_keys.get(event.order_uuid)
    tried = None if key is None else world.books.attempts.get((*key, event.attempt_no))
    ended = None if key is None else world.books.outcomes.get(key)
    found = EventFound(
        partition_index=0,
        event=event,
        order_no=None if key is None else key[1],
        attempt_psp=None if tried is None else tried[0].psp,
        ended=None
        if ended is None
        else EndedOrder(
            status=ended[0].status,
            attempt_no=ended[0].attempt_no,
            captured_minor=ended[0].amount_captured_minor,
            currency=ended[0].currency,
            psp_reference=ended[0].psp_reference,
        ),
        is_overdue=is_overdue,
    )
    return found._replace(**changes)


def tell(world: BookWorld, event: PspEvent, **changes: Any) -> tuple[int, str] | None:
    """Have the book judge an event. Returns its result, or None while it waits."""
    world.take(answers=[answer_of(found_of(world, event, **changes))])
    row = world.books.psp_events.results.get((0, event.event_uuid))
    return None if row is None else (row.result, row.detail)


def test_a_charge_that_nobody_answered_settles_by_its_event() -> None:
    """The order succeeds with the event's reference, and its transfers are made once."""
    world = an_unknown()
    assert tell(world, CHARGED) == (EventVerdict.APPLIED, "")
    assert world.status_of(ORDER.order_uuid) is PaymentState.SUCCEEDED
    ((outcome, _),) = world.books.outcomes.values()
    assert (outcome.psp_reference, outcome.amount_captured_minor) == ("ch_1", 1999)
    transfers = dict(world.books.transfers)
    assert transfers
    assert tell(world, CHARGED._replace(event_uuid=UUID(int=2))) == (EventVerdict.AGREES, "")
    assert world.books.transfers == transfers
    assert not world.books.timers


@pytest.mark.parametrize(
    ("event", "state"),
    [(DECLINED, PaymentState.FAILED), (CANCELED, PaymentState.CANCELED)],
)
def test_what_was_not_charged_ends_and_nothing_is_sent_again(
    event: PspEvent, state: PaymentState
) -> None:
    """No key of the order leaves after the PSP's no, however much time passes and owners change."""
    world = an_unknown(Deed.VANISH)
    assert tell(world, event) == (EventVerdict.APPLIED, "")
    assert world.status_of(ORDER.order_uuid) is state
    for _ in range(3):
        world.wait(100_000)
        world.claim()
        assert not world.calls
    assert not world.psp.charges


def test_an_event_waits_for_the_call_on_its_way() -> None:
    """While the outcome is not unknown the call's answer comes first; then the two are compared."""
    world = BookWorld()
    world.post(ORDER)
    (call,) = world.calls
    assert tell(world, CHARGED) is None
    assert world.status_of(ORDER.order_uuid) is None
    world.carry_out(call, Deed.CHARGE)
    assert world.status_of(ORDER.order_uuid) is PaymentState.SUCCEEDED
    ((outcome, _),) = world.books.outcomes.values()
    event = CHARGED._replace(reference=outcome.psp_reference)
    assert tell(world, event) == (EventVerdict.AGREES, "")


@pytest.mark.parametrize("is_parked", [False, True])
def test_a_charge_by_an_attempt_that_was_refused_settles(is_parked: bool) -> None:
    """A PSP may have charged what it said did not run: by its event the order ends, and never goes on
    to another PSP, where it would be charged again.
    """
    world = BookWorld(psps=("psp", "other"))
    world.post(ORDER)
    world.carry_out(world.calls[0], Deed.REFUSE)
    if is_parked:
        world.refusing = frozenset({"psp", "other"})
        world.wait(60)
        for call in world.calls:
            world.refuse(call)
    assert not world.calls
    assert tell(world, CHARGED._replace(captured_minor=7))[0] == EventVerdict.CONTRADICTS  # type: ignore[index]
    assert world.status_of(ORDER.order_uuid) is None
    assert tell(world, DECLINED) is None
    charged = CHARGED._replace(event_uuid=UUID(int=5))
    assert tell(world, charged) == (EventVerdict.APPLIED, "")
    assert world.status_of(ORDER.order_uuid) is PaymentState.SUCCEEDED
    world.refusing = frozenset({"psp"})
    for _ in range(3):
        world.wait(100_000)
        assert not world.calls
    assert not world.psp.charges


def test_of_one_name_the_first_event_stands() -> None:
    """Two events that came under one name in one batch: the first is kept, with its result."""
    world = an_unknown()
    later = CHARGED._replace(result=ResultClass.UNKNOWN)
    decided = world.take(psp_events=[CHARGED, later])
    assert [row.result for row in decided.psp_events] == [ResultClass.APPROVED]
    assert not decided.psp_event_results


def test_a_buyer_who_has_acted_is_told_by_the_event() -> None:
    """An order that waits for its buyer ends by the PSP's word, without being asked for."""
    world = BookWorld()
    world.post(ORDER)
    world.carry_out(world.calls[0], Deed.ASK_BUYER)
    waiting = CHARGED._replace(result=ResultClass.REQUIRES_ACTION, event_uuid=UUID(int=3))
    decided = world.take(psp_events=[waiting])
    assert [row.result for row in decided.psp_event_results] == [EventVerdict.IGNORED]
    assert tell(world, CHARGED) == (EventVerdict.APPLIED, "")
    assert world.status_of(ORDER.order_uuid) is PaymentState.SUCCEEDED
    assert len(world.books.transfers) > 0


def test_a_charge_by_an_attempt_that_was_left_is_told() -> None:
    """After a fallback the first attempt surely never charges; an event that says so is a contradiction."""
    world = BookWorld(psps=("psp", "other"))
    world.post(ORDER)
    world.refusing = frozenset({"psp"})
    world.refuse(world.calls[0])
    (call,) = world.calls
    assert call.attempt.attempt_no == 2
    left = "it tells of a charge by an attempt given up"
    assert tell(world, CHARGED) == (EventVerdict.CONTRADICTS, left)
    assert tell(world, DECLINED) == (EventVerdict.AGREES, "")
    world.carry_out(call, Deed.CHARGE)
    again = CHARGED._replace(event_uuid=UUID(int=4))
    assert tell(world, again) == (EventVerdict.CONTRADICTS, left)
    assert sum(world.psp.charges.values()) == 1


def test_after_a_takeover_the_event_waits_for_the_attempt_sent_again() -> None:
    """A new owner sends the inherited attempt again; the event ends nothing before, and agrees after."""
    world = BookWorld()
    world.post(ORDER)
    world.psp.carry_out(world.calls[0], Deed.CHARGE, world.now)
    world.claim()
    (call,) = world.calls
    assert tell(world, CHARGED) is None
    world.carry_out(call, Deed.CHARGE)
    ((outcome, _),) = world.books.outcomes.values()
    event = CHARGED._replace(reference=outcome.psp_reference)
    assert tell(world, event) == (EventVerdict.AGREES, "")
    assert len(world.psp.charges) == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"captured_minor": 1}, "it names 1 USD in minor units; the order is of 1999 USD"),
        ({"currency": "EUR"}, "it names 1999 EUR"),
    ],
)
def test_other_money_settles_nothing(changes: dict[str, Any], why: str) -> None:
    """An event of another amount or currency contradicts the order, which stays unknown."""
    world = an_unknown()
    result = tell(world, CHARGED._replace(**changes))
    assert result is not None
    assert result[0] == EventVerdict.CONTRADICTS
    assert why in result[1]
    assert world.status_of(ORDER.order_uuid) is None
    assert not world.books.transfers


def test_another_psps_event_ends_nothing() -> None:
    """A PSP speaks of its own attempts alone."""
    world = an_unknown()
    result = tell(world, CHARGED._replace(psp="other"))
    assert result == (EventVerdict.CONTRADICTS, "the attempt is at another PSP")
    assert world.status_of(ORDER.order_uuid) is None


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (DECLINED, "it was charged"),
        (CANCELED, "it was charged"),
        (
            CHARGED._replace(captured_minor=7),
            "it names 7 USD in minor units; the books hold 1999 USD",
        ),
        (CHARGED._replace(currency="EUR"), "it names 1999 EUR"),
        (CHARGED._replace(reference="ch_other"), "another charge"),
    ],
)
def test_nothing_undoes_a_success(event: PspEvent, why: str) -> None:
    """What comes after an order succeeded changes nothing; what says otherwise is a contradiction."""
    world = an_unknown()
    tell(world, CHARGED)
    outcomes, transfers = dict(world.books.outcomes), dict(world.books.transfers)
    result = tell(world, event._replace(event_uuid=UUID(int=2)))
    assert result is not None
    assert result[0] == EventVerdict.CONTRADICTS
    assert why in result[1]
    assert (world.books.outcomes, world.books.transfers) == (outcomes, transfers)


def test_a_charge_after_a_failure_is_told() -> None:
    """Money that a failed order moved all the same is a contradiction, and is not booked."""
    world = an_unknown(Deed.VANISH)
    tell(world, DECLINED)
    result = tell(world, CHARGED)
    assert result == (EventVerdict.CONTRADICTS, "it tells of a charge; the order is failed")
    assert not world.books.transfers
    assert tell(world, DECLINED._replace(event_uuid=UUID(int=2))) == (EventVerdict.AGREES, "")


def test_an_event_without_an_order_waits_and_is_given_up() -> None:
    """It waits until it is overdue, and then has a result with its reason."""
    world = BookWorld()
    assert tell(world, CHARGED) is None
    result = tell(world, CHARGED, is_overdue=True)
    assert result == (EventVerdict.UNMATCHED, "no order of ours has its key")


def test_an_event_of_an_attempt_that_is_not_there_waits() -> None:
    """An attempt may be written after the look; one that never comes is a contradiction."""
    world = an_unknown()
    later = CHARGED._replace(attempt_no=2)
    assert tell(world, later) is None
    assert tell(world, later, attempt_psp=PSP) is None
    result = tell(world, later, is_overdue=True)
    assert result == (EventVerdict.CONTRADICTS, "the order has no attempt 2")


def test_an_order_that_is_not_to_be_touched_keeps_its_event() -> None:
    """While an order is set aside because it ends its owner, its events wait."""
    world = an_unknown()
    key = world.books.order_keys[ORDER.order_uuid]
    world.books.parked[key] = ("kills_host", "")
    world.claim()
    assert tell(world, CHARGED) is None
    assert world.status_of(ORDER.order_uuid) is None


def test_names_tell_events_apart() -> None:
    """One PSP's event has one name, and no two PSPs share any."""
    assert event_uuid("a", "b|c") != event_uuid("a|b", "c")
    assert event_uuid("a", "1") == event_uuid("a", "1") != event_uuid("b", "1")
    assert event_fingerprint("a", "1") == event_fingerprint("a", "1") != event_fingerprint("a", "2")


@given(
    told=st.lists(
        st.tuples(st.sampled_from([CHARGED, DECLINED, CANCELED]), st.integers(0, 3)), max_size=6
    ),
    deed=st.sampled_from([Deed.CHARGE_SILENTLY, Deed.VANISH]),
)
def test_events_in_any_order_end_it_once(told: list[tuple[PspEvent, int]], deed: Deed) -> None:
    """However events repeat and follow each other: one outcome, the first one's, and its money once."""
    world = an_unknown(deed)
    for event, number in told:
        tell(world, event._replace(event_uuid=UUID(int=number + 10 * event.result)))
    applied = [
        row for row in world.books.psp_events.results.values() if row.result == EventVerdict.APPLIED
    ]
    assert len(applied) == len(world.books.outcomes) == min(len(told), 1)
    if told:
        is_charged = told[0][0] is CHARGED
        assert bool(world.books.transfers) == is_charged
        assert (world.status_of(ORDER.order_uuid) is PaymentState.SUCCEEDED) == is_charged
