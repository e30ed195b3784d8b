"""What Stripe's answers mean for a capture, a void or a refund, each under a key of its own. Pure."""

from __future__ import annotations

from payments.attempts import PspAnswer, ResultClass
from psp.classification import unknown
from psp.http_client import HttpAnswer
from psp.stripe.classification import (
    UNEXPECTED_STATE,
    declined,
    decoded,
    error_of,
    moment,
    refused,
)
from psp.stripe.currencies import from_stripe
from psp.stripe.format import METADATA_CHANGE, METADATA_KEY
from psp.stripe.wire import Error, PaymentIntent, Refund

# The same codes as the simulator's: what storefronts and operators read is one language.
_NOT_AUTHORIZED = "charge_not_authorized"
_ABOVE_AUTHORIZED = "amount_above_authorized"
_ABOVE_CAPTURED = "amount_above_captured"

# A refund in one of these moved nothing, and never will.
_REFUND_FAILED = frozenset({"failed", "canceled"})


def classify_capture(psp_key: str, reference: str, answer: HttpAnswer) -> PspAnswer:
    """Return what became of a capture."""
    if answer.status == 200:
        return _captured(psp_key, reference, decoded(answer.body, PaymentIntent))
    error = error_of(answer)
    if error.code == UNEXPECTED_STATE and _is_about(error, reference):
        done = _captured(psp_key, reference, error.payment_intent)
        is_done = done.result is ResultClass.APPROVED
        return done if is_done else _refused_for_good(_NOT_AUTHORIZED, error, reference)
    if error.code == "amount_too_large" or error.param == "amount_to_capture":
        return _refused_for_good(_ABOVE_AUTHORIZED, error, reference)
    return refused(answer, error)


def classify_void(reference: str, answer: HttpAnswer) -> PspAnswer:
    """Return what became of a void. Canceled is canceled, whoever asked for it first."""
    if answer.status == 200:
        return _released(reference, decoded(answer.body, PaymentIntent))
    error = error_of(answer)
    if error.code == UNEXPECTED_STATE and _is_about(error, reference):
        released = _released(reference, error.payment_intent)
        is_done = released.result is ResultClass.APPROVED
        return released if is_done else _refused_for_good(_NOT_AUTHORIZED, error, reference)
    return refused(answer, error)


def _released(reference: str, intent: PaymentIntent | None) -> PspAnswer:
    """Whether nothing is held any more. A manual capture has released what it left: Stripe takes one."""
    is_held = intent is None or not (
        intent.status == "canceled"
        or (intent.status == "succeeded" and intent.capture_method == "manual")
    )
    if intent is None or is_held or intent.id != reference:
        return unknown("something may still be held by the PaymentIntent")
    return PspAnswer(
        result=ResultClass.APPROVED, reference=reference, currency=intent.currency.upper()
    )


def classify_refund(psp_key: str, reference: str, answer: HttpAnswer) -> PspAnswer:
    """Return what became of a refund of the PaymentIntent ``reference``."""
    if answer.status == 200:
        refund = decoded(answer.body, Refund)
        if refund is None or refund.metadata.get(METADATA_KEY) != psp_key:
            return unknown("HTTP 200, and no refund of this key")
        return of_refund(refund, reference)
    error = error_of(answer)
    if error.code == "charge_already_refunded" or error.param == "amount":
        return _refused_for_good(_ABOVE_CAPTURED, error, reference)
    return refused(answer, error)


def of_refund(refund: Refund, reference: str) -> PspAnswer:
    """Return what a refund says of its own key, as it stands."""
    currency = refund.currency.upper()
    amount_minor = from_stripe(refund.amount, currency)
    if refund.status == "succeeded" and amount_minor is not None:
        return PspAnswer(
            result=ResultClass.APPROVED,
            reference=reference,
            currency=currency,
            captured_minor=amount_minor,
            effective_at=moment(refund.created),
        )
    if refund.status in _REFUND_FAILED:
        return declined("refund_failed")._replace(reference=reference)
    return unknown(f"the refund is {refund.status[:40]}")


def of_capture(psp_key: str, reference: str, intent: PaymentIntent) -> PspAnswer:
    """Return what a PaymentIntent, as it stands, says of the key of a capture."""
    return _captured(psp_key, reference, intent)


def _captured(psp_key: str, reference: str, intent: PaymentIntent | None) -> PspAnswer:
    if intent is None or intent.id != reference or intent.status != "succeeded":
        return unknown("no captured PaymentIntent")
    if intent.metadata.get(METADATA_CHANGE) != psp_key:
        return unknown("the PaymentIntent was captured under another key")
    currency = intent.currency.upper()
    captured_minor = from_stripe(intent.amount_received, currency)
    if captured_minor is None:
        return unknown(f"{intent.amount_received} {currency} is no amount of ours")
    return PspAnswer(
        result=ResultClass.APPROVED,
        reference=reference,
        captured_minor=captured_minor,
        currency=currency,
    )


def _is_about(error: Error, reference: str) -> bool:
    return error.payment_intent is not None and error.payment_intent.id == reference


def _refused_for_good(code: str, error: Error, reference: str) -> PspAnswer:
    return declined(code, error.message)._replace(reference=reference)
