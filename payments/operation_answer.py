"""How a capture, void or refund is shown: its present body, and the POST answer that freezes with its end.

Exact bytes from plain columns, as a payment's are (payments.answer). A reason is not in them: it may name a
person.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from payments.answer import (
    API_VERSIONS,
    CONTENT_TYPE_JSON,
    CONTENT_TYPE_PROBLEM,
    PAYMENT_PATH_BASE,
    STATUS_CREATED,
    STATUS_PAYMENT_REQUIRED,
)
from payments.defects import InvariantViolation
from payments.json_text import json_failure, json_problem_head, json_string, json_time
from payments.lifecycle import PaymentState
from payments.operation_kinds import OperationKind
from payments.operations import (
    CAPTURE_EXCEEDS_AUTHORIZED,
    OPERATIONS_EXHAUSTED,
    PAYMENT_NOT_AUTHORIZED,
    PAYMENT_NOT_CAPTURED,
    REFUND_EXCEEDS_CAPTURED,
    REFUSAL_STATUSES,
)

REFUND_PATH_BASE = "/v1/refunds/"

# Of a message that could not be taken in, and was given up: docs/problems.md tells storefronts what it means.
DISCARDED_CODE = "order_discarded"

ID_PREFIXES: Mapping[OperationKind, str] = {
    OperationKind.CAPTURE: "cp",
    OperationKind.VOID: "vd",
    OperationKind.REFUND: "rf",
    OperationKind.EXPIRY: "xp",
}

STATUS_WIRES: Mapping[PaymentState, str] = {
    PaymentState.CREATED: "pending",
    PaymentState.PROCESSING: "processing",
    PaymentState.SUCCEEDED: "succeeded",
    PaymentState.FAILED: "failed",
}
"""An operation is run as an order is, in these of its states."""

TITLES: Mapping[str, str] = {
    PAYMENT_NOT_AUTHORIZED: "Nothing of the payment is authorized",
    PAYMENT_NOT_CAPTURED: "Nothing of the payment was captured",
    CAPTURE_EXCEEDS_AUTHORIZED: "More than is authorized can't be captured",
    REFUND_EXCEEDS_CAPTURED: "More than was captured can't be refunded",
    OPERATIONS_EXHAUSTED: "Too much was done to the payment already",
    DISCARDED_CODE: "The order could not be run and was discarded",
    "declined": "The provider refused",
    "psp_unavailable": "No payment service provider ran it",
}
"""Failure code -> problem title."""
TITLE_OF_OTHERS = "The operation failed"


class OperationView(NamedTuple):
    """One operation as columns. Times are aware UTC datetimes, amounts minor units."""

    operation_id: str
    kind: OperationKind
    payment_key: UUID | None
    """None only of one that was set aside because it can't be read, where nothing else tells its payment."""
    status: PaymentState
    is_outcome_known: bool
    amount_minor: int | None
    """None until its owner has taken in one that asks for all that is left."""
    currency: str | None
    failure_code: str | None
    decline_code: str | None
    failure_message: str | None
    next_retry_at: datetime | None
    created_at: datetime
    effective_at: datetime | None
    ledger_updated_at: datetime | None
    api_version: str


def operation_body(view: OperationView) -> bytes:
    """Return the operation's JSON in ASCII.

    Raises InvariantViolation for an API version without a renderer and for times that aren't UTC.
    """
    if view.api_version not in API_VERSIONS:
        raise InvariantViolation(f"no renderer for API version {view.api_version!r}")
    return (
        f'{{"id":{json_string(view.operation_id)},"object":"{view.kind.wire}"'
        f',"payment":{_json_uuid(view.payment_key)},"status":"{STATUS_WIRES[view.status]}"'
        f',"outcome":"{"known" if view.is_outcome_known else "unknown"}"'
        f',"amount":{"null" if view.amount_minor is None else view.amount_minor}'
        f',"currency":{json_string(view.currency)}'
        f',"failure":{json_failure(view.failure_code, view.decline_code, view.failure_message)}'
        f',"next_retry_at":{json_time(view.next_retry_at)}'
        f',"created_at":{json_time(view.created_at)},"effective_at":{json_time(view.effective_at)}'
        f',"ledger_updated_at":{json_time(view.ledger_updated_at)}}}'
    ).encode("ascii")


def frozen_operation_answer(view: OperationView) -> tuple[int, str, bytes]:
    """Return (HTTP status, content type, body) of the POST that asked for the operation, for ever.

    201 for one that was done; a problem for one that failed: 409 or 422 where the books refused it, 402
    where the provider did. Raises InvariantViolation for one that has not ended.
    """
    if view.status in (PaymentState.CREATED, PaymentState.PROCESSING):
        raise InvariantViolation("the answer of an open operation is not frozen")
    code = view.failure_code
    if code is None:
        return STATUS_CREATED, CONTENT_TYPE_JSON, operation_body(view)
    status = REFUSAL_STATUSES.get(code, STATUS_PAYMENT_REQUIRED)
    title = TITLES.get(code, TITLE_OF_OTHERS)
    is_refund = view.kind is OperationKind.REFUND
    head = json_problem_head(
        title=title,
        status=status,
        detail=view.failure_message or title,
        instance=(
            f"{REFUND_PATH_BASE}{view.operation_id}"
            if is_refund
            else f"{PAYMENT_PATH_BASE}{view.payment_key or ''}"
        ),
        code=code,
        decline_code=view.decline_code,
    )
    body = b'%b,"%b":%b}' % (head, view.kind.wire.encode(), operation_body(view))
    return status, CONTENT_TYPE_PROBLEM, body


def _json_uuid(value: UUID | None) -> str:
    return "null" if value is None else f'"{value}"'
