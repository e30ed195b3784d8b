"""`tally trigger`: which order brings about which event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest

from ops.api_client import ApiAnswer, ApiClient
from ops.triggers import TRIGGERS, pull
from payments.event_types import EVENT_TYPES
from payments.lifecycle import PaymentState
from psp.simulator.behaviour import TOKEN_PREFIX


class _Gateway:
    """Remembers the order, and answers as it was told."""

    def __init__(
        self, status: int, body: Mapping[str, object], moved: ApiAnswer | None = None
    ) -> None:
        self._answer = ApiAnswer(status=status, headers={}, body=body)
        self._moved = moved or self._answer
        self.orders: list[Mapping[str, object]] = []
        self.keys: list[str] = []
        self.moved: list[tuple[str, str]] = []
        self.bodies: list[Mapping[str, object]] = []

    async def pay(self, order: Mapping[str, object], *, idempotency_key: str) -> ApiAnswer:
        self.orders.append(order)
        self.keys.append(idempotency_key)
        return self._answer

    async def move(
        self, path: str, body: Mapping[str, object], *, idempotency_key: str
    ) -> ApiAnswer:
        self.moved.append((path, idempotency_key))
        self.bodies.append(body)
        return self._moved

    async def get(self, path: str) -> ApiAnswer:
        return ApiAnswer(status=200, headers={}, body={"status": "canceled", "path": path})


def test_triggers_are_events_and_tokens_that_there_are() -> None:
    """Each type is one that there is, and each token one that the simulator knows by its beginning."""
    assert set(TRIGGERS) <= {each.wire for each in EVENT_TYPES.values()}
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


async def test_what_follows_an_order_is_under_a_key_of_its_own() -> None:
    """A trigger that needs two requests makes both, and tells how the payment stands in the end."""
    gateway = _Gateway(201, {"status": "requires_capture"})
    triggered = await pull(cast("ApiClient", gateway), TRIGGERS["payment_order.canceled"])
    assert gateway.orders[0]["capture"] == "manual"
    ((path, key),) = gateway.moved
    assert path == f"/v1/payments/{gateway.keys[0]}/void"
    assert key != gateway.keys[0]
    assert triggered.status == "canceled"


async def test_nothing_follows_an_order_that_was_refused() -> None:
    """A refusal is told as it is."""
    gateway = _Gateway(503, {"status": 503, "code": "store_unavailable"})
    triggered = await pull(cast("ApiClient", gateway), TRIGGERS["payment_order.canceled"])
    assert gateway.moved == []
    assert triggered.status is None


async def test_what_has_not_ended_is_told_as_it_stands() -> None:
    """A refund that runs has sent no event yet, although its payment stands as it will afterwards."""
    running = ApiAnswer(status=202, headers={}, body={"status": "processing"})
    gateway = _Gateway(201, {"status": "succeeded"}, running)
    trigger = TRIGGERS["refund.succeeded"]
    triggered = await pull(cast("ApiClient", gateway), trigger)
    assert gateway.bodies == [trigger.then_members]
    assert triggered.status == "processing"
