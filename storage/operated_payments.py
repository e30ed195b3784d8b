"""Payments that operations change, and open operations, as owners read them from the books."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from payments.attempts import Attempt
from payments.defects import InvariantViolation
from payments.disputes import Dispute, DisputeState
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.operation_kinds import OperationKind
from payments.operations import Operation
from payments.splits import Split, SplitStanding
from payments.standing import PaymentStanding
from payments.state import OpenOrderRecord
from storage.ports import OperatedPayments, OperationKey

Row = Mapping[str, Any] | asyncpg.Record


def asked(
    operations: Sequence[OperationKey], payments: Sequence[tuple[int, int]]
) -> tuple[list[int], list[UUID | None], list[UUID | None], list[int | None]]:
    """Return the arguments of the statement ``operated_payments``."""
    no_uuids: list[UUID | None] = [None] * len(payments)
    no_numbers: list[int | None] = [None] * len(operations)
    return (
        [key.partition_index for key in operations] + [index for index, _ in payments],
        [*(key.operation_uuid for key in operations), *no_uuids],
        [*(key.payment_uuid for key in operations), *no_uuids],
        [*no_numbers, *(payment_no for _, payment_no in payments)],
    )


def operated_payments(rows: Sequence[Row]) -> OperatedPayments:
    """Return what the statement found."""
    return OperatedPayments(
        {
            row["operation_uuid"]: row["known_fingerprint"]
            for row in rows
            if row["known_fingerprint"] is not None
        },
        {(row["partition_index"], row["order_no"]): payment_standing(row) for row in rows},
    )


def payment_standing(row: Row) -> PaymentStanding:
    """Return one payment. Raises InvariantViolation for one that neither runs nor has ended."""
    if row["status"] is None:
        raise InvariantViolation(f"payment {row['order_no']} neither runs nor has ended")
    return PaymentStanding(
        order_no=row["order_no"],
        order_uuid=row["order_uuid"],
        idempotency_key=row["idempotency_key"],
        merchant_no=row["merchant_no"],
        mode=Mode(row["mode"]),
        seller_no=row["seller_no"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        fee_minor=row["fee_minor"],
        captures_manually=row["captures_manually"],
        psp=row["psp"] or None,
        psp_account=row["psp_account"],
        psp_reference=row["psp_reference"],
        status=PaymentState(row["status"]),
        captured_minor=row["captured_minor"],
        refunded_minor=row["refunded_minor"],
        fee_taken_minor=row["fee_taken_minor"],
        disputed_minor=row["disputed_minor"],
        event_sequence=row["event_sequence"],
        operation_count=row["operation_count"],
        parked_refund_minor=int(row["parked_refund_minor"] or 0),
        parked_capture_minor=int(row["parked_capture_minor"] or 0),
        is_turn_parked=bool(row["is_turn_parked"]),
        disputes=tuple(
            Dispute(
                order_no,
                reference,
                DisputeState(status),
                amount_minor,
                event_sequence,
                tuple(shares_minor),
            )
            for order_no, reference, status, amount_minor, event_sequence, shares_minor in json.loads(
                row["disputes"] or "[]"
            )
        ),
        splits=tuple(
            SplitStanding(Split(*numbers[:3]), *numbers[3:])
            for numbers in json.loads(row["splits"] or "[]")
        ),
    )


def open_operation_record(row: Row, payment: PaymentStanding) -> OpenOrderRecord:
    """Return one open operation. Raises InvariantViolation for one whose attempt or events are missing."""
    operation = Operation(
        operation_uuid=row["operation_uuid"],
        kind=OperationKind(row["kind"]),
        payment_no=row["payment_no"],
        idempotency_key=row["idempotency_key"],
        merchant_no=row["merchant_no"],
        mode=Mode(row["mode"]),
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        psp=payment.psp or "",
        psp_account=payment.psp_account,
        charge_reference=payment.psp_reference or "",
        fingerprint=row["fingerprint"],
        accepted_at=row["accepted_at"],
        api_version=row["api_version"],
        reply_to="",
    )
    if row["event_sequence"] is None:
        raise InvariantViolation(f"open operation {row['order_no']} has no events")
    return OpenOrderRecord(
        order_no=row["order_no"],
        command=operation,
        attempt=_attempt(row, operation),
        status=row["status"],
        is_outcome_known=row["is_outcome_known"],
        psp_reference=row["psp_reference"],
        next_action_url=None,
        action_expires_at=None,
        next_retry_at=row["next_retry_at"],
        event_sequence=row["event_sequence"],
        tried_since=row["tried_since"] or row["taken_in_at"],
        parked_reason=row["parked_reason"],
        has_timer=row["has_timer"],
    )


def _attempt(row: Row, operation: Operation) -> Attempt:
    if row["status"] == PaymentState.CREATED:
        # It waits for its turn: nothing was ever sent for it.
        return Attempt(
            attempt_no=0,
            psp=operation.psp,
            psp_account=operation.psp_account,
            psp_key="",
            request=b"",
            epoch=0,
            created_at=row["taken_in_at"],
            is_tainted=True,
        )
    if row["psp_key"] is None:
        raise InvariantViolation(f"open operation {row['order_no']} lacks its attempt")
    inherited = Attempt.inherited(
        attempt_no=row["attempt_no"],
        psp=row["psp"],
        psp_account=row["psp_account"],
        psp_key=row["psp_key"],
        request=b"",
        epoch=row["epoch"],
        created_at=row["created_at"],
    )
    return inherited._replace(try_count=row["try_count"])
