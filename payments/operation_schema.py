"""The shapes of what ``payments.operation_answer`` renders: captures, voids, refunds, and problems of failed ones."""

from __future__ import annotations

from payments.answer_schema import FAILURE
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
from payments.operation_answer import ID_PREFIXES, STATUS_WIRES, TITLES
from payments.operation_kinds import OperationKind


def _operation(kind: OperationKind) -> Schema:
    return record(
        kind.wire.capitalize(),
        f"A {kind.wire} as it stands.",
        {
            "id": text(pattern=f"^{ID_PREFIXES[kind]}_"),
            "object": constant(kind.wire),
            "payment": nullable(
                text(
                    "The payment's id; null only where its message can't be read, and only its id was asked for.",
                    format="uuid",
                )
            ),
            "status": one_of(*dict.fromkeys(STATUS_WIRES.values())),
            "outcome": one_of("known", "unknown"),
            "amount": nullable(
                minor_units("null until it is known how much is left, where all was asked for.")
            ),
            "currency": nullable(CURRENCY),
            "failure": nullable(FAILURE),
            "next_retry_at": nullable(TIME),
            "created_at": TIME,
            "effective_at": nullable(TIME),
            "ledger_updated_at": nullable(TIME),
        },
    )


def _failed(kind: OperationKind, shape: Schema) -> Schema:
    return record(
        f"{kind.wire.capitalize()}Failed",
        f"The frozen answer of a {kind.wire} that failed: a problem (RFC 9457) with it in it.",
        {
            "type": text(pattern="^/docs/problems#[a-z_]+$"),
            "title": text(),
            "status": {"type": "integer", "enum": [402, 409, 422]},
            "detail": text(),
            "instance": text(),
            "code": text("Such as " + ", ".join(f"`{code}`" for code in TITLES) + "."),
            "decline_code": nullable(text()),
            "retryable": {"type": "boolean", "const": False},
            kind.wire: shape,
        },
    )


_OF_STOREFRONTS = [kind for kind in OperationKind if kind.is_of_storefronts]

OPERATIONS = {kind: _operation(kind) for kind in _OF_STOREFRONTS}
"""By kind: the operation."""
FAILED = {kind: _failed(kind, shape) for kind, shape in OPERATIONS.items()}
"""By kind: the problem of one that failed."""
REFUND_LIST: Schema = list_of(OPERATIONS[OperationKind.REFUND])
