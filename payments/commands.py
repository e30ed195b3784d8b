"""Commands: what crosses the queue from a gateway to the partition that owns the order."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from payments.mode import Mode


class PaymentCommand(NamedTuple):
    """One payment order as a gateway accepted it. Sellers and fees are snapshots of that moment."""

    order_uuid: UUID
    idempotency_key: UUID
    merchant_no: int
    merchant_id: str
    mode: Mode
    seller_no: int
    amount_minor: int
    currency: str
    fee_minor: int
    """Our fee, computed from the seller's schedule at acceptance; 0 <= fee <= amount."""
    payment_method: str
    """The PSP's token; personal data, never stored in the books."""
    description: str | None
    buyer_json: str | None
    """Canonical JSON text of the buyer object, or None."""
    metadata_json: str | None
    """Canonical JSON text of the metadata object, or None for none."""
    fingerprint: bytes
    accepted_at: datetime
    api_version: str
    reply_to: str
    """The gateway's reply channel; empty when nobody listens."""
