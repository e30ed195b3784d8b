"""The shapes of what ``payments.answer`` renders: a payment, and the problem of one that failed."""

from __future__ import annotations

from payments.answer import STATUS_PAYMENT_REQUIRED, TITLES
from payments.json_schema import (
    CURRENCY,
    TIME,
    Schema,
    constant,
    list_of,
    minor_units,
    nullable,
    one_of,
    record,
    text,
)
from payments.lifecycle import PaymentState

_FAILURE_CODE = text("Such as " + ", ".join(f"`{code}`" for code in TITLES) + ".")
_DECLINE_CODE = nullable(text("The provider's reason, such as `do_not_honor`."))

FAILURE: Schema = record(
    "Failure",
    "Why a payment failed.",
    {"code": _FAILURE_CODE, "decline_code": _DECLINE_CODE, "message": nullable(text())},
)

NEXT_ACTION: Schema = record(
    "NextAction",
    "What the buyer has to do. Send them to `url`.",
    {
        "type": text("`redirect` today."),
        "url": text(),
        "expires_at": nullable(text("RFC 3339.")),
    },
)

SPLIT: Schema = record(
    "Split",
    "One seller's part of a charge.",
    {"seller": text("Whose wallet."), "amount": minor_units(minimum=1), "fee": minor_units()},
)

PAYMENT: Schema = record(
    "Payment",
    "A payment order as it stands. Its id is the `Idempotency-Key` that it was posted with.",
    {
        "id": text(format="uuid"),
        "object": constant("payment_order"),
        "status": one_of(*(state.wire for state in PaymentState)),
        "outcome": one_of(
            "known",
            "unknown",
            text="`unknown`: a provider was asked, and its answer is not known yet.",
        ),
        "amount": nullable(minor_units(minimum=1)),
        "amount_captured": minor_units(),
        "amount_refunded": minor_units(),
        "currency": nullable(CURRENCY),
        "seller": nullable(text("Whose wallet is credited.")),
        "fee": nullable(minor_units("What a success costs.")),
        "splits": {
            "type": "array",
            "items": SPLIT,
            "description": "Whose parts the charge has, as accepted; only where there are any.",
        },
        "psp": nullable(text("The provider that runs it, or ran it.")),
        "psp_reference": nullable(text("The provider's name for the charge.")),
        "attempts": {
            "type": "integer",
            "minimum": 0,
            "description": "Attempts at providers, each under a provider's key of its own.",
        },
        "failure": nullable(FAILURE),
        "next_action": nullable(NEXT_ACTION),
        "next_retry_at": nullable(TIME),
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "capture": one_of("automatic", "manual"),
        "created_at": TIME,
        "effective_at": nullable({**TIME, "description": "When it happened in the world."}),
        "ledger_updated_at": nullable({**TIME, "description": "When the books knew."}),
        "wallet_updated_at": nullable(TIME),
    },
    optional=("splits",),
)
PAYMENT_LIST: Schema = list_of(PAYMENT)

PAYMENT_FAILED: Schema = record(
    "PaymentFailed",
    "The frozen answer of a payment that failed: a problem (RFC 9457) with the payment in it.",
    {
        "type": text(pattern="^/docs/problems#[a-z_]+$"),
        "title": text(),
        "status": {"type": "integer", "const": STATUS_PAYMENT_REQUIRED},
        "detail": text(),
        "instance": text("The path of the payment."),
        "code": _FAILURE_CODE,
        "decline_code": _DECLINE_CODE,
        "retryable": {"type": "boolean", "const": False},
        "payment": PAYMENT,
    },
)
