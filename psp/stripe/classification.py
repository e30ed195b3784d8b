"""What Stripe's answers mean for an attempt. Pure.

One-sided, as ``psp.classification`` is: only Stripe's own words about this very PaymentIntent prove an
end. One thing needs no words of Stripe's: a PaymentIntent that nobody confirms charges nothing. So
whatever becomes of the request that creates it, the charge surely did not run.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from payments.attempts import PspAnswer, ResultClass
from psp.classification import (
    CODE_CHARACTERS_MAX,
    MESSAGE_CHARACTERS_MAX,
    REFERENCE_CHARACTERS_MAX,
    URL_CHARACTERS_MAX,
    unknown,
)
from psp.http_client import HttpAnswer
from psp.stripe.currencies import from_stripe
from psp.stripe.format import METADATA_KEY
from psp.stripe.wire import UNREADABLE, Charge, Error, ErrorBody, PaymentIntent

Shape = TypeVar("Shape", bound=msgspec.Struct)

_SERVER_ERROR = 500
UNEXPECTED_STATE = "payment_intent_unexpected_state"

# Codes that the simulator and the retry policy know by another name: storefronts read one language.
_CODES = {
    "payment_intent_authentication_failure": "authentication_failed",
    "issuer_not_available": "issuer_unavailable",
}

# Of the creation: what it says of these is about the order, and the same whenever it is sent.
_ORDER_PARAMETERS = ("amount", "currency", "payment_method")


def decoded(body: bytes | msgspec.Raw, shape: type[Shape]) -> Shape | None:
    """Return a body in that shape, or None where it is none."""
    try:
        return msgspec.json.decode(body, type=shape)
    except UNREADABLE:
        return None


def error_of(answer: HttpAnswer) -> Error:
    """Return what an answer says went wrong; an empty one where it is not in Stripe's words."""
    body = decoded(answer.body, ErrorBody)
    return Error() if body is None else body.error


def classify_create(psp_key: str, answer: HttpAnswer) -> PspAnswer:
    """Return what became of the request that creates a PaymentIntent."""
    if answer.status == 200:
        intent = decoded(answer.body, PaymentIntent)
        if intent is None or not _is_ours(intent, psp_key) or not _is_reference(intent.id):
            return unknown("HTTP 200, and no PaymentIntent of this key")
        # Only its id counts: a replay shows the state of then.
        return PspAnswer(result=ResultClass.PREPARED, reference=intent.id)
    error = error_of(answer)
    if error.type == "idempotency_error" or answer.status == 409:
        # The key belongs to another body, or a twin is under way: something else is going on.
        return unknown(_said(answer, error))
    is_about_order = error.type == "invalid_request_error" and (error.param or "").startswith(
        _ORDER_PARAMETERS
    )
    if answer.status == 402 or (answer.status in (400, 404) and is_about_order):
        return declined(error.decline_code or error.code or "invalid_request", error.message)
    return _not_run(answer, error)


def never_ran(answer: PspAnswer) -> PspAnswer:
    """Return what the lack of an answer to a creation means: nobody confirms what it may have made."""
    is_silent = answer.is_silent or answer.result is ResultClass.NOT_SENT
    return answer._replace(result=ResultClass.NOT_SENT, is_silent=is_silent)


def classify_confirm(psp_key: str, reference: str, answer: HttpAnswer) -> PspAnswer:
    """Return what became of the request that runs the charge."""
    if answer.status == 200:
        return _of_body(psp_key, reference, answer)
    error = error_of(answer)
    if error.payment_intent is not None and error.payment_intent.id != reference:
        return unknown("the answer is about another PaymentIntent")
    is_decline = error.type == "card_error" or error.code == "card_declined"
    if answer.status == 402 and is_decline:
        code = error.decline_code or error.code or "card_declined"
        return declined(code, error.message)._replace(reference=reference)
    return _of_refused(psp_key, reference, answer, error)


def classify_cancel(psp_key: str, reference: str, answer: HttpAnswer) -> PspAnswer:
    """Return what became of a PaymentIntent that was to be canceled."""
    if answer.status == 200:
        return _of_body(psp_key, reference, answer)
    return _of_refused(psp_key, reference, answer, error_of(answer))


def of_intent(psp_key: str, reference: str, intent: PaymentIntent) -> PspAnswer:
    """Return what a PaymentIntent, as it stands, says of the key that created it."""
    if intent.id != reference or not _is_ours(intent, psp_key):
        return unknown("the answer is about another key")
    match intent.status:
        case "succeeded" | "requires_capture":
            return _approved(intent)
        case "requires_action":
            return _requires_action(intent)
        case "canceled":
            return PspAnswer(result=ResultClass.CANCELED, reference=intent.id)
        case "requires_payment_method" if (failed := intent.last_payment_error) is not None:
            code = failed.decline_code or failed.code or "card_declined"
            return declined(code, failed.message)._replace(reference=intent.id)
        case _:
            # Among them requires_confirmation: the request that confirms it may be on its way.
            return unknown(f"the PaymentIntent is {intent.status[:40]}")._replace(
                reference=intent.id
            )


def is_over(intent: PaymentIntent) -> bool:
    """Whether nothing can be canceled any more: it was charged, or canceled before."""
    return intent.status in ("succeeded", "canceled")


def refused(answer: HttpAnswer, error: Error) -> PspAnswer:
    """Return what an error means that says nothing of the object: it did not run, or nothing is known."""
    if answer.status in (401, 403, 429):
        return _not_run(answer, error)
    return unknown(_said(answer, error))._replace(is_key_spent=_is_kept(answer))


def retry_after_s(answer: HttpAnswer) -> float | None:
    """Return the wait that the answer asks for, in seconds."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None


def effective_at(charge: Charge | str | None) -> datetime | None:
    """Return when a charge was made, where the answer shows it."""
    return moment(charge.created) if isinstance(charge, Charge) else None


def moment(created_s: int) -> datetime | None:
    """Return a time that Stripe gave in seconds since 1970; None for one that is in no calendar."""
    try:
        return datetime.fromtimestamp(created_s, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _of_body(psp_key: str, reference: str, answer: HttpAnswer) -> PspAnswer:
    intent = decoded(answer.body, PaymentIntent)
    if intent is None:
        return unknown("HTTP 200, and no PaymentIntent")
    return of_intent(psp_key, reference, intent)


def _of_refused(psp_key: str, reference: str, answer: HttpAnswer, error: Error) -> PspAnswer:
    """What is left of a refusal: the PaymentIntent has an end already, or it did not run, or nothing."""
    if error.code == UNEXPECTED_STATE and error.payment_intent is not None:
        return of_intent(psp_key, reference, error.payment_intent)
    return refused(answer, error)


def _approved(intent: PaymentIntent) -> PspAnswer:
    currency = intent.currency.upper()
    is_captured = intent.status == "succeeded"
    captured_minor = from_stripe(intent.amount_received, currency) if is_captured else 0
    if captured_minor is None or captured_minor < 0:
        return unknown(f"{intent.amount_received} {currency} is no amount of ours")
    held_minor = 0 if is_captured else from_stripe(intent.amount, currency)
    return PspAnswer(
        result=ResultClass.APPROVED,
        reference=intent.id,
        captured_minor=captured_minor,
        authorized_minor=held_minor or 0,
        currency=currency,
        effective_at=effective_at(intent.latest_charge),
    )


def _requires_action(intent: PaymentIntent) -> PspAnswer:
    action = intent.next_action
    url = None if action is None or action.redirect_to_url is None else action.redirect_to_url.url
    if url is None or len(url) > URL_CHARACTERS_MAX:
        # Without an address nobody can act; the order expires, and is canceled, at its time.
        kind = "none" if action is None else action.type[:40]
        return PspAnswer(
            result=ResultClass.REQUIRES_ACTION,
            reference=intent.id,
            message=f"the action {kind} has no address to send the buyer to",
        )
    return PspAnswer(result=ResultClass.REQUIRES_ACTION, reference=intent.id, next_action_url=url)


def declined(code: str, message: str | None = None) -> PspAnswer:
    """Return a refusal for good, with what Stripe says of it."""
    return PspAnswer(
        result=ResultClass.DECLINED_FINAL,
        decline_code=_CODES.get(code, code)[:CODE_CHARACTERS_MAX],
        message=(message or "")[:MESSAGE_CHARACTERS_MAX],
    )


def _not_run(answer: HttpAnswer, error: Error) -> PspAnswer:
    return PspAnswer(
        result=ResultClass.NOT_SENT,
        message=_said(answer, error)[:MESSAGE_CHARACTERS_MAX],
        retry_after_s=retry_after_s(answer),
        is_key_spent=_is_kept(answer),
    )


def _is_kept(answer: HttpAnswer) -> bool:
    """Whether Stripe shows a failure that it keeps under the key: it says so where it replays."""
    is_replay = answer.headers.get("Idempotent-Replayed", "").lower() == "true"
    return is_replay and answer.status >= _SERVER_ERROR


def _is_ours(intent: PaymentIntent, psp_key: str) -> bool:
    return intent.object == "payment_intent" and intent.metadata.get(METADATA_KEY) == psp_key


def _is_reference(text: str) -> bool:
    return text.startswith("pi_") and len(text) <= REFERENCE_CHARACTERS_MAX and text.isprintable()


def _said(answer: HttpAnswer, error: Error) -> str:
    words = " ".join(word for word in (error.type, error.code) if word)
    return f"HTTP {answer.status} {words}".rstrip()
