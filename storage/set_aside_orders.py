"""Orders and operations whose message is a dead letter, as the read side shows them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from payments.answer import OrderView
from payments.identity import operation_id
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.operation_answer import DISCARDED_CODE, ID_PREFIXES, OperationView
from payments.operation_kinds import OperationKind
from storage.read_ports import StoredOperation, StoredOrder

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


def set_aside_operation(row: Mapping[str, Any] | asyncpg.Record) -> StoredOperation:
    """Return such an operation: processing, or failed once an operator has discarded it."""
    is_discarded = row["recorded_at"] is not None
    view = OperationView(
        operation_id="",
        kind=OperationKind.REFUND,
        payment_key=None,
        status=PaymentState.FAILED if is_discarded else PaymentState.PROCESSING,
        is_outcome_known=True,
        amount_minor=None,
        currency=None,
        failure_code=DISCARDED_CODE if is_discarded else None,
        decline_code=None,
        failure_message=None,
        next_retry_at=None,
        created_at=row["accepted_at"],
        effective_at=None,
        ledger_updated_at=row["recorded_at"],
        api_version=row["api_version"],
    )
    return StoredOperation(
        order_uuid=row["operation_uuid"],
        partition_index=row["partition_index"],
        order_no=0,
        merchant_no=row["merchant_no"],
        mode=Mode(row["mode"]),
        fingerprint=row["fingerprint"],
        view=view,
        is_frozen=is_discarded,
        is_set_aside=True,
    )


def under_operation(
    operation: StoredOperation, kind: OperationKind, payment_key: UUID | None
) -> OperationView:
    """Return the operation's view with what led to it: one that was set aside doesn't know it."""
    if not operation.is_set_aside:
        return operation.view
    return operation.view._replace(
        operation_id=operation_id(
            ID_PREFIXES[kind], operation.partition_index, operation.order_uuid
        ),
        kind=kind,
        payment_key=payment_key,
    )


def under_key(order: StoredOrder, idempotency_key: UUID) -> OrderView:
    """Return the order's view with the key that led to it: one that was set aside doesn't know it."""
    if not order.is_set_aside:
        return order.view
    return order.view._replace(idempotency_key=idempotency_key)
