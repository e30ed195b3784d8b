"""How a payment order is shown: its present body, and the POST answer that freezes.

Both are exact bytes in a fixed order of members, from plain columns. The frozen answer must be the
same years later, so nothing of it may depend on a clock, a request or personal data: the
description and the buyer are not in it, because they can be erased.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from payments.defects import InvariantViolation
from payments.fingerprint import canonical_json
from payments.json_text import json_failure, json_problem_head, json_string, json_time
from payments.lifecycle import FREEZING_STATES, PaymentState
from payments.splits import Split

# Answers frozen under a version are rendered by its rules for ever: a new version adds a renderer.
API_VERSION = "2026-11-01"
API_VERSIONS = frozenset({API_VERSION})

CONTENT_TYPE_JSON = "application/json"
CONTENT_TYPE_PROBLEM = "application/problem+json"
STATUS_CREATED = 201
STATUS_PAYMENT_REQUIRED = 402

PAYMENT_PATH_BASE = "/v1/payments/"

TITLES: Mapping[str, str] = {
    "declined": "The payment was declined",
    "psp_unavailable": "No payment service provider ran the payment",
    "not_charged": "The payment was not charged",
    "order_discarded": "The order could not be run and was discarded",
}
"""Failure code -> problem title. The detail says more where the PSP did."""
TITLE_OF_OTHERS = "The payment failed"

CAPTURE_WIRES = {False: "automatic", True: "manual"}
"""How the API calls it, by whether a payment is captured on the storefront's word alone."""

_FREEZING_STATUSES = frozenset(state.wire for state in FREEZING_STATES)


class OrderView(NamedTuple):
    """One payment order as columns. For the frozen answer: the columns of the moment it froze.

    Times are aware UTC datetimes, amounts minor units.
    """

    idempotency_key: UUID
    status: str
    """A wire name of PaymentState."""
    is_outcome_known: bool
    amount_minor: int | None
    """None only of an order that was set aside because it can't be read; so are currency and seller."""
    amount_captured_minor: int
    amount_refunded_minor: int
    currency: str | None
    seller_id: str | None
    fee_minor: int | None
    psp: str | None
    psp_reference: str | None
    attempt_count: int
    failure_code: str | None
    """None as long as the order has not failed; then the two below belong to it."""
    decline_code: str | None
    failure_message: str | None
    next_action: Mapping[str, object] | None
    next_retry_at: datetime | None
    metadata_json: str | None
    """Canonical JSON text of an object, shown as it is; None shows as {}."""
    capture: str
    created_at: datetime
    effective_at: datetime | None
    ledger_updated_at: datetime | None
    wallet_updated_at: datetime | None
    api_version: str
    splits_json: str | None = None
    """What ``splits_text`` makes of its splits; None: it has none, and shows none."""


def splits_text(splits: Sequence[Split], seller_ids: Sequence[str]) -> str:
    """Return the splits as they are shown: as accepted, canonical JSON text of an array."""
    return canonical_json(
        [
            {"seller": seller_id, "amount": split.amount_minor, "fee": split.fee_minor}
            for split, seller_id in zip(splits, seller_ids, strict=True)
        ]
    )


def payment_body(view: OrderView) -> bytes:
    """Return the order's JSON in ASCII: for GET, for a POST not yet frozen, and for the frozen one.

    Raises InvariantViolation for an API version without a renderer and for times that aren't UTC.
    """
    if view.api_version not in API_VERSIONS:
        raise InvariantViolation(f"no renderer for API version {view.api_version!r}")
    failure = json_failure(view.failure_code, view.decline_code, view.failure_message)
    splits = "" if view.splits_json is None else f',"splits":{view.splits_json}'
    next_action = "null" if view.next_action is None else canonical_json(view.next_action)
    # Assembled by hand: the order of members is part of the bytes, and this is the hot path.
    return (
        f'{{"id":"{view.idempotency_key}","object":"payment_order"'
        f',"status":{json_string(view.status)}'
        f',"outcome":"{"known" if view.is_outcome_known else "unknown"}"'
        f',"amount":{"null" if view.amount_minor is None else view.amount_minor}'
        f',"amount_captured":{view.amount_captured_minor}'
        f',"amount_refunded":{view.amount_refunded_minor}'
        f',"currency":{json_string(view.currency)},"seller":{json_string(view.seller_id)}'
        f',"fee":{"null" if view.fee_minor is None else view.fee_minor}{splits}'
        f',"psp":{json_string(view.psp)},"psp_reference":{json_string(view.psp_reference)}'
        f',"attempts":{view.attempt_count},"failure":{failure}'
        f',"next_action":{next_action},"next_retry_at":{json_time(view.next_retry_at)}'
        f',"metadata":{view.metadata_json or "{}"},"capture":{json_string(view.capture)}'
        f',"created_at":{json_time(view.created_at)},"effective_at":{json_time(view.effective_at)}'
        f',"ledger_updated_at":{json_time(view.ledger_updated_at)}'
        f',"wallet_updated_at":{json_time(view.wallet_updated_at)}}}'
    ).encode("ascii")


def frozen_answer(view: OrderView) -> tuple[int, str, bytes]:
    """Return (HTTP status, content type, body) of the POST that created the order, for ever.

    402 with a problem for a failed order, 201 for every other end. Raises InvariantViolation for an
    order that has not ended yet.
    """
    if view.status not in _FREEZING_STATUSES:
        raise InvariantViolation(f"the answer of an order that is {view.status} is not frozen")
    if view.status == PaymentState.FAILED.wire:
        return STATUS_PAYMENT_REQUIRED, CONTENT_TYPE_PROBLEM, _problem_body(view)
    return STATUS_CREATED, CONTENT_TYPE_JSON, payment_body(view)


def _problem_body(view: OrderView) -> bytes:
    """Return the problem (RFC 9457) of a failed order, with the order itself as ``payment``.

    Never retryable: the key is spent, a new try is a new order. The request id is in the header
    alone, as it differs from answer to answer.
    """
    code = view.failure_code
    if code is None:
        raise InvariantViolation("a failed order has no failure code")
    title = TITLES.get(code, TITLE_OF_OTHERS)
    head = json_problem_head(
        title=title,
        status=STATUS_PAYMENT_REQUIRED,
        detail=view.failure_message or title,
        instance=f"{PAYMENT_PATH_BASE}{view.idempotency_key}",
        code=code,
        decline_code=view.decline_code,
    )
    return b'%b,"payment":%b}' % (head, payment_body(view))


class EventView(NamedTuple):
    """One event as columns of the moment that it happened. Times are aware UTC datetimes."""

    event_id: str
    type: str
    created_at: datetime
    object_kind: str
    object_id: str
    sequence: int
    data: bytes
    """The object as it stood then: JSON in ASCII."""
    api_version: str


def event_body(view: EventView) -> bytes:
    """Return the event's JSON in ASCII: the same bytes in the feed and in every try of every webhook."""
    head = (
        f'{{"id":{json_string(view.event_id)},"type":{json_string(view.type)}'
        f',"created_at":{json_time(view.created_at)},"object":{json_string(view.object_kind)}'
        f',"object_id":{json_string(view.object_id)},"sequence":{view.sequence},"data":'
    )
    tail = f',"api_version":{json_string(view.api_version)}}}'
    return b"%b%b%b" % (head.encode("ascii"), view.data, tail.encode("ascii"))
