"""From rows to operations as gateways show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg

from payments.defects import InvariantViolation
from payments.identity import operation_id
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.operation_answer import ID_PREFIXES, OperationView
from payments.operation_kinds import OperationKind
from storage.read_ports import StoredOperation


def stored_operation(row: Mapping[str, Any] | asyncpg.Record) -> StoredOperation:
    """Return one row of the statement. Raises InvariantViolation for one that neither runs nor has ended."""
    is_ended = row["ended_status"] is not None
    status = row["ended_status"] if is_ended else row["open_status"]
    if status is None:
        raise InvariantViolation(f"operation {row['order_no']} neither runs nor has ended")
    kind = OperationKind(row["kind"])
    partition_index, operation_uuid = row["partition_index"], row["operation_uuid"]
    return StoredOperation(
        order_uuid=operation_uuid,
        partition_index=partition_index,
        order_no=row["order_no"],
        merchant_no=row["merchant_no"],
        mode=Mode(row["mode"]),
        fingerprint=row["fingerprint"],
        view=OperationView(
            operation_id=operation_id(ID_PREFIXES[kind], partition_index, operation_uuid),
            kind=kind,
            payment_key=row["payment_key"],
            status=PaymentState(status),
            is_outcome_known=is_ended or row["is_outcome_known"],
            amount_minor=row["amount_minor"],
            currency=row["currency"],
            failure_code=row["failure_code"],
            decline_code=row["decline_code"],
            failure_message=row["failure_message"],
            next_retry_at=row["next_retry_at"],
            created_at=row["accepted_at"],
            effective_at=row["effective_at"],
            ledger_updated_at=row["recorded_at"],
            api_version=row["api_version"],
        ),
        is_frozen=is_ended,
    )
