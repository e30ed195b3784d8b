"""Captures, voids and refunds: the body's shape and its limits, checked before a store is asked."""

from __future__ import annotations

from typing import Annotated

import msgspec

from gateway.openapi.common import STORABLE_TEXT
from gateway.openapi.declarations import rule
from gateway.payment_checks import amount_refusal, zero_character_refusal
from gateway.payment_requests import DESCRIPTION_CHARACTERS_MAX
from gateway.problems import Code, Problem
from payments.money import AMOUNT_MINOR_MAX
from payments.operation_kinds import OperationKind

# As a payment's description, and as little of a person should be in it.
REASON_CHARACTERS_MAX = DESCRIPTION_CHARACTERS_MAX

_AMOUNT = rule("In minor units.", minimum=1, maximum=AMOUNT_MINOR_MAX)


class CaptureRequest(
    msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, gc=False
):
    """The body of ``POST /v1/payments/{id}/captures``."""

    amount: Annotated[int, _AMOUNT] | None = None


class VoidRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, gc=False):
    """The body of ``POST /v1/payments/{id}/void``: nothing, or an object without members."""


class RefundRequest(
    msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, gc=False
):
    """The body of ``POST /v1/payments/{id}/refunds``."""

    amount: Annotated[int, _AMOUNT] | None = None
    reason: Annotated[str, rule(maxLength=REASON_CHARACTERS_MAX, pattern=STORABLE_TEXT)] | None = (
        None
    )


OperationRequest = CaptureRequest | VoidRequest | RefundRequest

DECODERS: dict[OperationKind, msgspec.json.Decoder[OperationRequest]] = {
    OperationKind.CAPTURE: msgspec.json.Decoder(CaptureRequest),
    OperationKind.VOID: msgspec.json.Decoder(VoidRequest),
    OperationKind.REFUND: msgspec.json.Decoder(RefundRequest),
}


def amount_and_reason(request: OperationRequest) -> tuple[int | None, str | None]:
    """Return what was asked for; None for all that is left, and for no reason."""
    match request:
        case RefundRequest(amount=amount, reason=reason):
            return amount, reason
        case CaptureRequest(amount=amount):
            return amount, None
        case VoidRequest():
            return None, None


def operation_refusal(amount_minor: int | None, reason: str | None) -> Problem | None:
    """Return the first reason to refuse an operation, in order of precedence, or None."""
    refusal = None if amount_minor is None else amount_refusal(amount_minor)
    if refusal is not None or reason is None:
        return refusal
    if len(reason) > REASON_CHARACTERS_MAX:
        return Problem(
            code=Code.REASON_INVALID,
            detail=f"A reason may have at most {REASON_CHARACTERS_MAX} characters.",
            param="$.reason",
        )
    return zero_character_refusal(reason, "$.reason")
