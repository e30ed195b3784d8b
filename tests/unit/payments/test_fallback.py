"""From PSP to PSP: what frees an order, and what keeps it where it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from payments.attempts import PspAnswer, ResultClass
from payments.fallback import may_fall_back
from payments.lifecycle import PaymentState
from payments.parking import ParkReason
from payments.retry_policy import RetryRule, Strategy
from payments.rows import TimerKind
from tests.scenario import POLICY, START, TERMS, BookWorld, Deed, an_order

PSPS = ("a", "b")


def psps_of(world: BookWorld) -> list[str]:
    return [row.psp for row, _ in world.books.attempts.values()]


def test_an_order_that_never_ran_goes_to_the_next_psp() -> None:
    """After the tries that the policy gives the first PSP, under a key and a row of its own."""
    world = BookWorld(psps=PSPS)
    world.post(an_order(1))
    world.carry_out(world.calls[0], Deed.REFUSE)
    assert not world.calls
    world.wait(1)
    decided = world.take(
        answers=[world.answer(world.calls[0], PspAnswer(result=ResultClass.NOT_SENT))]
    )
    assert [row.psp for row in decided.attempts] == ["b"]
    (call,) = world.calls
    assert (call.attempt.psp, call.attempt.attempt_no) == ("b", 2)
    world.carry_out(call, Deed.CHARGE)
    outcome, _ = world.books.outcomes[0, 1]
    assert (outcome.psp, outcome.attempt_no) == ("b", 2)


@pytest.mark.parametrize("deed", [Deed.VANISH, Deed.CHARGE_SILENTLY])
def test_an_order_that_may_have_run_stays(deed: Deed) -> None:
    """However often its PSP refuses it later, and however well the other one is."""
    world = BookWorld(psps=PSPS)
    world.post(an_order(1))
    world.carry_out(world.calls[0], deed)
    world.refusing = frozenset({"a"})
    for _ in range(40):
        world.wait(3_600)
        for call in list(world.calls):
            world.carry_out(call, Deed.REFUSE)
    assert psps_of(world) == ["a"]


def test_a_new_owner_moves_nothing() -> None:
    """What an owner did not see itself may have run."""
    world = BookWorld(psps=PSPS)
    world.post(an_order(1))
    world.carry_out(world.calls[0], Deed.REFUSE)
    world.claim()
    world.refusing = frozenset({"a"})
    for _ in range(5):
        world.wait(60)
        for call in list(world.calls):
            world.refuse(call)
    assert psps_of(world) == ["a"]


@pytest.mark.parametrize("deed", [Deed.DECLINE, Deed.DECLINE_SOFTLY])
def test_a_soft_decline_asks_the_next_psp(deed: Deed) -> None:
    """Where the policy says so; any other decline is the order's end."""
    world = BookWorld(psps=PSPS)
    world.post(an_order(1))
    world.carry_out(world.calls[0], deed)
    is_soft = deed is Deed.DECLINE_SOFTLY
    assert psps_of(world) == (["a", "b"] if is_soft else ["a"])
    assert (world.status_of(an_order(1).order_uuid) is None) == is_soft


def test_a_soft_decline_of_a_tainted_attempt_needs_a_psp_that_keeps_its_word() -> None:
    """A decline that is not replayed says nothing of the send before it."""
    world = BookWorld(psps=PSPS)
    (order,) = world.post(an_order(1)).opened
    tainted = order._replace(attempt=order.attempt._replace(is_tainted=True))
    said = PspAnswer(result=ResultClass.DECLINED_FINAL, decline_code="try_again_later")
    for known, replays, expected in (
        (order, False, True),
        (order, True, True),
        (tainted, True, True),
        (tainted, False, False),
    ):
        terms = TERMS._replace(replays_declines=replays)
        epoch = order.attempt.epoch
        is_free = may_fall_back(
            known, TimerKind.SEND, said, now=START, epoch=epoch, terms=terms, policy=POLICY
        )
        assert is_free is expected


def test_the_policy_may_keep_declines_where_they_are() -> None:
    """The strategy cancel ends an order at its first decline."""
    never = replace(POLICY, soft_decline=RetryRule(strategy=Strategy.CANCEL))
    world = BookWorld(never, psps=PSPS)
    world.post(an_order(1))
    world.carry_out(world.calls[0], Deed.DECLINE_SOFTLY)
    assert world.status_of(an_order(1).order_uuid) is PaymentState.FAILED


def test_a_soft_decline_may_wait_for_its_turn() -> None:
    """The new attempt is a row at once, and is sent when the rule says so."""
    later = replace(POLICY, soft_decline=RetryRule(strategy=Strategy.FIXED, first_ms=60_000))
    world = BookWorld(later, psps=PSPS)
    world.post(an_order(1))
    world.carry_out(world.calls[0], Deed.DECLINE_SOFTLY)
    assert psps_of(world) == ["a", "b"]
    assert not world.calls
    assert world.books.open_orders[0, 1].next_retry_at == START + timedelta(seconds=60)
    world.wait(61)
    assert [call.attempt.psp for call in world.calls] == ["b"]
    world.carry_out(world.calls[0], Deed.CHARGE)
    assert world.status_of(an_order(1).order_uuid) is PaymentState.SUCCEEDED


def test_soft_declines_have_an_end() -> None:
    """By their count or by their age, as other failures do."""
    for rule, is_declined in (
        (RetryRule(strategy=Strategy.IMMEDIATE, count_max=1), True),
        (RetryRule(strategy=Strategy.IMMEDIATE, age_s_max=5), True),
        (RetryRule(strategy=Strategy.IMMEDIATE, count_max=2, age_s_max=20), False),
    ):
        world = BookWorld(replace(POLICY, soft_decline=rule), psps=PSPS)
        world.post(an_order(1))
        world.wait(10)
        world.carry_out(world.calls[0], Deed.DECLINE_SOFTLY)
        assert (world.status_of(an_order(1).order_uuid) is PaymentState.FAILED) is is_declined


def test_attempts_are_bounded() -> None:
    """An order stays with the PSP of its last attempt."""
    world = BookWorld(replace(POLICY, fallback_tries=1, attempts_max=3), psps=PSPS)
    world.post(an_order(1))
    for _ in range(20):
        if world.calls:
            world.carry_out(world.calls[0], Deed.REFUSE)
        world.wait(20)
    assert psps_of(world) == ["a", "b", "a"]


def test_a_new_order_goes_where_it_is_taken() -> None:
    """The first PSP whose breaker lets it through; where it belongs when none does."""
    world = BookWorld(psps=PSPS)
    for refusing, expected in (("", "a"), ("a", "b"), ("b", "a"), ("ab", "a")):
        world.refusing = frozenset(refusing)
        decided = world.post(an_order(len(world.books.orders)))
        assert [row.psp for row in decided.attempts] == [expected]


def test_with_all_psps_down_orders_rest_and_go_on() -> None:
    """Parked in rows with their reason and next try; a new owner finds them so, and they run once."""
    world = BookWorld(psps=PSPS)
    world.refusing = frozenset(PSPS)
    world.post(an_order(1), an_order(2))
    for call in list(world.calls):
        world.refuse(call)
    rows = world.books.open_orders.values()
    assert {row.parked_reason for row in rows} == {ParkReason.PSP_DOWN}
    assert all(row.next_retry_at is not None and row.try_count == 0 for row in rows)
    assert {timer.kind for timer in world.books.timers.values()} == {TimerKind.RESUME}
    world.claim()
    assert [order.order_no for order in world.book.parked_orders()] == [1, 2]
    world.wait(10)
    assert not world.calls
    world.refusing = frozenset({"b"})
    world.wait(1)
    assert {call.attempt.psp for call in world.calls} == {"a"}
    for call in list(world.calls):
        world.carry_out(call, Deed.CHARGE)
    assert not list(world.book.parked_orders())
    assert world.psp.charges.total() == 2


def test_a_parked_order_that_never_ran_goes_on_at_another_psp() -> None:
    """Under a new attempt, with a timer that is looked at whatever becomes of its owner."""
    world = BookWorld(psps=PSPS)
    world.refusing = frozenset(PSPS)
    world.post(an_order(1))
    world.refuse(world.calls[0])
    world.refusing = frozenset({"a"})
    world.wait(1)
    assert [call.attempt.psp for call in world.calls] == ["b"]
    assert world.books.timers[0, 1].kind == TimerKind.SEND
    world.claim()
    world.wait(1)
    assert [call.attempt.psp for call in world.calls] == ["b"]


def test_parking_outlives_the_key() -> None:
    """An order that rested until its key was too old goes on under a new one."""
    world = BookWorld(replace(POLICY, psp_down=RetryRule(strategy=Strategy.FIXED, age_s_max=10**6)))
    world.refusing = frozenset({"psp"})
    world.post(an_order(1))
    world.refuse(world.calls[0])
    world.wait(23.5 * 3_600)
    world.refusing = frozenset()
    world.wait(1)
    assert [call.attempt.attempt_no for call in world.calls] == [2]


def test_a_charge_that_takes_two_sends_names_what_the_books_hold() -> None:
    """The second send follows the flush that wrote the reference, at once, and a new owner has it, too."""
    world = BookWorld(psps=PSPS, preparing=frozenset({"a"}))
    world.post(an_order(1))
    (first,) = world.calls
    assert first.psp_reference is None
    world.carry_out(first, Deed.CHARGE)
    (second,) = world.calls
    assert (second.step, second.psp_reference) == (TimerKind.SEND, f"ch_{first.attempt.psp_key}")
    assert second.attempt == first.attempt
    world.claim()
    world.wait(1)
    (again,) = world.calls
    assert (again.step, again.psp_reference) == (TimerKind.SEND, second.psp_reference)
    world.carry_out(again, Deed.CHARGE)
    assert world.books.outcomes[0, 1][0].psp_reference == second.psp_reference


def test_a_first_half_that_got_lost_frees_the_order() -> None:
    """Nothing was charged by it, and nothing will be: after the tries that the policy gives, the next PSP."""
    world = BookWorld(psps=PSPS, preparing=frozenset({"a"}))
    world.post(an_order(1))
    world.carry_out(world.calls[0], Deed.VANISH)
    world.wait(1)
    world.carry_out(world.calls[0], Deed.CHARGE_SILENTLY)
    assert psps_of(world) == ["a", "b"]


def test_a_spent_key_is_given_up_where_it_surely_never_ran() -> None:
    """For another PSP, or, where there is none, for another key; a tainted one never."""
    spent = PspAnswer(result=ResultClass.NOT_SENT, is_key_spent=True)
    for psps, expected in ((PSPS, ["a", "b"]), (("a",), ["a", "a"])):
        world = BookWorld(psps=psps)
        world.post(an_order(1))
        world.take(answers=[world.answer(world.calls[0], spent)])
        assert psps_of(world) == expected
    world = BookWorld(psps=PSPS)
    world.post(an_order(1))
    world.carry_out(world.calls[0], Deed.VANISH)
    world.wait(1)
    world.take(answers=[world.answer(world.calls[0], spent)])
    assert psps_of(world) == ["a"]
