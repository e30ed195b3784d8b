"""Orders and their answers in the request log: what ``request_redaction`` makes of them, in an eighth of its time.

Nearly every line of the log is an order that was taken. Its body was checked, member by member, and its answer is
ours; so both have a shape, and what is kept of them is read and written by it, without a walk. A body of any other
shape is None here. A test holds both ways to the same results.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.request_redaction import REDACTED, redacted_body, shown_own

_DECODE_FAULTS = (msgspec.MsgspecError, ValueError, RecursionError)


class _Asked(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False
):
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


class _Told(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False):
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


_asked_decoder = msgspec.json.Decoder(_Asked)
_told_decoder = msgspec.json.Decoder(_Told)
_encoder = msgspec.json.Encoder()


def redacted_order_bodies(
    *, request: bytes | None, answer: bytes | None, body_bytes_max: int
) -> bytes:
    """Return what ``redacted_bodies`` does, of ``POST /v1/payments`` that was not refused."""
    asked = redacted_order(request, body_bytes_max)
    told = redacted_order_answer(answer, body_bytes_max)
    if asked is None:
        asked = redacted_body(request, body_bytes_max, is_own=False)
    if told is None:
        told = redacted_body(answer, body_bytes_max, is_own=True)
    return b'{"request":%b,"answer":%b}' % (asked, told)


def redacted_order(body: bytes | None, bytes_max: int) -> bytes | None:
    """Return what is kept of the body of an order that was taken; None where it has another shape."""
    if not body:
        return None
    try:
        asked = _asked_decoder.decode(body)
    except _DECODE_FAULTS:
        return None
    if asked.payment_method is not None:
        asked.payment_method = REDACTED
    if asked.description is not None:
        asked.description = REDACTED
    if asked.metadata is not None:
        asked.metadata = REDACTED
    if asked.buyer is not None:
        asked.buyer = REDACTED
    # Amount, currency and seller are such, else it had not been taken.
    return _within(_encoder.encode(asked), bytes_max)


def redacted_order_answer(body: bytes | None, bytes_max: int) -> bytes | None:
    """Return what is kept of the answer that shows such an order; None where it has another shape."""
    if not body:
        return None
    try:
        told = _told_decoder.decode(body)
    except _DECODE_FAULTS:
        return None
    if told.metadata is not None:
        told.metadata = REDACTED
    # A provider wrote it; all other texts are our own ids, states and times.
    if told.psp_reference is not None:
        told.psp_reference = shown_own(told.psp_reference)
    return _within(_encoder.encode(told), bytes_max)


def _within(kept: bytes, bytes_max: int) -> bytes | None:
    return kept if len(kept) <= bytes_max else None
