"""Disputes in the books of a gateway on fakes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from payments.answer import API_VERSION
from payments.dispute_answer import DisputeView, dispute_id
from payments.disputes import DisputeState
from payments.identity import order_uuid
from payments.mode import Mode
from payments.partitioning import partition_index
from storage.disputes import StoredDispute
from tests.unit.gateway.stack import MERCHANT_ID, PARTITION_COUNT, GatewayStack

T0 = datetime(2026, 11, 1, 12, tzinfo=UTC)


def keep_dispute(
    stack: GatewayStack, payment: UUID, number: int, state: DisputeState = DisputeState.OPENED
) -> str:
    """Put the ``number``-th dispute into the books, a second after the one before; return its id."""
    order = order_uuid(MERCHANT_ID, Mode.TEST, payment)
    view = DisputeView(
        dispute_id=dispute_id(partition_index(order, PARTITION_COUNT), number),
        payment_key=payment,
        state=state,
        amount_minor=500,
        currency="USD",
        psp="simulator",
        psp_reference=f"dp_of_bank_{number}",
        created_at=T0 + timedelta(seconds=number),
        api_version=API_VERSION,
    )
    stack.disputes.put(order, StoredDispute(stack.merchant.merchant_no, Mode.TEST, view))
    return view.dispute_id
