"""What a flush writes of operations on payments, row by row (see payments.rows)."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class OperationRow(NamedTuple):
    """One capture, void, refund or expiry at intake. Never changed afterwards.

    It has a number of its own among the orders of its partition: attempts, transfers, events and its
    outcome go by that, as an order's do.
    """

    partition_index: int
    order_no: int
    operation_uuid: UUID
    kind: int
    payment_no: int
    """The order_no of its payment."""
    idempotency_key: UUID
    merchant_no: int
    mode: int
    amount_minor: int
    """Of a void or expiry: what was left of the authorization at intake; of a refused operation perhaps 0."""
    currency: str
    fingerprint: bytes
    api_version: str
    accepted_at: datetime
    attempt_no: int
    """How it begins: 1 for its first attempt, 0 while it waits for its turn."""
    is_open: bool
    """False: the books refused it at once, and its outcome is in the same flush."""


class StandingRow(NamedTuple):
    """How a payment stands after its answer froze: replaces the row before."""

    partition_index: int
    order_no: int
    status: int
    captured_minor: int
    refunded_minor: int
    fee_taken_minor: int
    disputed_minor: int
    """Held because of disputes that have not ended, and what lost ones took."""
    event_sequence: int
    operation_count: int
    is_held: bool
    """Whether something of it is authorized and not captured: then it has a timer, and else none."""
    expires_in_ms: int | None
    """When that timer comes, from the database's present; None: it stays as it is."""
