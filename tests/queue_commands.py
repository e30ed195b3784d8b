"""Commands for queue tests, complete and valid unless a test says otherwise."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

from payments.commands import PaymentCommand
from payments.fingerprint import FINGERPRINT_BYTES, VERSION
from payments.identity import order_uuid
from payments.mode import Mode
from storage.envelope import queue_entry
from storage.queue_ports import QueueEntry

MERCHANT_ID = "mrc_bcdfghjkmnpqrstvbcdf"
ACCEPTED_AT = datetime(2026, 11, 23, 12, 0, 0, 123_000, tzinfo=UTC)


def a_command(key: UUID | None = None, *, amount_minor: int = 1999) -> PaymentCommand:
    """A payment order under its key, or under a new one."""
    key = key or uuid4()
    return PaymentCommand(
        order_uuid=order_uuid(MERCHANT_ID, Mode.TEST, key),
        idempotency_key=key,
        merchant_no=7,
        merchant_id=MERCHANT_ID,
        mode=Mode.TEST,
        seller_no=11,
        amount_minor=amount_minor,
        currency="USD",
        fee_minor=min(88, amount_minor),
        payment_method="tok_approve",
        description="order 1001",
        buyer_json='{"email":"a@example.org","reference":"b-1"}',
        metadata_json='{"cart":"c-9"}',
        fingerprint=bytes([VERSION]) + amount_minor.to_bytes(FINGERPRINT_BYTES - 1, "big"),
        accepted_at=ACCEPTED_AT,
        api_version="2026-11-01",
        reply_to="reply:gateway-1",
    )


def an_entry(partition_index: int = 0, key: UUID | None = None, **changes: int) -> QueueEntry:
    """A new order's entry for one partition."""
    return queue_entry(a_command(key, **changes), partition_index)


def with_unreadable_payload(entry: QueueEntry) -> QueueEntry:
    """The same entry with a payload that nobody can decode."""
    return entry._replace(fields=(*entry.fields[:-1], b"\xc1"))
