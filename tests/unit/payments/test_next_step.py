"""The ladder of ``after_answer``, every combination of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from payments.attempts import PspAnswer, ResultClass
from payments.lifecycle import PaymentEvent, PaymentState
from payments.next_step import Ended, Waiting, after_answer, after_refusal, may_send
from payments.open_order import OpenOrder
from payments.parking import ParkReason
from payments.psp_terms import PspTerms
from payments.retry_policy import RetryPolicy, RetryRule, Strategy
from payments.rows import TimerKind
from tests.scenario import (
    KEY_LIFETIME_S,
    POLICY,
    PREPARING_TERMS,
    START,
    TERMS,
    BookWorld,
    an_order,
)

SEND, QUERY, CANCEL = TimerKind.SEND, TimerKind.QUERY, TimerKind.CANCEL
PROCESSING, REQUIRES_ACTION = PaymentState.PROCESSING, PaymentState.REQUIRES_ACTION


def an_open_order(
    status: PaymentState = PROCESSING, *, is_tainted: bool = False, expires_in_s: float = 900
) -> OpenOrder:
    world = BookWorld()
    (order,) = world.post(an_order(1)).opened
    return order._replace(
        status=status,
        attempt=order.attempt._replace(is_tainted=is_tainted),
        action_expires_at=START + timedelta(seconds=expires_in_s)
        if status is REQUIRES_ACTION
        else None,
    )


def verdict(
    order: OpenOrder,
    step: TimerKind,
    result: ResultClass,
    *,
    age_s: float = 1,
    policy: RetryPolicy = POLICY,
    terms: PspTerms = TERMS,
    **said: Any,
) -> Ended | Waiting:
    answer = PspAnswer(result=result, captured_minor=1999, currency="USD")
    return after_answer(
        order,
        step,
        answer._replace(**said),
        now=START + timedelta(seconds=age_s),
        epoch=order.attempt.epoch,
        terms=terms,
        policy=policy,
    )


# Young and old keys; an action before and after its deadline (900 s).
CALLS = (SEND, QUERY, CANCEL)
AGES_S = (1, 1_000, KEY_LIFETIME_S - 3_600 + 1)
EVERYTHING = list(product((PROCESSING, REQUIRES_ACTION), CALLS, ResultClass, (False, True), AGES_S))


@pytest.mark.parametrize(("status", "step", "result", "is_tainted", "age_s"), EVERYTHING)
def test_every_combination(
    status: PaymentState, step: TimerKind, result: ResultClass, is_tainted: bool, age_s: int
) -> None:
    """Definitive answers end an order as they say; all others leave it open with the step of the ladder."""
    order = an_open_order(status, is_tainted=is_tainted)
    got = verdict(order, step, result, age_s=age_s)
    ends = {
        ResultClass.APPROVED: PaymentEvent.SUCCEEDED,
        ResultClass.DECLINED_FINAL: PaymentEvent.DECLINED,
        # Before its deadline the buyer, or somebody at the PSP, did it.
        ResultClass.CANCELED: PaymentEvent.EXPIRED
        if status is REQUIRES_ACTION and (step is CANCEL or age_s >= 900)
        else PaymentEvent.CANCELED,
    }
    if result in ends:
        assert isinstance(got, Ended)
        assert got.event is ends[result]
        return
    assert isinstance(got, Waiting)
    assert got.order.attempt.try_count == 1
    assert got.order.attempt.psp_key == order.attempt.psp_key
    assert got.order.attempt.is_tainted or not is_tainted
    assert got.step is _expected_step(status, step, result, age_s)
    assert got.delay_ms >= 0


def _expected_step(
    status: PaymentState, step: TimerKind, result: ResultClass, age_s: int
) -> TimerKind:
    is_key_young = age_s < KEY_LIFETIME_S - 3_600
    is_over = status is REQUIRES_ACTION and age_s >= 900
    if result is ResultClass.NOT_SENT:
        return step
    if result is ResultClass.REQUIRES_ACTION:
        return CANCEL if step is CANCEL or is_over else QUERY
    if status is REQUIRES_ACTION:
        return CANCEL if is_over else QUERY
    return SEND if step is QUERY and is_key_young else QUERY


@pytest.mark.parametrize(
    ("step", "result", "taints"),
    [
        (SEND, ResultClass.NOT_SENT, False),
        (SEND, ResultClass.UNKNOWN, True),
        (SEND, ResultClass.REQUIRES_ACTION, True),
        (QUERY, ResultClass.UNKNOWN, False),
        (QUERY, ResultClass.NOT_SENT, False),
        (QUERY, ResultClass.REQUIRES_ACTION, True),
    ],
)
def test_what_taints(step: TimerKind, result: ResultClass, taints: bool) -> None:
    """A send that is not proven unsent taints, and so does a look-up that finds the key."""
    got = verdict(an_open_order(), step, result)
    assert isinstance(got, Waiting)
    assert got.order.attempt.is_tainted is taints


@pytest.mark.parametrize("is_tainted", [False, True])
def test_a_day_without_a_run_ends_a_clean_order_alone(is_tainted: bool) -> None:
    """Our own policy may end an order that surely never ran, and no other."""
    order = an_open_order(is_tainted=is_tainted)
    got = verdict(order, SEND, ResultClass.NOT_SENT, age_s=86_401)
    assert isinstance(got, Waiting if is_tainted else Ended)
    if isinstance(got, Ended):
        assert (got.event, got.failure_code) == (PaymentEvent.DECLINED, "psp_unavailable")


def test_time_under_earlier_keys_counts() -> None:
    """A renewed key does not start the order's day anew."""
    order = an_open_order()
    later = START + timedelta(hours=23)
    second = order._replace(attempt=order.attempt._replace(attempt_no=2, created_at=later))
    assert isinstance(verdict(second, SEND, ResultClass.NOT_SENT, age_s=86_399), Waiting)
    assert isinstance(verdict(second, SEND, ResultClass.NOT_SENT, age_s=86_401), Ended)


@pytest.mark.parametrize("said", [{"captured_minor": 1998}, {"currency": "EUR"}])
def test_other_money_than_asked_for_stays_unknown(said: dict[str, Any]) -> None:
    """An approval of another amount or currency is booked by nobody."""
    got = verdict(an_open_order(), SEND, ResultClass.APPROVED, **said)
    assert isinstance(got, Waiting)
    assert not got.order.is_outcome_known
    assert got.order.attempt.is_tainted


def test_an_action_is_told_once_and_has_one_deadline() -> None:
    """The buyer's turn makes one event; later looks at it don't move its end."""
    first = verdict(an_open_order(), SEND, ResultClass.REQUIRES_ACTION, next_action_url="https://a")
    assert isinstance(first, Waiting)
    assert first.event is PaymentEvent.ACTION_REQUIRED
    assert first.order.action_expires_at == START + timedelta(seconds=901)
    again = verdict(first.order, QUERY, ResultClass.REQUIRES_ACTION, age_s=900.5)
    assert isinstance(again, Waiting)
    assert (again.event, again.delay_ms) == (None, 501)
    assert again.order.action_expires_at == first.order.action_expires_at
    assert again.order.next_action_url == "https://a"


def test_an_outcome_that_becomes_unknown_is_looked_for_from_the_start_of_its_schedule() -> None:
    """Tries that surely did not run don't make the first look at an unclear outcome a late one."""
    order = an_open_order()
    tried = order._replace(attempt=order.attempt._replace(try_count=500))
    waits = []
    step = SEND
    for _ in range(8):
        got = verdict(tried, step, ResultClass.UNKNOWN)
        assert isinstance(got, Waiting)
        assert not got.order.is_outcome_known
        waits.append(got.delay_ms)
        tried, step = got.order, got.step
    day_ms = 86_400_000
    assert waits == [500, 2_000, 5_000, 30_000, 300_000, 3_600_000, day_ms, day_ms]


def test_a_refused_second_send_of_an_unclear_attempt_is_asked_about() -> None:
    """That the second send did not run says nothing of the first."""
    unclear = an_open_order(is_tainted=True)._replace(is_outcome_known=False)
    got = verdict(unclear, SEND, ResultClass.NOT_SENT, retry_after_s=7.0)
    assert isinstance(got, Waiting)
    assert (got.step, got.delay_ms) == (QUERY, 7_001)


def test_after_the_last_try_an_unclear_attempt_is_only_asked_about() -> None:
    """A rule that is over ends no order whose money may have moved; it stops the sending."""
    rule = RetryRule(strategy=Strategy.FIXED, first_ms=10, count_max=2)
    policy = replace(POLICY, unknown=rule)
    unclear = an_open_order(is_tainted=True)._replace(is_outcome_known=False)
    first = verdict(unclear, QUERY, ResultClass.UNKNOWN, policy=policy)
    assert isinstance(first, Waiting)
    assert first.step is SEND
    then = verdict(first.order, QUERY, ResultClass.UNKNOWN, policy=policy)
    assert isinstance(then, Waiting)
    assert then.step is QUERY


@pytest.mark.parametrize("can_burn_key", [False, True])
def test_a_policy_may_have_the_key_canceled(can_burn_key: bool) -> None:
    """Cancel means the PSP's confirmation, so it is asked only of one that can give it."""
    policy = replace(POLICY, unknown=RetryRule(strategy=Strategy.CANCEL))
    terms = TERMS._replace(can_burn_key=can_burn_key)
    got = verdict(an_open_order(), SEND, ResultClass.UNKNOWN, policy=policy, terms=terms)
    assert isinstance(got, Waiting)
    assert got.step is (CANCEL if can_burn_key else QUERY)


@pytest.mark.parametrize("is_tainted", [False, True])
def test_a_first_half_is_kept_before_the_second_leaves(is_tainted: bool) -> None:
    """The reference is in the order that is written; nothing was tried, and nothing became cleaner."""
    order = an_open_order(is_tainted=is_tainted)
    got = verdict(order, SEND, ResultClass.PREPARED, terms=PREPARING_TERMS, reference="pi_1")
    assert isinstance(got, Waiting)
    assert (got.step, got.is_called_at_once, got.order.psp_reference) == (SEND, True, "pi_1")
    assert got.order.attempt == order.attempt


@pytest.mark.parametrize(
    ("step", "known", "said"), [(QUERY, None, "pi_1"), (SEND, "pi_1", "pi_1"), (SEND, None, None)]
)
def test_a_first_half_comes_once(step: TimerKind, known: str | None, said: str | None) -> None:
    """As the answer to anything else it is no answer at all: the outcome is unknown, and asked for."""
    order = an_open_order()._replace(psp_reference=known)
    got = verdict(order, step, ResultClass.PREPARED, terms=PREPARING_TERMS, reference=said)
    assert isinstance(got, Waiting)
    assert (got.order.is_outcome_known, got.is_called_at_once) == (False, False)


@pytest.mark.parametrize(
    ("step", "age_s", "said", "reference", "expected"),
    [
        (SEND, 1, {"is_key_spent": True}, "pi_1", CANCEL),
        (SEND, 1, {"is_key_spent": True}, None, QUERY),
        (SEND, 1, {}, "pi_1", QUERY),
        (QUERY, KEY_LIFETIME_S, {}, "pi_1", CANCEL),
        (QUERY, KEY_LIFETIME_S, {}, None, QUERY),
        (CANCEL, KEY_LIFETIME_S, {}, "pi_1", QUERY),
    ],
)
def test_what_can_not_run_any_more_is_canceled_by_its_reference(
    step: TimerKind, age_s: int, said: Any, reference: str | None, expected: TimerKind
) -> None:
    """A key that only replays a failure, or grew too old, leaves no order waiting for ever."""
    order = an_open_order(is_tainted=True)._replace(psp_reference=reference)
    got = verdict(order, step, ResultClass.UNKNOWN, age_s=age_s, terms=PREPARING_TERMS, **said)
    assert isinstance(got, Waiting)
    assert got.step is expected
    # Where keys alone run charges, nothing of that holds.
    plain = verdict(order, step, ResultClass.UNKNOWN, age_s=age_s, terms=TERMS, **said)
    assert isinstance(plain, Waiting)
    assert plain.step is not CANCEL


@pytest.mark.parametrize("is_tainted", [False, True])
def test_tries_are_counted_to_their_end(is_tainted: bool) -> None:
    """After the last try that did not run, a clean order fails; one that may have run goes on."""
    policy = replace(POLICY, not_sent=RetryRule(strategy=Strategy.IMMEDIATE, count_max=2))
    first = verdict(an_open_order(is_tainted=is_tainted), SEND, ResultClass.NOT_SENT, policy=policy)
    assert isinstance(first, Waiting)
    last = verdict(first.order, SEND, ResultClass.NOT_SENT, policy=policy)
    assert isinstance(last, Waiting if is_tainted else Ended)


def test_a_parked_order_says_when_and_counts_no_try() -> None:
    """A call that was not made is no try; the wait is the rule's, or longer where the caller knows more."""
    order = an_open_order()

    def parked(wait_ms: int, *, age_s: float = 1, epoch: int = order.attempt.epoch) -> Any:
        now = START + timedelta(seconds=age_s)
        reason = ParkReason.PSP_DOWN
        return after_refusal(order, reason, wait_ms=wait_ms, now=now, epoch=epoch, policy=POLICY)

    soon, late = parked(0), parked(60_000)
    assert (soon.step, soon.delay_ms, late.delay_ms) == (TimerKind.RESUME, 5_000, 60_000)
    assert soon.order.parked is ParkReason.PSP_DOWN
    assert soon.order.next_retry_at == START + timedelta(seconds=6)
    assert soon.order.attempt == order.attempt
    assert isinstance(parked(0, age_s=86_401), Ended)
    assert isinstance(parked(0, age_s=86_401, epoch=order.attempt.epoch + 1), Waiting)


def test_a_key_is_sent_only_while_young() -> None:
    """The last hour of the PSP's memory is not used, and a PSP without memory gets nothing twice."""
    order, lifetime = an_open_order(), timedelta(seconds=KEY_LIFETIME_S)
    end = START + lifetime - timedelta(hours=1)
    assert may_send(order, now=end - timedelta(seconds=1), key_lifetime_s=KEY_LIFETIME_S)
    assert not may_send(order, now=end, key_lifetime_s=KEY_LIFETIME_S)
    assert not may_send(order, now=START, key_lifetime_s=0)
