"""What `tally psp-events` shows of an event."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from ops.commands.psp_events import document, payment_text
from payments.attempts import ResultClass
from storage.psp_events import OddEvent, OddState

KEY = UUID(int=5)


def _event(payment_id: UUID | None, merchant_id: str | None) -> OddEvent:
    return OddEvent(
        state=OddState.CONTRADICTS,
        psp="psp_1",
        event_id="evt_1",
        order_uuid=UUID(int=9),
        payment_id=payment_id,
        merchant_id=merchant_id,
        partition_index=3,
        attempt_no=1,
        result=int(ResultClass.APPROVED),
        reference=None,
        captured_minor=500,
        currency="USD",
        detail="",
        accepted_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("event", "shown", "payment"),
    [
        (_event(KEY, "mrc_a"), str(KEY), str(KEY)),
        (_event(None, None), "unmatched", None),
    ],
)
def test_an_event_names_the_payment_that_can_be_shown(
    event: OddEvent, shown: str, payment: str | None
) -> None:
    """The id is the one `tally payments show` takes; an event without an order says so."""
    assert payment_text(event) == shown
    assert document(event)["payment"] == payment
    assert document(event)["merchant"] == event.merchant_id
