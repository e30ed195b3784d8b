"""Orders and their answers in the request log: what ``request_redaction`` makes of them, in an eighth of its time.

Nearly every line of the log is an order that was taken. Its body was checked, member by member, and its answer is
ours; so both have a shape, and what is kept of them is read and written by it, without a walk. A body of any other
shape is None here. A test holds both ways to the same results.
"""

from __future__ import annotations

import msgspec

from gateway.order_shapes import ASKED_DECODER, ENCODER, TOLD_DECODER
from gateway.request_redaction import REDACTED, redacted_body, shown_own

_DECODE_FAULTS = (msgspec.MsgspecError, ValueError, RecursionError)


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
        asked = ASKED_DECODER.decode(body)
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
    return _within(ENCODER.encode(asked), bytes_max)


def redacted_order_answer(body: bytes | None, bytes_max: int) -> bytes | None:
    """Return what is kept of the answer that shows such an order; None where it has another shape."""
    if not body:
        return None
    try:
        told = TOLD_DECODER.decode(body)
    except _DECODE_FAULTS:
        return None
    if told.metadata is not None:
        told.metadata = REDACTED
    # A provider wrote it; all other texts are our own ids, states and times.
    if told.psp_reference is not None:
        told.psp_reference = shown_own(told.psp_reference)
    return _within(ENCODER.encode(told), bytes_max)


def _within(kept: bytes, bytes_max: int) -> bytes | None:
    return kept if len(kept) <= bytes_max else None
