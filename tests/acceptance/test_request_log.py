"""The request log on a whole stack: a merchant finds its own requests, redacted, and nobody else's."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

from tests.acceptance.running_stack import RunningStack
from tests.shop import Answer, Shop, open_shop

SECRETS = (
    "ann@example.org",
    "a red bicycle",
    "cart-4711",
    "tok_approve",
    "hooks.example.org",
    "whsec_",
)
# It is written twice a second.
WRITTEN_S_MAX = 20.0


def test_a_merchant_finds_its_own_requests_alone(stack: RunningStack) -> None:
    """By id and by key, without tokens, buyers, texts and secrets; another merchant finds none of them."""
    asyncio.run(look(stack))


async def look(stack: RunningStack) -> None:
    status = await asyncio.to_thread(stack.status)
    keys = [
        (await asyncio.to_thread(stack.json, "merchants", "create", name))["api_key"]
        for name in ("Logged", "Curious")
    ]
    async with (
        open_shop(status["gateway_url"], keys[0]) as shop,
        open_shop(status["gateway_url"], keys[1]) as stranger,
    ):
        asked = await ask_with_secrets(shop)
        for answer in asked:
            request_id = answer.headers["Request-Id"]
            (by_id,) = await found(shop, f"?request_id={request_id}")
            assert (by_id["id"], by_id["status"]) == (request_id, answer.status)
            # Its own look leaves no row, and another's rows are not there by any name.
            assert await page(stranger, f"?request_id={request_id}") == []
            assert await page(stranger, f"?idempotency_key={answer.key}") == []
        assert await page(stranger, "") == []
        paid = await found(shop, f"?idempotency_key={asked[0].key}")
        assert [each["route"] for each in paid] == ["/v1/payments"]
        assert paid[0]["request"]["amount"] == 1234
        assert paid[0]["request"]["buyer"] == "[redacted]"
        own = json.dumps(await page(shop, "?limit=100"))
        assert [secret for secret in SECRETS if secret in own] == []
        theirs = await page(shop, "?limit=100", count=len(asked))
        assert {each["id"] for each in theirs} == {each.headers["Request-Id"] for each in asked}
    heads = await asyncio.to_thread(stack.tally, "logs", "tail", "-n", "100", "--json")
    assert asked[0].headers["Request-Id"] in heads.stdout
    assert [secret for secret in SECRETS if secret in heads.stdout] == []


async def ask_with_secrets(shop: Shop) -> list[Answer]:
    """A payment, the same with another body, and an endpoint: everything personal or secret is in them."""
    key = uuid4()
    paid = await shop.post(
        key,
        amount_minor=1234,
        wait_s=20,
        buyer={"reference": "b-1", "email": "ann@example.org"},
        description="a red bicycle",
        metadata={"cart": "cart-4711"},
    )
    assert paid.status == 201, paid.raw
    shown = await shop.get(f"/v1/payments/{key}")
    made = await shop.operate("/v1/webhook_endpoints", url="https://hooks.example.org/in")
    assert made.status == 201
    removed = await shop.operate(f"/v1/webhook_endpoints/{made.body['id']}/disable")
    return [paid, shown, made, removed]


async def found(shop: Shop, query: str) -> list[dict[str, Any]]:
    """Look until there is something: the log is written a moment after the answer."""
    async with asyncio.timeout(WRITTEN_S_MAX):
        while not (rows := await page(shop, query)):
            await asyncio.sleep(0.1)
    return rows


async def page(shop: Shop, query: str, *, count: int = 0) -> list[dict[str, Any]]:
    """One page, at least so many rows of it."""
    async with asyncio.timeout(WRITTEN_S_MAX):
        while True:
            answer = await shop.get(f"/v1/requests{query}")
            assert answer.status == 200, answer.raw
            rows: list[dict[str, Any]] = answer.body["data"]
            if len(rows) >= count:
                return rows
            await asyncio.sleep(0.1)
