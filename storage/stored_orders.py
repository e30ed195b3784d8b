"""Orders from the rows of ``queries.sql``: as they stand, and as they ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

import asyncpg

from payments.answer import CAPTURE_WIRES, OrderView
from payments.defects import InvariantViolation
from payments.fingerprint import canonical_json
from payments.lifecycle import PaymentState
from payments.mode import Mode
from storage.read_ports import (
    StoredOrder,
)
from storage.set_aside_orders import set_aside_order


def stored_order(row: asyncpg.Record) -> StoredOrder:
    """Return an order, one that was set aside too. Raises InvariantViolation for one without a state."""
    if row["is_set_aside"]:
        return set_aside_order(
            row["order_uuid"],
            row["partition_index"],
            merchant_no=row["merchant_no"],
            mode=Mode(row["mode"]),
            fingerprint=row["fingerprint"],
            accepted_at=row["accepted_at"],
            discarded_at=row["recorded_at"],
            api_version=row["api_version"],
        )
    is_ended = row["ended_status"] is not None
    if not is_ended and row["open_status"] is None:
        order = f"order {row['order_no']} of partition {row['partition_index']}"
        raise InvariantViolation(f"{order} neither runs nor has ended")
    view = ended_view(row) if is_ended else open_view(row)
    return StoredOrder(
        order_uuid=row["order_uuid"],
        partition_index=row["partition_index"],
        order_no=row["order_no"],
        merchant_no=row["merchant_no"],
        mode=Mode(row["mode"]),
        fingerprint=row["fingerprint"],
        view=view,
        is_frozen=is_ended,
        present=None if row["present_status"] is None else _present_view(view, row),
        operation_count=row["operation_count"] or 0,
    )


def open_view(row: asyncpg.Record) -> OrderView:
    """Return how an order stands that has not ended: no money of it has reached the books."""
    return OrderView(
        idempotency_key=row["idempotency_key"],
        status=PaymentState(row["open_status"]).wire,
        is_outcome_known=row["is_outcome_known"],
        amount_minor=row["amount_minor"],
        amount_captured_minor=0,
        amount_refunded_minor=0,
        currency=row["currency"],
        seller_id=row["seller_id"],
        fee_minor=row["fee_minor"],
        psp=row["attempt_psp"],
        psp_reference=row["open_psp_reference"],
        attempt_count=row["open_attempt_no"],
        failure_code=None,
        decline_code=None,
        failure_message=None,
        next_action=_next_action(row["next_action_url"], row["action_expires_at"]),
        next_retry_at=row["next_retry_at"],
        metadata_json=_canonical(row["metadata"]),
        capture=CAPTURE_WIRES[row["captures_manually"]],
        created_at=row["accepted_at"],
        effective_at=None,
        ledger_updated_at=None,
        wallet_updated_at=None,
        api_version=row["api_version"],
        splits_json=_canonical(row["splits"]),
    )


def ended_view(row: asyncpg.Record) -> OrderView:
    """Return the columns of the moment the order ended, which never change again."""
    has_moved_money = row["amount_captured_minor"] > 0
    return OrderView(
        idempotency_key=row["idempotency_key"],
        status=PaymentState(row["ended_status"]).wire,
        is_outcome_known=True,
        amount_minor=row["amount_minor"],
        amount_captured_minor=row["amount_captured_minor"],
        amount_refunded_minor=0,
        currency=row["currency"],
        seller_id=row["seller_id"],
        fee_minor=row["ended_fee_minor"],
        psp=row["ended_psp"],
        psp_reference=row["ended_psp_reference"],
        attempt_count=row["ended_attempt_no"],
        failure_code=row["failure_code"],
        decline_code=row["decline_code"],
        failure_message=row["failure_message"],
        next_action=None,
        next_retry_at=None,
        metadata_json=_canonical(row["metadata"]),
        capture=CAPTURE_WIRES[row["captures_manually"]],
        created_at=row["accepted_at"],
        effective_at=row["effective_at"],
        ledger_updated_at=row["recorded_at"],
        wallet_updated_at=row["recorded_at"] if has_moved_money else None,
        api_version=row["api_version"],
        splits_json=_canonical(row["splits"]),
    )


def _present_view(frozen: OrderView, row: asyncpg.Record) -> OrderView:
    """Return how a payment stands that something was done to since its answer froze."""
    captured_minor = row["captured_minor"]
    has_moved_money = captured_minor > 0
    return frozen._replace(
        status=PaymentState(row["present_status"]).wire,
        amount_captured_minor=captured_minor,
        amount_refunded_minor=row["refunded_minor"],
        fee_minor=row["fee_taken_minor"] if has_moved_money else frozen.fee_minor,
        ledger_updated_at=row["updated_at"],
        wallet_updated_at=row["updated_at"] if has_moved_money else None,
    )


def _next_action(url: str | None, expires_at: datetime | None) -> Mapping[str, object] | None:
    """Return what the buyer has to do, as JSON members; the time as RFC 3339 in milliseconds."""
    if url is None:
        return None
    expiry = (
        None if expires_at is None else f"{expires_at.isoformat(timespec='milliseconds')[:-6]}Z"
    )
    return {"type": "redirect", "url": url, "expires_at": expiry}


def _canonical(stored: str | None) -> str | None:
    """Return the canonical text again: jsonb keeps the members, not their order and spaces."""
    return None if stored is None else canonical_json(json.loads(stored))
