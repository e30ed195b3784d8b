"""Stripe's webhooks: which are believed, and what they say."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from payments.attempts import ResultClass
from payments.disputes import DisputeState
from psp.simulator import stripe_webhooks as simulated
from psp.stripe.webhooks import (
    StripeWebhookVerifier,
    read_stripe_webhook,
    secret_bytes,
    signature_of,
)
from psp.webhooks import DisputeNotice, Refusal, WebhookUnreadable

NEW, OLD = secret_bytes("whsec_new_and_long_enough"), secret_bytes("whsec_old_and_long_enough")
VERIFIER = StripeWebhookVerifier([NEW, OLD], tolerance_s=300)
NOW_S = 1_700_000_000
BODY = b'{"id":"evt_1"}'


def refusal(header: str, *, body: bytes = BODY, now_s: float = NOW_S) -> Refusal | None:
    headers = {"stripe-signature": header}
    return VERIFIER.refusal_of(lambda name: headers.get(name, ""), body, now_s=now_s)


def signed(secret: bytes, at_s: int = NOW_S, body: bytes = BODY) -> str:
    return f"t={at_s},v1={signature_of(secret, at_s, body)}"


@pytest.mark.parametrize("secret", [NEW, OLD])
def test_any_secret_counts_while_one_follows_another(secret: bytes) -> None:
    """Also beside a signature of another scheme, and one by a secret that we don't know."""
    assert refusal(signed(secret)) is None
    assert refusal(f"{signed(secret)},v0=ab, v1=00") is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=1",
        f"v1={signature_of(NEW, NOW_S, BODY)}",
        f"t=x,v1={signature_of(NEW, NOW_S, BODY)}",
        f"t={NOW_S},t={NOW_S},v1={signature_of(NEW, NOW_S, BODY)}",
        f"t={NOW_S},v1=00",
        f"t={NOW_S},v1=\udcff",
        f"t={NOW_S + 1},v1={signature_of(NEW, NOW_S, BODY)}",
        f"t={NOW_S},v0={signature_of(NEW, NOW_S, BODY)}",
        signed(secret_bytes("whsec_of_somebody_else_entirely")),
    ],
)
def test_what_is_not_signed_so_is_not_believed(header: str) -> None:
    """One time, and its own signature over it and the bytes as they came."""
    assert refusal(header) is Refusal.SIGNATURE


def test_another_body_or_another_time_is_not_believed() -> None:
    """Neither changed bytes nor an old event count, nor one from the future."""
    assert refusal(signed(NEW), body=BODY + b" ") is Refusal.SIGNATURE
    for at_s in (NOW_S - 301, NOW_S + 301):
        assert refusal(signed(NEW, at_s)) is Refusal.TIMESTAMP


def test_a_secret_has_to_be_one() -> None:
    """Too short a secret, or none, is refused at the start."""
    with pytest.raises(ValueError, match="24 bytes"):
        secret_bytes("whsec_short")
    with pytest.raises(ValueError, match="without a webhook secret"):
        StripeWebhookVerifier([], tolerance_s=1)


def test_the_simulators_signature_is_stripes() -> None:
    """Two programs that share no code for it agree."""
    assert simulated.secret_bytes("whsec_new_and_long_enough") == NEW


def event(kind: str, status: str, **changes: Any) -> bytes:
    intent = {
        "id": "pi_abc",
        "object": "payment_intent",
        "status": status,
        "amount": 500,
        "amount_received": 500 if status == "succeeded" else 0,
        "currency": "usd",
        "metadata": {"tally_key": "tly_key"},
        **changes,
    }
    document = {"id": "evt_1", "type": kind, "created": NOW_S, "data": {"object": intent}}
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("kind", "status", "result"),
    [
        ("payment_intent.succeeded", "succeeded", ResultClass.APPROVED),
        ("payment_intent.canceled", "canceled", ResultClass.CANCELED),
        ("payment_intent.processing", "processing", ResultClass.UNKNOWN),
        ("payment_intent.created", "requires_confirmation", ResultClass.UNKNOWN),
        ("payment_intent.amount_capturable_updated", "requires_capture", ResultClass.UNKNOWN),
        ("payment_intent.requires_action", "requires_action", ResultClass.REQUIRES_ACTION),
    ],
)
def test_an_event_says_how_its_payment_intent_stands(
    kind: str, status: str, result: ResultClass
) -> None:
    """In the terms of an answer about its key; an authorization ends no order."""
    notice = read_stripe_webhook(event(kind, status))
    assert notice is not None
    assert (notice.event_id, notice.psp_key) == ("evt_1", "tly_key")
    assert notice.answer.result is result


def test_a_charge_moved_when_the_event_was_made() -> None:
    """Where the charge itself is not shown, the event's time is the nearest that there is."""
    notice = read_stripe_webhook(event("payment_intent.succeeded", "succeeded"))
    assert notice is not None
    assert notice.answer.effective_at == datetime.fromtimestamp(NOW_S, UTC)


@pytest.mark.parametrize("created", [2**40, 2**62, 2**80, -(2**62)])
def test_a_time_that_there_is_not_is_left_out(created: int) -> None:
    """Of the charge and of the event: the charge was made all the same, and nobody stumbles over its date."""
    charge = {
        "id": "ch_1",
        "created": created,
        "amount": 500,
        "currency": "usd",
        "status": "succeeded",
    }
    for changes in ({}, {"latest_charge": charge}):
        told = json.loads(event("payment_intent.succeeded", "succeeded", **changes))
        notice = read_stripe_webhook(json.dumps({**told, "created": created}).encode())
        assert notice is not None
        assert (notice.answer.result, notice.answer.effective_at) == (ResultClass.APPROVED, None)


def test_a_failed_payment_names_its_code() -> None:
    """The bank's no is a decline with the bank's reason."""
    failed = {"code": "card_declined", "decline_code": "insufficient_funds"}
    body = event(
        "payment_intent.payment_failed", "requires_payment_method", last_payment_error=failed
    )
    notice = read_stripe_webhook(body)
    assert notice is not None
    assert notice.answer.result is ResultClass.DECLINED_FINAL
    assert notice.answer.decline_code == "insufficient_funds"


@pytest.mark.parametrize(
    "body",
    [
        event("charge.succeeded", "succeeded"),
        event("payment_intent.succeeded", "succeeded", metadata={"other": "system"}),
    ],
)
def test_what_is_about_no_charge_of_ours_is_passed_over(body: bytes) -> None:
    """Other objects, and payments that other systems made at the same account."""
    assert read_stripe_webhook(body) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"id":"","type":"payment_intent.succeeded","created":1,"data":{"object":{}}}',
        b'{"id":"evt_1","type":"payment_intent.succeeded","created":1,"data":{"object":{}}}',
    ],
)
def test_what_is_no_event_says_so(body: bytes) -> None:
    """Named by what is wrong, never by what it holds."""
    with pytest.raises(WebhookUnreadable):
        read_stripe_webhook(body)


def dispute(kind: str, status: str, **changes: Any) -> bytes:
    told = {
        "id": "dp_1",
        "object": "dispute",
        "amount": 300,
        "charge": "ch_abc",
        "created": NOW_S - 60,
        "currency": "usd",
        "metadata": {},
        "payment_intent": "pi_abc",
        "status": status,
        **changes,
    }
    document = {
        "id": "evt_1",
        "type": f"charge.dispute.{kind}",
        "created": NOW_S,
        "data": {"object": told},
    }
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("kind", "status", "state"),
    [
        ("created", "needs_response", DisputeState.OPENED),
        ("created", "under_review", DisputeState.OPENED),
        ("funds_withdrawn", "needs_response", DisputeState.OPENED),
        ("funds_withdrawn", "lost", DisputeState.OPENED),
        ("closed", "won", DisputeState.WON),
        ("closed", "lost", DisputeState.LOST),
    ],
)
def test_a_dispute_is_told_by_its_payment_intent(
    kind: str, status: str, state: DisputeState
) -> None:
    """It has none of our metadata: the PaymentIntent's id is all that leads to its order."""
    notice = read_stripe_webhook(dispute(kind, status))
    assert notice is not None
    assert (notice.psp_key, notice.answer.reference) == (None, "pi_abc")
    assert notice.answer.result is ResultClass.UNKNOWN
    assert notice.dispute == DisputeNotice("dp_1", state, 300)
    assert notice.answer.currency == "USD"


@pytest.mark.parametrize(
    "body",
    [
        dispute("created", "warning_needs_response"),
        dispute("closed", "warning_closed"),
        dispute("updated", "needs_response"),
        dispute("funds_reinstated", "won"),
        dispute("created", "needs_response", payment_intent=None),
    ],
)
def test_what_moves_no_money_of_ours_is_passed_over(body: bytes) -> None:
    """Inquiries, evidence that was handed in, and charges that we never make."""
    assert read_stripe_webhook(body) is None


@pytest.mark.parametrize("changes", [{"amount": 0}, {"currency": "xxx"}, {"id": ""}])
def test_a_dispute_that_makes_no_sense_is_unreadable(changes: dict[str, object]) -> None:
    """Without an amount or a name nothing could be booked."""
    with pytest.raises(WebhookUnreadable):
        read_stripe_webhook(dispute("created", "needs_response", **changes))
