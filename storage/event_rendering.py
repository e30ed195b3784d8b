"""Events from rows: each with its object as it stood then, rendered by the code that answers requests.

Only columns that never change any more are used. So an event has the same bytes in the feed, in the first
try of a webhook, and in one that is sent again years later; what it does not tell is its object's present,
which a GET shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import asyncpg

from payments.answer import EventView, OrderView, event_body, payment_body
from payments.dispute_answer import DisputeView, dispute_body, dispute_id
from payments.disputes import DisputeEvent, DisputeState
from payments.event_types import DISPUTE, PAYMENT_ORDER, event_type
from payments.feed import EventKey, event_id
from payments.lifecycle import PaymentEvent, PaymentState
from payments.operation_answer import operation_body
from payments.operation_kinds import OperationKind
from storage.stored_operations import stored_operation
from storage.stored_orders import ended_view, open_view

# How a payment stands after an event.
_STATES: Mapping[int, PaymentState] = {
    PaymentEvent.CREATED: PaymentState.PROCESSING,
    PaymentEvent.ACTION_REQUIRED: PaymentState.REQUIRES_ACTION,
    PaymentEvent.RESUMED: PaymentState.PROCESSING,
    PaymentEvent.AUTHORIZED: PaymentState.REQUIRES_CAPTURE,
    PaymentEvent.PARTIALLY_CAPTURED: PaymentState.PARTIALLY_CAPTURED,
    PaymentEvent.SUCCEEDED: PaymentState.SUCCEEDED,
    PaymentEvent.DECLINED: PaymentState.FAILED,
    PaymentEvent.CANCELED: PaymentState.CANCELED,
    PaymentEvent.EXPIRED: PaymentState.EXPIRED,
}


def rendered_event(row: asyncpg.Record) -> bytes:
    """Return the event's bytes. Raises InvariantViolation for a type that this code does not know."""
    of_type = event_type(row["type"])
    object_id, data = _RENDERERS[of_type.object_kind](row)
    return event_body(
        EventView(
            event_id=event_id(EventKey(row["partition_index"], row["order_no"], row["sequence"])),
            type=of_type.wire,
            created_at=row["created_at"],
            object_kind=of_type.object_kind,
            object_id=object_id,
            sequence=row["sequence"],
            data=data,
            api_version=row["api_version"],
        )
    )


def _payment(row: asyncpg.Record) -> tuple[str, bytes]:
    """What is known for ever: of one that went on, not its next action, nor when it is tried again."""
    if row["ended_status"] is None:
        view = open_view(row)._replace(status=_STATES[row["type"]].wire)
    elif row["is_after_end"]:
        view = _operated_view(row)
    else:
        view = ended_view(row)
    return str(row["idempotency_key"]), payment_body(view)


def _operated_view(row: asyncpg.Record) -> OrderView:
    """How a payment stood after something was done to it: its frozen columns, and what was moved since."""
    frozen = ended_view(row)
    captured_minor = frozen.amount_captured_minor + row["captured_since_minor"]
    # The fee of an authorization is taken as it is captured.
    fee_before_minor = row["ended_fee_minor"] if frozen.amount_captured_minor else 0
    fee_taken_minor = fee_before_minor + row["fee_since_minor"]
    return frozen._replace(
        status=_STATES[row["type"]].wire,
        amount_captured_minor=captured_minor,
        amount_refunded_minor=row["refunded_since_minor"],
        fee_minor=fee_taken_minor if captured_minor else frozen.fee_minor,
        ledger_updated_at=row["created_at"],
        wallet_updated_at=row["created_at"] if captured_minor else None,
    )


def _operation(row: asyncpg.Record) -> tuple[str, bytes]:
    view = stored_operation(row).view
    return view.operation_id, operation_body(view)


def _dispute(row: asyncpg.Record) -> tuple[str, bytes]:
    view = DisputeView(
        dispute_id=dispute_id(row["partition_index"], row["order_no"]),
        payment_key=row["payment_key"],
        state=DisputeState(
            row["type"] - DisputeEvent.of(DisputeState.OPENED) + DisputeState.OPENED
        ),
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        psp=row["psp"],
        psp_reference=row["reference"],
        created_at=row["opened_at"],
        api_version=row["api_version"],
    )
    return view.dispute_id, dispute_body(view)


_RENDERERS: Mapping[str, Callable[[asyncpg.Record], tuple[str, bytes]]] = {
    PAYMENT_ORDER: _payment,
    **{kind.wire: _operation for kind in OperationKind},
    DISPUTE: _dispute,
}
"""By kind of object: its id in the API, and its JSON."""
