"""`tally trigger`: which order brings about which event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest

from ops.api_client import ApiAnswer, ApiClient
from ops.triggers import TRIGGERS, pull
from payments.lifecycle import PaymentEvent, PaymentState
from psp.simulator.behaviour import TOKEN_PREFIX


class _Gateway:
    """Remembers the order, and answers as it was told."""

    def __init__(self, status: int, body: Mapping[str, object]) -> None:
        self._answer = ApiAnswer(status=status, headers={}, body=body)
        self.orders: list[Mapping[str, object]] = []
        self.keys: list[str] = []

    async def pay(self, order: Mapping[str, object], *, idempotency_key: str) -> ApiAnswer:
        self.orders.append(order)
        self.keys.append(idempotency_key)
        return self._answer


def test_triggers_are_events_and_tokens_that_there_are() -> None:
    """Each type is one that a payment has, and each token one that the simulator knows by its beginning."""
    assert set(TRIGGERS) <= {event.wire for event in PaymentEvent}
    assert all(each.token.startswith(TOKEN_PREFIX) for each in TRIGGERS.values())
    assert all(each.what for each in TRIGGERS.values())


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (201, {"status": "succeeded"}, "succeeded"),
        (202, {"status": "processing"}, "processing"),
        (402, {"status": 402, "payment": {"status": "failed"}}, "failed"),
        (503, {"status": 503, "code": "store_unavailable"}, None),
    ],
)
async def test_a_trigger_tells_how_its_payment_stands(
    status: int, body: Mapping[str, object], told: str | None
) -> None:
    """The order carries the token under a new key each time; a refusal has no payment to tell of."""
    gateway = _Gateway(status, body)
    trigger = TRIGGERS["payment_order.succeeded"]
    assert trigger.expects is PaymentState.SUCCEEDED
    for _ in range(2):
        triggered = await pull(cast("ApiClient", gateway), trigger)
        assert triggered.status == told
        assert triggered.payment_id == gateway.keys[-1]
    assert gateway.orders[0]["payment_method"] == trigger.token
    assert gateway.keys[0] != gateway.keys[1]
