"""Captures, voids, refunds and disputes on a whole stack, over its API: what it says is what the provider did."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

from tests.acceptance.conftest import StackFactory
from tests.acceptance.running_stack import RunningStack
from tests.shop import Shop, dispute, open_shop, oracle, set_scenario


def test_payments_live_on_after_they_were_answered(stack_factory: StackFactory) -> None:
    """Each operation does once what it says, is refused by the books alone, and is told of; the books verify."""
    stack = stack_factory()
    stack.up("--hosts-without-ray", "--no-demo")
    asyncio.run(live(stack))
    verified = stack.tally("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


async def live(stack: RunningStack) -> None:
    """Every kind of operation, by payments that are captured by hand and one that was captured at once."""
    status = stack.status()
    (psp_url,) = (psp["url"] for psp in status["psps"] if psp["name"] == "simulator")
    await set_scenario(psp_url, webhooks=True)
    api_key = (stack.home / "secrets" / "sandbox_api_key").read_text().strip()
    async with open_shop(status["gateway_url"], api_key) as shop:
        await capture_in_parts(shop)
        await give_back(shop)
        await refund(shop)
        await lose_a_dispute(shop, psp_url)
        await share(shop, psp_url)
    left = {row["order_key"]: row["captured"] - row["refunded"] for row in await oracle(psp_url)}
    assert sorted(left.values()) == [0, 0, 399, 500, 700, 900, 2_299]


async def capture_in_parts(shop: Shop) -> None:
    """An authorization of 1,000 of which 600 and 100 are captured; the rest stays authorized."""
    payment = f"/v1/payments/{await authorize(shop)}"
    first = uuid4()
    captured = await shop.operate(f"{payment}/captures", first, amount=600)
    assert (captured.status, captured.body["status"], captured.body["amount"]) == (
        *(201, "succeeded"),
        600,
    )
    again = await shop.operate(f"{payment}/captures", first, amount=600)
    assert (again.status, again.raw) == (captured.status, captured.raw)
    other = await shop.operate(f"{payment}/captures", first, amount=601)
    assert (other.status, other.body["code"]) == (422, "idempotency_key_reused")
    too_much = await shop.operate(f"{payment}/captures", amount=401)
    assert (too_much.status, too_much.body["code"]) == (422, "capture_exceeds_authorized")
    assert (await shop.operate(f"{payment}/captures", amount=100)).status == 201
    void = await shop.operate(f"{payment}/void")
    assert (void.status, void.body["code"]) == (409, "payment_not_authorized")
    found = (await shop.get(payment)).body
    assert (found["status"], found["amount_captured"]) == ("partially_captured", 700)
    moved = (await shop.get(f"{payment}/transfers")).body["data"]
    assert [row["amount"] for row in moved if row["kind"] == "capture"] in ([600, 100], [100, 600])


async def give_back(shop: Shop) -> None:
    """A void leaves nothing to capture."""
    payment = f"/v1/payments/{await authorize(shop)}"
    assert (await shop.operate(f"{payment}/void")).status == 201
    late = await shop.operate(f"{payment}/captures")
    assert (late.status, late.body["code"]) == (409, "payment_not_authorized")
    assert (await shop.get(payment)).body["status"] == "canceled"


async def refund(shop: Shop) -> None:
    """Of 1,000 that were captured at once 100 and 400 go back, and never more than is left."""
    posted = await shop.post(amount_minor=1_000, wait_s=20)
    payment = f"/v1/payments/{posted.key}"
    assert posted.body["status"] == "succeeded"
    together = await asyncio.gather(
        *(shop.operate(f"{payment}/refunds", amount=amount) for amount in (100, 400))
    )
    assert [answer.status for answer in together] == [201, 201]
    above = await shop.operate(f"{payment}/refunds", amount=501)
    assert (above.status, above.body["code"]) == (422, "refund_exceeds_captured")
    found = (await shop.get(payment)).body
    assert (found["status"], found["amount_refunded"]) == ("succeeded", 500)
    listed = (await shop.get(f"{payment}/refunds")).body["data"]
    assert [row["status"] for row in listed] == ["failed", "succeeded", "succeeded"]
    one = together[0].body
    assert (await shop.get(f"/v1/refunds/{one['id']}")).body["amount"] == 100


async def lose_a_dispute(shop: Shop, psp_url: str) -> None:
    """What a lost dispute takes leaves the wallet, and nothing of it can be refunded."""
    posted = await shop.post(amount_minor=900, wait_s=20)
    payment = f"/v1/payments/{posted.key}"
    reference = await reference_of(psp_url, posted.key)
    for end, kind in (("", "dispute"), ("/lose", "dispute_lost")):
        await dispute(psp_url, reference, end)
        async with asyncio.timeout(30):
            while kind not in await transfer_kinds(shop, payment):
                await asyncio.sleep(0.2)
    refused = await shop.operate(f"{payment}/refunds")
    assert (refused.status, refused.body["code"]) == (422, "refund_exceeds_captured")


async def share(shop: Shop, psp_url: str) -> None:
    """Charges of three sellers: one captured at once, refunded and disputed; one captured in two parts; one let go."""
    sellers = [f"slr_of_three_{name}" for name in ("a", "b", "c")]
    for seller in sellers:
        made = await shop.operate("/v1/sellers", id=seller, name=seller, fee={"basis_points": 0})
        assert made.status == 201, made.raw
    splits = [
        {"seller": seller, "amount": amount, "fee": fee}
        for seller, amount, fee in zip(sellers, (1_333, 1_333, 334), (100, 0, 7), strict=True)
    ]
    posted = await shop.post(amount_minor=3_000, wait_s=20, splits=splits)
    assert (posted.status, posted.body["splits"], posted.body["fee"]) == (201, splits, 107)
    again = await shop.post(posted.key, amount_minor=3_000, wait_s=20, splits=splits)
    assert (again.status, again.raw) == (posted.status, posted.raw)
    other = await shop.post(posted.key, amount_minor=3_000, splits=splits[::-1])
    assert (other.status, other.body["details"]["differs"]) == (422, ["splits"])
    payment = f"/v1/payments/{posted.key}"
    for part_minor in (1, 700):
        assert (await shop.operate(f"{payment}/refunds", amount=part_minor)).status == 201
    assert await balances(shop, sellers) == [921, 1_022, 249]
    reference = await reference_of(psp_url, posted.key)
    for end, kind in (("", "dispute"), ("/win", "dispute_won")):
        await dispute(psp_url, reference, end)
        async with asyncio.timeout(30):
            while kind not in await transfer_kinds(shop, payment):
                await asyncio.sleep(0.2)
    assert await balances(shop, sellers) == [921, 1_022, 249]
    held, let_go = [
        await shop.post(amount_minor=3_000, wait_s=20, capture="manual", splits=splits)
        for _ in range(2)
    ]
    assert held.body["status"] == "requires_capture"
    captures = f"/v1/payments/{held.key}/captures"
    for part_minor in (1, 398):
        assert (await shop.operate(captures, amount=part_minor)).status == 201
    assert (await shop.operate(f"/v1/payments/{let_go.key}/void")).status == 201
    found = (await shop.get(f"/v1/payments/{held.key}")).body
    assert (found["amount_captured"], found["splits"]) == (399, splits)


async def balances(shop: Shop, sellers: list[str]) -> list[int]:
    """What each seller's wallet has posted."""
    wallets = [(await shop.get(f"/v1/wallets/{seller}")).body for seller in sellers]
    return [wallet["balances"][0]["posted"] for wallet in wallets]


async def authorize(shop: Shop) -> UUID:
    """A payment of 1,000 that waits for its capture."""
    posted = await shop.post(amount_minor=1_000, wait_s=20, capture="manual")
    assert posted.status == 201, posted.raw
    assert posted.body["status"] == "requires_capture"
    return posted.key


async def reference_of(psp_url: str, key: UUID) -> str:
    """What the provider calls the charge of this payment."""
    (reference,) = (
        row["reference"] for row in await oracle(psp_url) if row["order_key"] == str(key)
    )
    return str(reference)


async def transfer_kinds(shop: Shop, payment: str) -> set[str]:
    """The kinds of all transfers of a payment."""
    rows: list[dict[str, Any]] = (await shop.get(f"{payment}/transfers")).body["data"]
    return {row["kind"] for row in rows}
