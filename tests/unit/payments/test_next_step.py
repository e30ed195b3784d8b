"""The ladder of ``after_answer``, every combination of it."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from payments.attempts import PspAnswer, ResultClass
from payments.lifecycle import PaymentEvent, PaymentState
from payments.next_step import (
    RETRY_AFTER_S_MAX,
    Ended,
    StepPolicy,
    Waiting,
    after_answer,
    may_send,
)
from payments.open_order import OpenOrder
from payments.rows import TimerKind
from tests.scenario import KEY_LIFETIME_S, START, BookWorld, an_order

SEND, QUERY, CANCEL = TimerKind.SEND, TimerKind.QUERY, TimerKind.CANCEL
PROCESSING, REQUIRES_ACTION = PaymentState.PROCESSING, PaymentState.REQUIRES_ACTION
POLICY = StepPolicy()


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
    order: OpenOrder, step: TimerKind, result: ResultClass, *, age_s: float = 1, **said: Any
) -> Ended | Waiting:
    answer = PspAnswer(result=result, captured_minor=1999, currency="USD")
    return after_answer(
        order,
        step,
        answer._replace(**said),
        now=START + timedelta(seconds=age_s),
        epoch=order.attempt.epoch,
        key_lifetime_s=KEY_LIFETIME_S,
        policy=POLICY,
    )


# Young and old keys; an action before and after its deadline (900 s).
AGES_S = (1, 1_000, KEY_LIFETIME_S - 3_600 + 1)
EVERYTHING = list(
    product((PROCESSING, REQUIRES_ACTION), TimerKind, ResultClass, (False, True), AGES_S)
)


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
        ResultClass.CANCELED: PaymentEvent.EXPIRED
        if status is REQUIRES_ACTION
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
    second = order._replace(attempt=order.attempt._replace(attempt_no=2))
    assert isinstance(verdict(second, SEND, ResultClass.NOT_SENT, age_s=3_500), Waiting)
    assert isinstance(verdict(second, SEND, ResultClass.NOT_SENT, age_s=3_601), Ended)


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


@pytest.mark.parametrize("retry_after_s", [float("inf"), float("nan"), -5.0, 0.0, 1e300, None])
def test_no_retry_after_breaks_the_wait(retry_after_s: float | None) -> None:
    """Whatever a PSP asks for, the wait is finite."""
    delay_ms = POLICY.wait_ms(an_open_order(), retry_after_s)
    assert 0 <= delay_ms <= RETRY_AFTER_S_MAX * 1000 + 1


def test_waits_double_up_to_their_end() -> None:
    """The wait grows with each try, jittered in its upper half, and is the same for the same order."""
    order = an_open_order()
    for tries, ceiling_ms in ((1, 200), (2, 400), (3, 800), (20, 10_000), (10_000, 10_000)):
        tried = order._replace(attempt=order.attempt._replace(try_count=tries))
        delay_ms = POLICY.wait_ms(tried, None)
        assert ceiling_ms // 2 <= delay_ms <= ceiling_ms
        assert delay_ms == POLICY.wait_ms(tried, None)
    assert POLICY.wait_ms(order, 2.0) == 2_001


def test_a_key_is_sent_only_while_young() -> None:
    """The last hour of the PSP's memory is not used, and a PSP without memory gets nothing twice."""
    order, lifetime = an_open_order(), timedelta(seconds=KEY_LIFETIME_S)
    end = START + lifetime - timedelta(hours=1)
    assert may_send(order, now=end - timedelta(seconds=1), key_lifetime_s=KEY_LIFETIME_S)
    assert not may_send(order, now=end, key_lifetime_s=KEY_LIFETIME_S)
    assert not may_send(order, now=START, key_lifetime_s=0)
