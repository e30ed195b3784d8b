"""What Stripe's answers mean: only its own words about this very PaymentIntent prove an end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from payments.attempts import ResultClass
from psp.classification import not_sent, unknown
from psp.http_client import HttpAnswer
from psp.stripe.classification import (
    classify_cancel,
    classify_confirm,
    classify_create,
    never_ran,
)

KEY, PI = "tly_key", "pi_abc"
APPROVED, DECLINED, NOT_SENT, REQUIRES_ACTION, UNKNOWN, CANCELED, PREPARED = (
    ResultClass.APPROVED,
    ResultClass.DECLINED_FINAL,
    ResultClass.NOT_SENT,
    ResultClass.REQUIRES_ACTION,
    ResultClass.UNKNOWN,
    ResultClass.CANCELED,
    ResultClass.PREPARED,
)


def intent(status: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": PI,
        "object": "payment_intent",
        "status": status,
        "amount": 1_999,
        "amount_received": 1_999 if status == "succeeded" else 0,
        "currency": "usd",
        "metadata": {"tally_key": KEY},
        **changes,
    }


def answer(status: int, body: object, **headers: str) -> HttpAnswer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpAnswer(status, json.dumps(body).encode(), named)


def refusal(status: int, kind: str, code: str | None = None, **more: Any) -> HttpAnswer:
    headers = more.pop("headers", {})
    return answer(status, {"error": {"type": kind, "code": code, **more}}, **headers)


@pytest.mark.parametrize(
    ("said", "result"),
    [
        (answer(200, intent("requires_confirmation")), PREPARED),
        # A replay shows the state of then; only the id counts.
        (answer(200, intent("succeeded")), PREPARED),
        (answer(200, intent("requires_confirmation", metadata={"tally_key": "other"})), UNKNOWN),
        (answer(200, intent("requires_confirmation", id="ch_1")), UNKNOWN),
        (answer(200, {}), UNKNOWN),
        (refusal(400, "idempotency_error"), UNKNOWN),
        (refusal(409, "invalid_request_error", "idempotency_key_in_use"), UNKNOWN),
        (refusal(400, "invalid_request_error", "amount_too_small", param="amount"), DECLINED),
        (refusal(400, "invalid_request_error", "x", param="payment_method_types[0]"), DECLINED),
        (
            refusal(404, "invalid_request_error", "resource_missing", param="payment_method"),
            DECLINED,
        ),
        (refusal(402, "card_error", "card_declined"), DECLINED),
        (refusal(400, "invalid_request_error", "parameter_unknown", param="colour"), NOT_SENT),
        (refusal(401, "invalid_request_error"), NOT_SENT),
        (refusal(429, "invalid_request_error", "rate_limit"), NOT_SENT),
        (refusal(500, "api_error"), NOT_SENT),
        (HttpAnswer(502, b"<html>"), NOT_SENT),
    ],
)
def test_a_creation_charges_nothing(said: HttpAnswer, result: ResultClass) -> None:
    """It gives an id, is refused for good by what it says of the order, or surely ran no charge."""
    got = classify_create(KEY, said)
    assert got.result is result
    assert got.reference == (PI if result is PREPARED else None)


def test_a_creation_without_an_answer_ran_nothing() -> None:
    """Nobody confirms what it may have made; that nothing came is still told."""
    silent = never_ran(unknown("too late", is_silent=True))
    assert (silent.result, silent.is_silent) == (NOT_SENT, True)
    assert never_ran(not_sent("refused")).is_silent


@pytest.mark.parametrize(
    ("said", "result"),
    [
        (answer(200, intent("succeeded")), APPROVED),
        (answer(200, intent("requires_capture")), APPROVED),
        (answer(200, intent("processing")), UNKNOWN),
        (answer(200, intent("requires_confirmation")), UNKNOWN),
        (answer(200, intent("requires_payment_method")), UNKNOWN),
        (answer(200, intent("canceled")), CANCELED),
        (answer(200, intent("succeeded", id="pi_other")), UNKNOWN),
        (answer(200, intent("succeeded", metadata={})), UNKNOWN),
        (answer(200, []), UNKNOWN),
        (refusal(402, "card_error", "card_declined", decline_code="do_not_honor"), DECLINED),
        (refusal(402, "invalid_request_error", "card_declined"), DECLINED),
        (refusal(402, "api_error"), UNKNOWN),
        (
            refusal(402, "card_error", "card_declined", payment_intent=intent("x", id="pi_other")),
            UNKNOWN,
        ),
        (refusal(400, "invalid_request_error", "parameter_invalid"), UNKNOWN),
        (refusal(400, "idempotency_error"), UNKNOWN),
        (refusal(401, "invalid_request_error"), NOT_SENT),
        (refusal(409, "invalid_request_error", "idempotency_key_in_use"), UNKNOWN),
        (refusal(429, "invalid_request_error", "lock_timeout"), NOT_SENT),
        (refusal(500, "api_error"), UNKNOWN),
        (HttpAnswer(503, b"did not run"), UNKNOWN),
    ],
)
def test_a_confirmation_is_believed_as_far_as_it_speaks_of_it(
    said: HttpAnswer, result: ResultClass
) -> None:
    """Only this PaymentIntent's state, or the bank's no, ends anything."""
    assert classify_confirm(KEY, PI, said).result is result


@pytest.mark.parametrize(
    ("status", "result"),
    [("succeeded", APPROVED), ("canceled", CANCELED), ("processing", UNKNOWN)],
)
def test_a_refusal_that_shows_the_intent_tells_its_state(status: str, result: ResultClass) -> None:
    """Confirmed or canceled before: what it is now is the answer."""
    code = "payment_intent_unexpected_state"
    said = refusal(400, "invalid_request_error", code, payment_intent=intent(status))
    assert classify_confirm(KEY, PI, said).result is result
    assert classify_cancel(KEY, PI, said).result is result


def test_the_buyer_is_sent_where_stripe_says() -> None:
    """With an address the buyer has something to do; without one the order waits for its end."""
    action = {"type": "redirect_to_url", "redirect_to_url": {"url": "https://hooks.example/3ds"}}
    got = classify_confirm(KEY, PI, answer(200, intent("requires_action", next_action=action)))
    assert (got.result, got.next_action_url) == (REQUIRES_ACTION, "https://hooks.example/3ds")
    script = {"type": "use_stripe_sdk"}
    got = classify_confirm(KEY, PI, answer(200, intent("requires_action", next_action=script)))
    assert (got.result, got.next_action_url) == (REQUIRES_ACTION, None)
    assert "use_stripe_sdk" in got.message


def test_a_failed_buyers_action_is_a_decline() -> None:
    """As the simulator calls it, so that storefronts read one language."""
    failed = {"code": "payment_intent_authentication_failure", "message": "No."}
    said = answer(200, intent("requires_payment_method", last_payment_error=failed))
    got = classify_confirm(KEY, PI, said)
    assert (got.result, got.decline_code) == (DECLINED, "authentication_failed")


@pytest.mark.parametrize(
    ("currency", "received", "captured_minor"),
    [("usd", 1_999, 1_999), ("jpy", 500, 500), ("kwd", 5_120, 5_120), ("isk", 500, 5)],
)
def test_amounts_come_in_minor_units(currency: str, received: int, captured_minor: int) -> None:
    """Without decimals, with three, and in Stripe's special case."""
    said = answer(200, intent("succeeded", currency=currency, amount_received=received))
    got = classify_confirm(KEY, PI, said)
    assert (got.captured_minor, got.currency) == (captured_minor, currency.upper())


def test_an_amount_that_is_none_of_ours_is_not_believed() -> None:
    """Five ISK and a half can't be booked."""
    said = answer(200, intent("succeeded", currency="isk", amount_received=550))
    assert classify_confirm(KEY, PI, said).result is UNKNOWN


def test_only_a_replayed_failure_spends_a_key() -> None:
    """Stripe keeps failures under their key, and says so where it shows one again."""
    replayed = refusal(500, "api_error", headers={"Idempotent_Replayed": "true"})
    assert classify_confirm(KEY, PI, replayed).is_key_spent
    assert classify_create(KEY, replayed).is_key_spent
    assert not classify_confirm(KEY, PI, refusal(500, "api_error")).is_key_spent
    declined = refusal(402, "card_error", "x", headers={"Idempotent_Replayed": "true"})
    assert not classify_confirm(KEY, PI, declined).is_key_spent


def test_a_wait_is_taken_from_the_header() -> None:
    """Whole seconds; anything else is no wait."""
    for text, wait_s in (("2", 2.0), ("soon", None), ("-1", None)):
        said = refusal(429, "invalid_request_error", headers={"Retry_After": text})
        assert classify_confirm(KEY, PI, said).retry_after_s == wait_s


def test_long_texts_are_cut() -> None:
    """What is stored for ever has bounds, whatever Stripe writes."""
    said = refusal(402, "card_error", "card_declined", decline_code="x" * 999, message="y" * 999)
    got = classify_confirm(KEY, PI, said)
    assert (len(got.decline_code or ""), len(got.message)) == (64, 200)
