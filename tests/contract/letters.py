"""Dead letters as the suites write them."""

from __future__ import annotations

from uuid import UUID

from payments.answer import API_VERSION
from payments.mode import Mode
from payments.rows import DeadLetterRow
from storage.sealing import seal
from tests.books import ACCEPTED_AT


def a_letter(
    partition_index: int,
    *,
    stream_id: str = "5-0",
    order_uuid: UUID | None = None,
    merchant_no: int = 1,
    raw: bytes = b"raw",
    reason: str = "field_unreadable",
    fingerprint: bytes | None = None,
) -> DeadLetterRow:
    """A letter; one with an order when ``order_uuid`` is given."""
    is_order = order_uuid is not None
    return DeadLetterRow(
        partition_index=partition_index,
        stream_id=stream_id,
        order_uuid=order_uuid,
        merchant_no=merchant_no if is_order else None,
        mode=Mode.TEST if is_order else None,
        reason=reason,
        detail="k",
        attempt_count=1,
        raw_envelope=seal(raw),
        is_order=is_order,
        fingerprint=fingerprint,
        api_version=API_VERSION,
        accepted_at=ACCEPTED_AT if is_order else None,
    )
