"""From the domain's values to the rows that a flush writes.

Rows are made by ``__new__``: a class that is called packs the names into a dictionary first, and takes
twice as long (0.7 against 0.35 us a row).
"""

from __future__ import annotations

from datetime import datetime

from payments.attempts import Attempt
from payments.commands import OperationCommand, PaymentCommand
from payments.decided import AttemptPlan
from payments.lifecycle import PaymentState
from payments.next_step import Ended
from payments.open_order import OpenOrder
from payments.rows import (
    AttemptRow,
    OrderRow,
    OutcomeRow,
    ProgressRow,
    RefusedRequestRow,
)


def order_row(partition_index: int, order_no: int, command: PaymentCommand) -> OrderRow:
    """The order as it was accepted; never changed afterwards."""
    return OrderRow.__new__(
        OrderRow,
        partition_index=partition_index,
        order_no=order_no,
        order_uuid=command.order_uuid,
        idempotency_key=command.idempotency_key,
        merchant_no=command.merchant_no,
        mode=command.mode,
        seller_no=command.seller_no,
        amount_minor=command.amount_minor,
        currency=command.currency,
        fee_minor=command.fee_minor,
        fingerprint=command.fingerprint,
        metadata_json=command.metadata_json,
        api_version=command.api_version,
        accepted_at=command.accepted_at,
        captures_manually=command.captures_manually,
    )


def refused_row(
    partition_index: int, command: PaymentCommand | OperationCommand
) -> RefusedRequestRow:
    """A request that came late, under a key that another body had taken."""
    return RefusedRequestRow(
        partition_index=partition_index,
        order_uuid=(
            command.operation_uuid if isinstance(command, OperationCommand) else command.order_uuid
        ),
        fingerprint=command.fingerprint,
        accepted_at=command.accepted_at,
    )


def attempt_of(plan: AttemptPlan, attempt_no: int, epoch: int, now: datetime) -> Attempt:
    """A new attempt, of which nothing has left yet. ``now`` is the ledger's time."""
    return Attempt.__new__(
        Attempt,
        attempt_no=attempt_no,
        psp=plan.psp,
        psp_account=plan.psp_account,
        psp_key=plan.psp_key,
        request=plan.request,
        epoch=epoch,
        created_at=now,
        is_tainted=False,
    )


def attempt_row(partition_index: int, order_no: int, attempt: Attempt) -> AttemptRow:
    """The attempt without its request, which is personal data."""
    return AttemptRow.__new__(
        AttemptRow,
        partition_index=partition_index,
        order_no=order_no,
        attempt_no=attempt.attempt_no,
        psp=attempt.psp,
        psp_account=attempt.psp_account,
        psp_key=attempt.psp_key,
        epoch=attempt.epoch,
    )


def progress_row(partition_index: int, order: OpenOrder) -> ProgressRow:
    """Where an open order stands."""
    return ProgressRow.__new__(
        ProgressRow,
        partition_index=partition_index,
        order_no=order.order_no,
        status=order.status,
        is_outcome_known=order.is_outcome_known,
        attempt_no=order.attempt.attempt_no,
        try_count=order.attempt.try_count,
        psp_reference=order.psp_reference,
        next_action_url=order.next_action_url,
        action_expires_at=order.action_expires_at,
        next_retry_at=order.next_retry_at,
        parked_reason=order.parked,
    )


def outcome_row(
    partition_index: int,
    batch_seq: int,
    order: OpenOrder,
    status: PaymentState,
    ended: Ended,
    fee_minor: int,
) -> OutcomeRow:
    """How the order ended; ``order`` has its last event counted."""
    return OutcomeRow.__new__(
        OutcomeRow,
        partition_index=partition_index,
        order_no=order.order_no,
        batch_seq=batch_seq,
        status=status,
        amount_captured_minor=ended.captured_minor,
        fee_minor=fee_minor,
        currency=order.command.currency,
        attempt_no=order.attempt.attempt_no,
        psp=order.attempt.psp,
        psp_reference=ended.psp_reference,
        failure_code=ended.failure_code,
        decline_code=ended.decline_code,
        failure_message=ended.failure_message,
        effective_at=ended.effective_at,
        event_sequence=order.event_sequence,
    )
