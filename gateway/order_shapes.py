"""The shapes of an order and of its answer, as the request log keeps them (``gateway.order_redaction``)."""

from __future__ import annotations

from typing import Any

import msgspec


class Asked(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False):
    """The members of ``POST /v1/payments``. Null is left out, as if it had not been there."""

    amount: int | None = None
    currency: str | None = None
    payment_method: str | None = None
    seller: str | None = None
    splits: None = None
    """One of several sellers goes the long way."""
    capture: str | None = None
    description: str | None = None
    metadata: Any = None
    buyer: Any = None


class Told(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False):
    """The members of an order that is answered while nothing failed and nobody is asked to act."""

    id: str | None = None
    object: str | None = None
    status: str | None = None
    outcome: str | None = None
    amount: int | None = None
    amount_captured: int | None = None
    amount_refunded: int | None = None
    currency: str | None = None
    seller: str | None = None
    fee: int | None = None
    psp: str | None = None
    psp_reference: str | None = None
    attempts: int | None = None
    failure: None = None
    next_action: None = None
    next_retry_at: str | None = None
    metadata: Any = None
    capture: str | None = None
    created_at: str | None = None
    effective_at: str | None = None
    ledger_updated_at: str | None = None
    wallet_updated_at: str | None = None


ASKED_DECODER = msgspec.json.Decoder(Asked)
TOLD_DECODER = msgspec.json.Decoder(Told)
ENCODER = msgspec.json.Encoder()
