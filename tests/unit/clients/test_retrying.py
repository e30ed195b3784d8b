"""Retries: what is sent again, when, how often, and always under the same key."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick import (
    AnswerUnreadable,
    CallFailed,
    NotReached,
    PaymentFailed,
    RetryPolicy,
    ServerFailed,
    payments,
    problems,
    resources,
)
from tallystick.exchange import NoAnswer, Response
from tallystick.operations import Operation
from tallystick.records import Payment
from tests.unit.clients.steps import LOST, NOT_SENT, Taker, refused, said

PAYMENT = {"id": "6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11", "status": "succeeded"}
UNAVAILABLE = refused("store_unavailable", 503, retryable=True, may_run=True, retry_after="1")
FULL = refused("queue_backpressure", 503, retryable=True, may_run=False, retry_after="1")
DECLINED = said(402, {"code": "declined", "payment": {**PAYMENT, "status": "failed"}})


def order(key: UUID | None = None, wait_s: int = 0) -> Operation[Payment]:
    return payments.create(
        amount=1999,
        currency="USD",
        payment_method="tok_approve",
        idempotency_key=key,
        wait_s=wait_s,
    )


RESULTS = st.sampled_from([LOST, NOT_SENT, UNAVAILABLE, FULL, refused("internal_error", 500)])


@given(script=st.lists(RESULTS, max_size=12), last=st.sampled_from([said(201, PAYMENT), DECLINED]))
def test_every_attempt_has_the_same_key_and_the_same_bytes(
    script: list[Response | NoAnswer], last: Response
) -> None:
    """Whatever comes back in whatever order, a call never sends another key or another body."""
    taker = Taker([*script, last])
    raised: list[CallFailed] = []
    try:
        taker.take(order())
    except CallFailed as failed:
        raised.append(failed)
    assert {failed.idempotency_key for failed in raised} <= taker.sent_keys
    assert all(failed.attempt_count == len(taker.sent) for failed in raised)
    assert len(taker.sent_keys) == 1
    assert len({request.body for request in taker.sent}) == 1
    assert len(taker.sent) <= RetryPolicy().attempts_max


@given(script=st.lists(RESULTS, min_size=12, max_size=12), draw=st.floats(0, 1))
def test_a_call_ends_by_its_deadline(script: list[Response | NoAnswer], draw: float) -> None:
    """Attempts and pauses together never last longer than the deadline."""
    policy = RetryPolicy(deadline_s=5.0, attempts_max=100, attempt_s_max=2.0)
    taker = Taker(script, policy=policy, draw=draw, send_s=0.5)
    with pytest.raises(CallFailed):
        taker.take(order())
    assert taker.now_s <= policy.deadline_s + taker.send_s
    assert all(timeout_s <= policy.deadline_s for timeout_s in taker.timeouts_s)


def test_pauses_grow_and_are_drawn_from_nothing_up() -> None:
    """Full jitter: the n-th pause is the draw's part of a ceiling that doubles, up to a cap."""
    policy = RetryPolicy(pause_first_s=0.5, pause_s_max=3.0, attempts_max=6)
    taker = Taker([NOT_SENT] * 5 + [said(201, PAYMENT)], policy=policy, draw=1.0)
    taker.take(order())
    assert taker.pauses_s == [0.5, 1.0, 2.0, 3.0, 3.0]
    drawn = Taker([NOT_SENT] * 5 + [said(201, PAYMENT)], policy=policy, draw=0.0)
    drawn.take(order())
    assert drawn.pauses_s == [0.0] * 5


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("Sun, 01 Nov 2026 12:00:09 GMT", 9.0),
        ("soon", 0.0),
        ("Sun, 01 Nov 2026 12:00:09 +99999999999999", 0.0),
    ],
)
def test_retry_after_is_waited_for(header: str, seconds: float) -> None:
    """A gateway that says when is not asked before, and clients spread out after it."""
    busy = refused("queue_backpressure", 503, retryable=True, may_run=False, retry_after=header)
    taker = Taker([busy, said(201, PAYMENT)], draw=0.5)
    taker.take(order())
    assert taker.pauses_s == [seconds + 0.5 * RetryPolicy().pause_first_s]


def test_a_retry_after_beyond_the_deadline_ends_the_call_at_once() -> None:
    """Nobody waits for a pause that can't be over in time."""
    busy = refused("queue_backpressure", 503, retryable=True, may_run=False, retry_after="3600")
    taker = Taker([busy])
    with pytest.raises(problems.QueueBackpressure) as caught:
        taker.take(order())
    assert taker.now_s == 0
    assert not caught.value.may_have_run


@pytest.mark.parametrize(
    ("script", "may_have_run"),
    [
        ([NOT_SENT, NOT_SENT], False),
        ([LOST, NOT_SENT], True),
        ([UNAVAILABLE, FULL], True),
        ([FULL, NOT_SENT], False),
        ([refused("internal_error", 500, retryable=True), FULL], True),
        ([Response(status=502, headers={}, body=b"<html>"), NOT_SENT], True),
        ([LOST, refused("api_key_invalid", 401)], True),
        ([LOST, DECLINED], False),
    ],
)
def test_an_error_says_whether_the_order_may_run(
    script: list[Response | NoAnswer], may_have_run: bool
) -> None:
    """One attempt that may have had its effect is enough, until the key's own outcome is known."""
    key = uuid4()
    with pytest.raises(CallFailed) as caught:
        Taker(script, policy=RetryPolicy(attempts_max=2)).take(order(key))
    assert caught.value.may_have_run is may_have_run
    assert caught.value.idempotency_key == key


def test_a_decline_is_never_tried_again() -> None:
    """A failed payment is the end of its key."""
    taker = Taker([DECLINED])
    with pytest.raises(problems.Declined) as caught:
        taker.take(order())
    assert isinstance(caught.value, PaymentFailed)
    assert len(taker.sent) == 1


def test_a_problem_that_says_no_is_believed_whatever_its_status() -> None:
    """``retryable: false`` ends a call also on a 5xx."""
    taker = Taker([refused("internal_error", 500, retryable=False)])
    with pytest.raises(ServerFailed):
        taker.take(order())
    assert len(taker.sent) == 1


def test_a_code_of_a_later_version_is_an_error_of_its_family() -> None:
    """A client that is older than its gateway still tells what kind of trouble it is."""
    with pytest.raises(ServerFailed) as caught:
        Taker([refused("moon_phase", 503)]).take(order())
    assert caught.value.word == "moon_phase"


def test_what_is_no_answer_of_a_gateway_is_told_apart() -> None:
    """A proxy's page or a redirect is no problem document, and is never followed."""
    moved = Response(status=302, headers={"location": "https://elsewhere.example"}, body=b"")
    with pytest.raises(AnswerUnreadable) as caught:
        Taker([moved]).take(order())
    assert caught.value.status == 302


def test_what_has_no_key_is_sent_again_only_if_it_had_no_effect() -> None:
    """A seller is not created twice: a lost answer ends the call, a refused connection does not."""
    seller = resources.create_seller(id="slr_shoes", name="Shoes")
    taker = Taker([LOST])
    with pytest.raises(NotReached) as caught:
        taker.take(seller)
    assert caught.value.may_have_run
    assert len(taker.sent) == 1
    again = Taker([NOT_SENT, FULL, said(201, {"id": "slr_shoes"})])
    assert again.take(seller).id == "slr_shoes"


def test_reads_are_repeated_and_never_run() -> None:
    """A GET is safe to repeat, and its failure says nothing about an effect."""
    taker = Taker([LOST, said(200, PAYMENT)])
    assert taker.take(payments.retrieve(PAYMENT["id"])).status == "succeeded"
    with pytest.raises(NotReached) as caught:
        Taker([LOST], policy=RetryPolicy(attempts_max=1)).take(payments.retrieve("x"))
    assert not caught.value.may_have_run


def test_a_wish_to_wait_never_outlasts_the_deadline() -> None:
    """``Prefer: wait`` shrinks as the time runs out, so that the answer can still come."""
    policy = RetryPolicy(deadline_s=20.0, pause_first_s=5.0, pause_s_max=5.0)
    taker = Taker([LOST, LOST, said(201, PAYMENT)], policy=policy, send_s=2.0)
    taker.take(order(wait_s=10))
    assert [request.headers.get("Prefer") for request in taker.sent] == [
        "wait=10",
        "wait=10",
        "wait=5",
    ]
    assert taker.timeouts_s == [20.0, 13.0, 6.0]


def test_a_policy_makes_sense() -> None:
    """Limits of nothing are refused when the policy is made."""
    with pytest.raises(ValueError, match="attempts_max"):
        RetryPolicy(attempts_max=0)
