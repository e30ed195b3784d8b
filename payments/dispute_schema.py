"""The shape of what ``payments.dispute_answer`` renders."""

from __future__ import annotations

from payments.disputes import DisputeState
from payments.json_schema import (
    CURRENCY,
    TIME,
    Schema,
    constant,
    list_of,
    minor_units,
    one_of,
    record,
    text,
)

DISPUTE: Schema = record(
    "Dispute",
    "What a buyer's bank takes back of a payment, until it is decided whose it is.",
    {
        "id": text(pattern="^dp_"),
        "object": constant("dispute"),
        "payment": text("The payment's id.", format="uuid"),
        "status": one_of(*(state.wire for state in DisputeState)),
        "amount": minor_units("How much of the payment is disputed.", minimum=1),
        "currency": CURRENCY,
        "psp": text("Where the payment was charged, and is disputed."),
        "psp_reference": text("The provider's own id of the dispute."),
        "created_at": TIME,
    },
)
DISPUTE_LIST: Schema = list_of(DISPUTE)
