"""Checkouts through gateways that die in the middle of them: what was lost is brought in, nothing is charged twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from loadtest.idempotency.checkouts import CHECKOUTS
from loadtest.idempotency.operations import OPERATIONS
from loadtest.idempotency.psp_record import PspRecord
from loadtest.idempotency.rows import Deployment
from loadtest.idempotency.runner import Verdict, try_rows
from loadtest.idempotency.storefront import Storefront
from payments.checkout_names import checkout_id, checkout_uuid
from payments.mode import Mode
from tests.rig import Rig
from tests.servers import SharedServers
from tests.shop import successful_charges

ANSWER_S_MAX = 30.0


@pytest.fixture(scope="module")
def rig(servers: SharedServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A host for the whole module; each test has gateways of its own."""
    with Rig(servers, tmp_path_factory.mktemp("checkouts")) as rig:
        rig.start_host("host-0")
        asyncio.run(rig.until_owned_by("host-0"))
        yield rig


async def ask(rig: Rig, method: str, path: str, **request: Any) -> tuple[int, dict[str, Any]]:
    """Return status and body; status 0 when the connection gave no answer."""
    headers = {"Authorization": f"Bearer {rig.api_key}", **request.pop("headers", {})}
    timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        try:
            async with session.request(
                method, rig.url + path, headers=headers, **request
            ) as answer:
                return answer.status, await answer.json(content_type=None)
        except aiohttp.ClientError:
            return 0, {}


async def post(
    rig: Rig, key: UUID, orders: list[UUID], wait_s: int = 0
) -> tuple[int, dict[str, Any]]:
    body = {
        "orders": [{"id": str(order), "amount": 1_999, "currency": "USD"} for order in orders],
        "payment_method": "tok_approve",
    }
    headers = {"Idempotency-Key": str(key), "Prefer": f"wait={wait_s}"}
    return await ask(rig, "POST", "/v1/checkouts", json=body, headers=headers)


@pytest.mark.parametrize(
    ("crash_at", "states"),
    [
        # The record is appended and its key taken; no order was.
        ("after_append:1", {"created"}),
        # The record is proven; no order was appended, or with two lanes those of one.
        ("before_append:2", {"created"}),
        # Orders are appended, and run; nobody was told.
        ("after_append:2", {"created", "processing", "succeeded"}),
    ],
)
async def test_a_gateway_that_dies_leaves_a_checkout_that_can_be_repeated(
    rig: Rig, crash_at: str, states: set[str]
) -> None:
    """The same request brings in every order; each is charged once, whenever the gateway died."""
    key, orders = uuid4(), [uuid4() for _ in range(3)]
    dying = rig.start_gateway(environment={"TALLY_CRASH_AT": crash_at})
    await rig.until_ready()
    status, _ = await post(rig, key, orders)
    assert status == 0
    assert dying.wait(10) < 0
    rig.start_gateway()
    await rig.until_ready()
    name = checkout_id(checkout_uuid(rig.merchant_id, Mode.TEST, key))
    status, shown = await ask(rig, "GET", f"/v1/checkouts/{name}")
    assert status == 200
    assert {order["status"] for order in shown["orders"]} <= states
    status, paid = await post(rig, key, orders, wait_s=20)
    assert (status, paid["is_payment_done"]) == (201, True)
    charged = await successful_charges(rig.simulator.url, rig.merchant_id)
    assert [charged[str(order)] for order in orders] == [1, 1, 1]
    rig.processes[-1].kill()
    rig.processes[-1].wait(10)


async def test_checkouts_and_operations_keep_the_promises_of_the_conformance_kit(rig: Rig) -> None:
    """Repeats, other bodies, twins and keys of others, with a real queue, real books and a real provider."""
    rig.start_gateway("gateway-0")
    rig.start_gateway("gateway-1")
    await rig.until_ready()
    _, other_key = await rig.create_merchant("Another shop")
    async with (
        Storefront(rig.url, rig.api_key) as shop,
        Storefront(rig.url, other_key) as other_shop,
    ):
        deployment = Deployment(
            shop=shop, other_shop=other_shop, psp_records=[PspRecord(rig.simulator.url)]
        )
        results = await try_rows(
            [*CHECKOUTS.rows, *OPERATIONS.rows],
            deployment,
            seconds_max=90,
            on_result=lambda _: None,
        )
    assert [(result.row.name, result.reason) for result in results if result.reason] == []
    assert {result.verdict for result in results} == {Verdict.PASSED}
    (counted,) = await rig.fetch(
        "SELECT count(*) AS n FROM checkout_order AS placed JOIN payment_order AS o"
        " USING (order_uuid) WHERE o.fingerprint = placed.fingerprint"
        " AND (o.amount_minor, o.seller_no) = (placed.amount_minor, placed.seller_no)"
    )
    assert counted["n"] > 0
