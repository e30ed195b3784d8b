"""The simulator's webhooks in Stripe's shape, signed as Stripe signs. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

import msgspec

from psp.simulator.stripe_intents import StripeIntents
from psp.simulator.stripe_shapes import dispute_shape, intent_shape
from psp.simulator.wire import ChargeStatus, WebhookBody

HEADER_SIGNATURE = "Stripe-Signature"

_TYPES: Mapping[ChargeStatus | None, str] = {
    ChargeStatus.CAPTURED: "payment_intent.succeeded",
    ChargeStatus.AUTHORIZED: "payment_intent.amount_capturable_updated",
    ChargeStatus.DECLINED: "payment_intent.payment_failed",
    ChargeStatus.REQUIRES_ACTION: "payment_intent.requires_action",
    ChargeStatus.CANCELED: "payment_intent.canceled",
    ChargeStatus.VOIDED: "payment_intent.canceled",
}

_DISPUTES: Mapping[str, tuple[str, str]] = {
    "charge.dispute.opened": ("charge.dispute.created", "needs_response"),
    "charge.dispute.won": ("charge.dispute.closed", "won"),
    "charge.dispute.lost": ("charge.dispute.closed", "lost"),
}
"""By the sandbox's type: Stripe's, and the status of the dispute."""


def secret_bytes(text: str) -> bytes:
    """Return what signs: all of the secret's text."""
    return text.encode()


class StripeWebhooks:
    """Shapes events of charges that were made as PaymentIntents; of the others, an event of nothing."""

    def __init__(self, intents: StripeIntents) -> None:
        self._intents = intents

    def shaped(
        self, body: WebhookBody, secret: bytes, signed_at_s: int
    ) -> tuple[bytes, dict[str, str]]:
        """Return body and headers. See ``psp.simulator.webhook_sending.Shape``."""
        charge = body.data
        intent = self._intents.of_key(charge.key or "")
        shown: object = {"object": "charge"}
        event_type = "charge.updated"
        if intent is not None and body.type in _DISPUTES:
            event_type, status = _DISPUTES[body.type]
            shown = dispute_shape(self._intents, intent, charge, status)
        elif intent is not None:
            is_burned = charge.status is ChargeStatus.CANCELED
            shown = intent_shape(self._intents, intent, charge, is_burned=is_burned)
            event_type = _TYPES.get(charge.status, "payment_intent.processing")
        told = msgspec.json.encode(
            {
                "id": body.id,
                "object": "event",
                "type": event_type,
                "created": int(body.created_at.timestamp()),
                "data": {"object": shown},
            }
        )
        digest = hmac.digest(secret, b"%d.%b" % (signed_at_s, told), "sha256").hex()
        return told, {HEADER_SIGNATURE: f"t={signed_at_s},v1={digest}"}
