"""Disputes over HTTP: listed, filtered and shown; and nobody sees another's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from payments.disputes import DisputeState
from payments.mode import Mode
from tests.unit.gateway.disputed import keep_dispute
from tests.unit.gateway.stack import GatewayStack


@pytest.fixture
async def stack() -> AsyncIterator[GatewayStack]:
    async with GatewayStack() as running:
        yield running


async def test_disputes_are_listed_and_shown(stack: GatewayStack) -> None:
    """Newest first, in pages both ways, of one payment, in one state; and one by its id."""
    payment, other = uuid4(), uuid4()
    first, second = (
        keep_dispute(stack, payment, 1),
        keep_dispute(stack, payment, 2, DisputeState.LOST),
    )
    third = keep_dispute(stack, other, 3)

    async def listed(query: str) -> tuple[list[str], bool]:
        answer = await stack.get(f"/v1/disputes{query}")
        assert answer.status == 200, answer.body
        return [each["id"] for each in answer.json["data"]], answer.json["has_more"]

    assert await listed("") == ([third, second, first], False)
    assert await listed("?limit=1") == ([third], True)
    assert await listed(f"?limit=1&starting_after={third}") == ([second], True)
    assert await listed(f"?ending_before={first}") == ([third, second], False)
    assert await listed(f"?payment={payment}") == ([second, first], False)
    assert await listed("?status=opened") == ([third, first], False)
    assert await listed(f"?payment={payment}&status=won") == ([], False)
    shown = await stack.get(f"/v1/disputes/{second}")
    assert shown.json == {
        "id": second,
        "object": "dispute",
        "payment": str(payment),
        "status": "lost",
        "amount": 500,
        "currency": "USD",
        "psp": "simulator",
        "psp_reference": "dp_of_bank_2",
        "created_at": "2026-11-01T12:00:02.000Z",
    }


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("status=pending", "query:status"),
        ("payment=dp_b_b", "query:payment"),
        ("starting_after=rf_b_b", "query:starting_after"),
        ("starting_after=dp_b_j", "query:starting_after"),
        ("ending_before=dp_b_bc", "query:ending_before"),
        ("ending_before=dp_b_c&starting_after=dp_b_c", "query:ending_before"),
        ("limit=0", "query:limit"),
        ("state=won", "query:state"),
    ],
)
async def test_what_a_list_can_not_be_asked_is_refused(
    stack: GatewayStack, query: str, param: str
) -> None:
    """Each refusal names the parameter; a cursor has to be a dispute that there is."""
    answer = await stack.get(f"/v1/disputes?{query}")
    assert answer.status == 400
    assert answer.code in ("parameter_invalid", "parameter_unknown")
    assert answer.json["param"] == param


async def test_nobody_sees_anothers_dispute(stack: GatewayStack) -> None:
    """Neither with a key of the other mode, nor under an id of another form."""
    known = keep_dispute(stack, uuid4(), 1)
    for wrong in ("dp_b_j", f"{known}x", "rf_b_c"):
        assert (await stack.get(f"/v1/disputes/{wrong}")).code == "dispute_not_found"
    live = stack.issue_key(mode=Mode.LIVE)
    assert (await stack.get(f"/v1/disputes/{known}", key=live)).code == "dispute_not_found"
    assert (await stack.get("/v1/disputes", key=live)).json["data"] == []


async def test_while_the_books_are_away_nothing_is_told(stack: GatewayStack) -> None:
    """503, and none is said not to be there."""
    stack.disputes.is_available = False
    for path in ("/v1/disputes", "/v1/disputes/dp_b_c"):
        assert (await stack.get(path)).code == "store_unavailable"
