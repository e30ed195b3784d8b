"""Captures, voids and refunds at Stripe, each under its own key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from payments.attempts import ResultClass
from psp.http_client import HttpAnswer
from psp.stripe.changes import classify_capture, classify_refund, classify_void

KEY, PI = "tly_capture", "pi_abc"
APPROVED, DECLINED, NOT_SENT, UNKNOWN = (
    ResultClass.APPROVED,
    ResultClass.DECLINED_FINAL,
    ResultClass.NOT_SENT,
    ResultClass.UNKNOWN,
)
UNEXPECTED = "payment_intent_unexpected_state"


def intent(status: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": PI,
        "object": "payment_intent",
        "status": status,
        "amount": 1_999,
        "amount_received": 1_200 if status == "succeeded" else 0,
        "currency": "usd",
        "metadata": {"tally_key": "tly_charge", "tally_capture": KEY},
        **changes,
    }


def a_refund(status: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": "re_1",
        "object": "refund",
        "status": status,
        "amount": 500,
        "currency": "usd",
        "created": 1_700_000_000,
        "metadata": {"tally_key": KEY},
        **changes,
    }


def answer(status: int, body: object) -> HttpAnswer:
    return HttpAnswer(status, json.dumps(body).encode())


def refusal(status: int, **error: Any) -> HttpAnswer:
    return answer(status, {"error": {"type": "invalid_request_error", **error}})


@pytest.mark.parametrize(
    ("said", "result", "code"),
    [
        (answer(200, intent("succeeded")), APPROVED, None),
        (answer(200, intent("succeeded", metadata={"tally_capture": "other"})), UNKNOWN, None),
        (answer(200, intent("requires_capture")), UNKNOWN, None),
        (answer(200, {}), UNKNOWN, None),
        (refusal(400, code=UNEXPECTED, payment_intent=intent("succeeded")), APPROVED, None),
        (
            refusal(400, code=UNEXPECTED, payment_intent=intent("canceled")),
            DECLINED,
            "charge_not_authorized",
        ),
        (refusal(400, code=UNEXPECTED), UNKNOWN, None),
        (refusal(400, code="amount_too_large"), DECLINED, "amount_above_authorized"),
        (refusal(400, param="amount_to_capture"), DECLINED, "amount_above_authorized"),
        (refusal(404, code="resource_missing"), UNKNOWN, None),
        (refusal(429, code="lock_timeout"), NOT_SENT, None),
        (refusal(500), UNKNOWN, None),
    ],
)
def test_a_capture(said: HttpAnswer, result: ResultClass, code: str | None) -> None:
    """Done is what was done under this key; refused for good is what can't be captured any more."""
    got = classify_capture(KEY, PI, said)
    assert (got.result, got.decline_code) == (result, code)
    assert got.captured_minor == (1_200 if result is APPROVED else 0)


@pytest.mark.parametrize(
    ("said", "result"),
    [
        (answer(200, intent("canceled")), APPROVED),
        (answer(200, intent("requires_capture")), UNKNOWN),
        (refusal(400, code=UNEXPECTED, payment_intent=intent("canceled")), APPROVED),
        (refusal(400, code=UNEXPECTED, payment_intent=intent("succeeded")), DECLINED),
        # One manual capture is all that there is: what it left was released with it.
        (
            refusal(
                400,
                code=UNEXPECTED,
                payment_intent=intent("succeeded", capture_method="manual"),
            ),
            APPROVED,
        ),
        (refusal(400, code=UNEXPECTED, payment_intent=intent("canceled", id="pi_x")), UNKNOWN),
        (refusal(429), NOT_SENT),
        (refusal(500), UNKNOWN),
    ],
)
def test_a_void(said: HttpAnswer, result: ResultClass) -> None:
    """Canceled is canceled; what was charged at once is never voided."""
    got = classify_void(PI, said)
    assert got.result is result
    assert got.currency == ("USD" if result is APPROVED else None)


@pytest.mark.parametrize(
    ("said", "result", "code"),
    [
        (answer(200, a_refund("succeeded")), APPROVED, None),
        (answer(200, a_refund("pending")), UNKNOWN, None),
        (answer(200, a_refund("failed")), DECLINED, "refund_failed"),
        (answer(200, a_refund("succeeded", metadata={})), UNKNOWN, None),
        (refusal(400, code="charge_already_refunded"), DECLINED, "amount_above_captured"),
        (refusal(400, param="amount"), DECLINED, "amount_above_captured"),
        (refusal(400, code="x"), UNKNOWN, None),
        (refusal(401), NOT_SENT, None),
    ],
)
def test_a_refund(said: HttpAnswer, result: ResultClass, code: str | None) -> None:
    """Money is back once Stripe says so; what is under way is not known yet."""
    got = classify_refund(KEY, PI, said)
    assert (got.result, got.decline_code) == (result, code)


@pytest.mark.parametrize("created", [2**40, 2**62, 2**80, -(2**62)])
def test_a_refund_at_a_time_that_there_is_not_is_a_refund(created: int) -> None:
    """What a provider writes into a date must not end whoever reads it: the money moved all the same."""
    got = classify_refund(KEY, PI, answer(200, a_refund("succeeded", created=created)))
    assert (got.result, got.captured_minor, got.effective_at) == (APPROVED, 500, None)
