"""Orders whose message is a dead letter, as the read side shows them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from payments.answer import OrderView
from payments.lifecycle import PaymentState
from payments.mode import Mode
from storage.read_ports import StoredOrder

# Of a discarded one: docs/problems.md tells storefronts what it means.
DISCARDED_CODE = "order_discarded"

_NO_KEY = UUID(int=0)


def set_aside_order(
    order_uuid: UUID,
    partition_index: int,
    *,
    merchant_no: int,
    mode: Mode,
    fingerprint: bytes,
    accepted_at: datetime,
    discarded_at: datetime | None,
    api_version: str,
) -> StoredOrder:
    """Return such an order: processing, or failed once an operator has discarded it."""
    is_discarded = discarded_at is not None
    status = PaymentState.FAILED if is_discarded else PaymentState.PROCESSING
    view = OrderView(
        idempotency_key=_NO_KEY,
        status=status.wire,
        is_outcome_known=True,
        amount_minor=None,
        amount_captured_minor=0,
        amount_refunded_minor=0,
        currency=None,
        seller_id=None,
        fee_minor=None,
        psp=None,
        psp_reference=None,
        attempt_count=0,
        failure_code=DISCARDED_CODE if is_discarded else None,
        decline_code=None,
        failure_message=None,
        next_action=None,
        next_retry_at=None,
        metadata_json=None,
        capture="automatic",
        created_at=accepted_at,
        effective_at=None,
        ledger_updated_at=discarded_at,
        wallet_updated_at=None,
        api_version=api_version,
    )
    return StoredOrder(
        order_uuid=order_uuid,
        partition_index=partition_index,
        order_no=0,
        merchant_no=merchant_no,
        mode=mode,
        fingerprint=fingerprint,
        view=view,
        is_frozen=is_discarded,
        is_set_aside=True,
    )


def under_key(order: StoredOrder, idempotency_key: UUID) -> OrderView:
    """Return the order's view with the key that led to it: one that was set aside doesn't know it."""
    if not order.is_set_aside:
        return order.view
    return order.view._replace(idempotency_key=idempotency_key)
