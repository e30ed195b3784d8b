"""Stripe's webhooks: how they are signed, and what one says of a key. Pure."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping, Sequence

from payments.attempts import PspAnswer, ResultClass
from payments.disputes import DisputeState
from psp.stripe.classification import decoded, moment, of_intent
from psp.stripe.currencies import from_stripe
from psp.stripe.format import METADATA_KEY
from psp.stripe.wire import Dispute, Event, PaymentIntent
from psp.webhooks import (
    SECRET_BYTES_MIN,
    SIGNATURES_MAX,
    DisputeNotice,
    PspNotice,
    Refusal,
    WebhookUnreadable,
    is_signed,
)

HEADER_SIGNATURE = "stripe-signature"

TYPE_PREFIX = "payment_intent."

# An inquiry ("warning_…") moves nothing; where it becomes a dispute, funds are withdrawn.
_DISPUTE_TYPES: Mapping[str, Mapping[str, DisputeState]] = {
    "charge.dispute.created": {
        "needs_response": DisputeState.OPENED,
        "under_review": DisputeState.OPENED,
    },
    "charge.dispute.funds_withdrawn": {
        "needs_response": DisputeState.OPENED,
        "under_review": DisputeState.OPENED,
        "lost": DisputeState.OPENED,
        "won": DisputeState.OPENED,
    },
    "charge.dispute.closed": {"won": DisputeState.WON, "lost": DisputeState.LOST},
}
"""By type and status: what an event says of its dispute. Others say nothing."""

EVENT_ID_CHARACTERS_MAX = 255

# Seconds since 1970, up to the year 5138.
_TIMESTAMP = re.compile(r"[0-9]{1,11}")
# A pair each: one time, and a signature for each secret. More are somebody's attempt to have us compute.
_PARTS_MAX = SIGNATURES_MAX + 2


def secret_bytes(text: str) -> bytes:
    """Return a secret's bytes: all of its text, ``whsec_`` included. Raises ValueError."""
    secret = text.encode()
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(f"a webhook secret needs {SECRET_BYTES_MIN} bytes")
    return secret


def signature_of(secret: bytes, timestamp_s: int, body: bytes) -> str:
    """Return one signature, as ``v1=`` has it in the header."""
    return hmac.digest(secret, b"%d.%b" % (timestamp_s, body), "sha256").hex()


class StripeWebhookVerifier:
    """Whether a webhook was signed by Stripe, and lately. The secrets never appear in its repr."""

    signature_header = HEADER_SIGNATURE
    timestamp_header = HEADER_SIGNATURE
    mismatch = f"The body and its time fit no signature of {HEADER_SIGNATURE}."

    def __init__(self, secrets: Sequence[bytes], *, tolerance_s: int) -> None:
        """Any of the secrets counts. ``tolerance_s`` bounds the age, and clocks that differ."""
        if not secrets:
            raise ValueError("a PSP without a webhook secret can't be believed")
        self._secrets = tuple(secrets)
        self._tolerance_s = tolerance_s

    def refusal_of(
        self, header: Callable[[str], str], body: bytes, *, now_s: float
    ) -> Refusal | None:
        """Return why the headers and bytes are not believed, or None."""
        times: list[str] = []
        given: list[bytes] = []
        for part in header(HEADER_SIGNATURE).split(",", _PARTS_MAX)[:_PARTS_MAX]:
            name, _, value = part.strip().partition("=")
            if name == "t":
                times.append(value)
            elif name == "v1":
                given.append(value.encode(errors="replace"))
        if len(times) != 1 or _TIMESTAMP.fullmatch(times[0]) is None:
            return Refusal.SIGNATURE
        signed_at_s = int(times[0])
        expected = [signature_of(secret, signed_at_s, body).encode() for secret in self._secrets]
        if not is_signed(given[:SIGNATURES_MAX], expected):
            return Refusal.SIGNATURE
        return Refusal.TIMESTAMP if abs(now_s - signed_at_s) > self._tolerance_s else None


def read_stripe_webhook(body: bytes) -> PspNotice | None:
    """Return what a body says, or None when it is about no charge of ours. Raises WebhookUnreadable."""
    event = decoded(body, Event)
    if event is None:
        raise WebhookUnreadable("it is no event of Stripe's")
    if not event.id or len(event.id) > EVENT_ID_CHARACTERS_MAX:
        raise WebhookUnreadable("id is no event's")
    if event.type in _DISPUTE_TYPES:
        return _of_dispute(event)
    if not event.type.startswith(TYPE_PREFIX):
        return None
    intent = decoded(event.data.object, PaymentIntent)
    if intent is None:
        raise WebhookUnreadable("data.object is no PaymentIntent")
    psp_key = intent.metadata.get(METADATA_KEY)
    if psp_key is None:
        # Somebody else's: accounts are shared with other systems.
        return None
    answer = of_intent(psp_key, intent.id, intent)
    if answer.result is ResultClass.APPROVED and intent.status != "succeeded":
        # An authorization ends no order.
        answer = answer._replace(result=ResultClass.UNKNOWN)
    if answer.effective_at is None and answer.result is ResultClass.APPROVED:
        answer = answer._replace(effective_at=moment(event.created))
    return PspNotice(event_id=event.id, psp_key=psp_key, answer=answer.storable())


def _of_dispute(event: Event) -> PspNotice | None:
    """Return what an event says of a dispute: the PaymentIntent's id alone leads to its key."""
    dispute = decoded(event.data.object, Dispute)
    if dispute is None or not dispute.id or dispute.object != "dispute":
        raise WebhookUnreadable("data.object is no dispute")
    state = _DISPUTE_TYPES[event.type].get(dispute.status)
    if state is None or dispute.payment_intent is None:
        # An inquiry, or of a charge that was made without a PaymentIntent: not by us.
        return None
    currency = dispute.currency.upper()
    amount_minor = from_stripe(dispute.amount, currency)
    if amount_minor is None or amount_minor < 1:
        raise WebhookUnreadable("data.object.amount is no amount of ours")
    answer = PspAnswer(
        result=ResultClass.UNKNOWN,
        reference=dispute.payment_intent,
        currency=currency,
        effective_at=moment(event.created),
    )
    return PspNotice(
        event_id=event.id,
        psp_key=None,
        answer=answer.storable(),
        dispute=DisputeNotice(dispute.id, state, amount_minor),
    )
