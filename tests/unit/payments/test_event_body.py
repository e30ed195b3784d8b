"""How an event is shown: the same bytes for ever."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from payments.answer import API_VERSION, EventView, event_body


def test_an_event_is_shown_in_its_envelope() -> None:
    """The members stand in a fixed order, and the object as it is, byte for byte."""
    body = event_body(
        EventView(
            event_id="evt_d_c_d",
            type="payment_order.succeeded",
            created_at=datetime(2026, 11, 1, 12, 0, 0, 150_999, tzinfo=UTC),
            object_kind="payment_order",
            object_id="6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11",
            sequence=2,
            data=b'{"b":1,"a":2}',
            api_version=API_VERSION,
        )
    )
    assert body == (
        b'{"id":"evt_d_c_d","type":"payment_order.succeeded",'
        b'"created_at":"2026-11-01T12:00:00.150Z","object":"payment_order",'
        b'"object_id":"6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11","sequence":2,'
        b'"data":{"b":1,"a":2},"api_version":"2026-11-01"}'
    )
    assert json.loads(body)["sequence"] == 2
