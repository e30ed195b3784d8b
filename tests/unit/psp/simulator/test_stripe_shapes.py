"""The simulator in Stripe's shapes: read by the connector, which shares no code with it."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from payments.attempts import ResultClass
from payments.disputes import DisputeState
from psp.port import ChargeTerms
from psp.simulator.behaviour import digest_of_key, reference_of_digest
from psp.simulator.records import ChangeRecord, FailureRecord, IntentRecord
from psp.simulator.stripe_intents import StripeIntents, charge_request, metadata_of
from psp.simulator.stripe_requests import fields_of
from psp.simulator.stripe_webhooks import StripeWebhooks, secret_bytes
from psp.simulator.wire import AnswerBody, ChangeKind, ChargeStatus, WebhookBody
from psp.stripe.format import bodies_of, canonical_charge
from psp.stripe.webhooks import StripeWebhookVerifier, read_stripe_webhook
from psp.webhooks import DisputeNotice

SEED = 7
KEY = "tly_key"
SECRET = secret_bytes("whsec_of_a_test_that_is_long_enough")
NOW_S = 1_700_000_000
AT = datetime.fromtimestamp(NOW_S, UTC)


def an_intent(token: str = "pm_card_visa", *, capture: bool = True) -> IntentRecord:
    terms = ChargeTerms(
        amount_minor=1_999,
        currency="USD",
        token=token,
        merchant_id="m_shop",
        order_key=UUID(int=7),
        capture=capture,
        description="order 1001",
    )
    bodies = bodies_of(canonical_charge(terms, return_url=""), KEY)
    assert not isinstance(bodies, str)
    fields = fields_of(bodies.create)
    return IntentRecord(
        key=KEY,
        request=charge_request(fields),
        metadata=metadata_of(fields),
        fingerprint=1,
        at_ms=NOW_S * 1_000,
    )


@pytest.mark.parametrize(
    ("method", "token"),
    [
        ("pm_card_visa", "tok_approve"),
        ("pm_card_chargeDeclined", "tok_decline_generic_decline"),
        ("pm_card_authenticationRequired", "tok_3ds"),
        ("pm_decline_do_not_honor", "tok_decline_do_not_honor"),
        ("pm_slow_50", "tok_slow_50"),
        ("pm_Unheard", "pm_Unheard"),
        ("tok_approve", "tok_approve"),
    ],
)
def test_a_payment_method_fares_as_a_sandbox_token(method: str, token: str) -> None:
    """Stripe's own names for tests, and every sandbox token under Stripe's prefix."""
    made = an_intent(method)
    assert made.request.token == token
    assert (made.request.amount, made.request.currency) == (1_999, "USD")
    assert (made.request.metadata.merchant, made.request.metadata.order_key) == (
        "m_shop",
        UUID(int=7),
    )
    assert made.metadata["tally_key"] == KEY


def test_a_form_that_is_none_is_refused() -> None:
    """An amount that is no number, and a body that is no form."""
    with pytest.raises(ValueError, match="invalid literal"):
        charge_request({"amount": "much", "currency": "usd", "payment_method": "pm_1"})
    with pytest.raises(ValueError, match="bad query field"):
        fields_of(b"no form")


def test_what_is_replayed_from_the_log_is_known_again() -> None:
    """PaymentIntents, kept failures, captures and refunds come back with their keys."""
    intents = StripeIntents(seed=SEED)
    intents.apply(an_intent())
    intents.apply(FailureRecord(key="failed", at_ms=1))
    for kind, key in ((ChangeKind.CAPTURE, "c"), (ChangeKind.REFUND, "r")):
        for refusal, name in ((None, key), ("no", f"{key}-refused")):
            intents.apply(
                ChangeRecord(
                    charge_key=KEY,
                    kind=kind,
                    key=name,
                    amount=5,
                    fingerprint=1,
                    refusal=refusal,
                    at_ms=1,
                )
            )
    made = intents.of_id(intents.intent_id(KEY))
    assert made == intents.of_key(KEY) == an_intent()
    assert (intents.has_failed("failed"), intents.has_failed(KEY)) == (True, False)
    assert intents.capture_key(KEY) == "c"
    assert [refund.key for refund in intents.refunds(KEY)] == ["r"]


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (ChargeStatus.CAPTURED, ResultClass.APPROVED),
        (ChargeStatus.DECLINED, ResultClass.DECLINED_FINAL),
        (ChargeStatus.CANCELED, ResultClass.CANCELED),
        (ChargeStatus.REQUIRES_ACTION, ResultClass.REQUIRES_ACTION),
        (ChargeStatus.AUTHORIZED, ResultClass.UNKNOWN),
    ],
)
def test_its_webhooks_are_believed_and_read(status: ChargeStatus, result: ResultClass) -> None:
    """Signed as Stripe signs, and about the key that made the PaymentIntent."""
    intents = StripeIntents(seed=SEED)
    intents.apply(an_intent())
    told = WebhookBody(id="evt_x", type="charge", created_at=AT, data=_charge(status))
    body, headers = StripeWebhooks(intents).shaped(told, SECRET, NOW_S)
    signed = {name.lower(): value for name, value in headers.items()}
    verifier = StripeWebhookVerifier([SECRET], tolerance_s=300)
    assert verifier.refusal_of(signed.__getitem__, body, now_s=NOW_S) is None
    notice = read_stripe_webhook(body)
    assert notice is not None
    assert (notice.event_id, notice.psp_key) == ("evt_x", KEY)
    assert notice.answer.result is result
    assert notice.answer.reference == intents.intent_id(KEY)


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("charge.dispute.opened", DisputeState.OPENED),
        ("charge.dispute.won", DisputeState.WON),
        ("charge.dispute.lost", DisputeState.LOST),
    ],
)
def test_its_disputes_are_read_as_stripes(kind: str, state: DisputeState) -> None:
    """As Stripe's, they name the PaymentIntent and no key."""
    intents = StripeIntents(seed=SEED)
    intents.apply(an_intent())
    charge = msgspec.structs.replace(_charge(ChargeStatus.CAPTURED), dispute="dp_x", disputed=700)
    told = WebhookBody(id="evt_x", type=kind, created_at=AT, data=charge)
    body, _ = StripeWebhooks(intents).shaped(told, SECRET, NOW_S)
    assert KEY.encode() not in body
    notice = read_stripe_webhook(body)
    assert notice is not None
    assert notice.dispute == DisputeNotice("dp_x", state, 700)
    assert notice.answer.reference == intents.intent_id(KEY)


def test_a_charge_of_its_own_shape_is_no_event_of_stripes() -> None:
    """Who made a charge without a PaymentIntent is told nothing in Stripe's name."""
    told = WebhookBody(
        id="evt_x", type="charge", created_at=AT, data=_charge(ChargeStatus.CAPTURED)
    )
    body, _ = StripeWebhooks(StripeIntents(seed=SEED)).shaped(told, SECRET, NOW_S)
    assert read_stripe_webhook(body) is None


def _charge(status: ChargeStatus) -> AnswerBody:
    reference = reference_of_digest(digest_of_key(SEED, KEY))
    return AnswerBody(
        object="charge",
        key=KEY,
        reference=reference,
        status=status,
        amount=1_999,
        currency="USD",
        captured=1_999 if status is ChargeStatus.CAPTURED else 0,
        decline_code="do_not_honor" if status is ChargeStatus.DECLINED else None,
        next_action_url="http://127.0.0.1/actions/x",
        at=AT,
    )
