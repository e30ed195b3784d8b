"""Rows about checkouts: several orders under a key of their own, each of them charged once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from loadtest.idempotency.promises import (
    AMOUNT_MINOR,
    APPROVED,
    SETTLE_S_MAX,
    SETTLE_WAIT_S,
    expect_absent,
    expect_captured,
    expect_marked,
    expect_problem,
    expect_retryable,
    expect_reused,
    expect_status,
    expect_wallet,
    order,
    settled,
    together,
)
from loadtest.idempotency.rows import Deployment, RowList, new_key
from loadtest.idempotency.storefront import Reply, Storefront
from loadtest.idempotency.verdicts import Violated, expect

CHECKOUTS = RowList("checkouts")

_ORDER_COUNT = 3
_TWIN_COUNT = 20
_REPEATS = 3
_AGAIN_S = 0.2


def checkout(keys: Sequence[str], seller: str, **more: object) -> dict[str, object]:
    """Return the body of a checkout with an order for each key."""
    orders = [
        {"id": key, "seller": seller, "amount": AMOUNT_MINOR, "currency": "USD"} for key in keys
    ]
    return {"orders": orders, "payment_method": APPROVED, **more}


async def settled_checkout(shop: Storefront, key: str, body: dict[str, object]) -> Reply:
    """Repeat a checkout until all of its orders have ended. Raises Violated."""
    until_s = time.monotonic() + SETTLE_S_MAX
    reply = Reply(status=0)
    while time.monotonic() < until_s:
        reply = await shop.post_checkout(key, body, wait_s=SETTLE_WAIT_S)
        if reply.status == 201:
            return reply
        if reply.status == 503:
            expect_retryable(reply)
        expect(reply.status in (0, 202, 503), f"a checkout that runs was answered {reply}")
        await asyncio.sleep(_AGAIN_S)
    raise Violated(f"the checkout did not settle; the last answer: {reply}")


def expect_checkout(reply: Reply, keys: Sequence[str], *, when: str) -> None:
    """Check that an answer is a checkout of these orders."""
    expect_status(reply, 200, 201, 202, when=when)
    body = reply.body
    expect(body.get("object") == "checkout", f"{when} shows no checkout")
    shown = [each.get("id") for each in body.get("orders", [])]
    expect(shown == list(keys), f"{when} shows the orders {shown}, not {list(keys)}")
    paid = all(each.get("status") == "succeeded" for each in body["orders"])
    is_done = body.get("is_payment_done")
    expect(is_done is paid, f"{when}: is_payment_done is {is_done}, its orders say {paid}")


async def expect_paid_once(deployment: Deployment, keys: Sequence[str], seller: str) -> None:
    """Check that each order moved its amount once, by the provider's record and by the wallet."""
    await expect_captured(deployment, keys, count=1)
    await expect_wallet(deployment.shop, seller, AMOUNT_MINOR * len(keys))


@CHECKOUTS.row("A repeated checkout is the same checkout, and every order is charged once.")
async def checkout_again(deployment: Deployment) -> None:
    shop, seller = deployment.shop, await deployment.new_seller()
    key, keys = new_key(), [new_key() for _ in range(_ORDER_COUNT)]
    body = checkout(keys, seller, metadata={"cart": "c-9"})
    first = await settled_checkout(shop, key, body)
    expect_checkout(first, keys, when="the settled checkout")
    for _ in range(_REPEATS):
        again = await shop.post_checkout(key, body)
        expect_checkout(again, keys, when="a repeat")
        expect_marked(again, is_replay=True, when="a repeat")
        same = again.body.get("id") == first.body.get("id")
        expect(same, "a repeat shows another checkout")
    shown = await shop.get_checkout(str(first.body.get("id")))
    expect_checkout(shown, keys, when="GET of the checkout")
    expect(shown.body.get("is_payment_done") is True, "GET shows a paid checkout as unpaid")
    await expect_paid_once(deployment, keys, seller)


@CHECKOUTS.row(
    "Under a checkout's key another body is 422 that names what differs; it runs no order."
)
async def checkout_other_body(deployment: Deployment) -> None:
    shop, seller = deployment.shop, await deployment.new_seller()
    key, keys, other = new_key(), [new_key(), new_key()], new_key()
    await settled_checkout(shop, key, checkout(keys, seller))
    reply = await shop.post_checkout(key, checkout([other], seller), wait_s=SETTLE_WAIT_S)
    expect_reused(reply, ["orders"], when="a checkout with other orders")
    reply = await shop.post_checkout(key, checkout(keys, seller, metadata={"cart": "c-8"}))
    expect_reused(reply, ["metadata"], when="a checkout with other metadata")
    await expect_absent(shop, other, when="after the refusal")
    await expect_paid_once(deployment, keys, seller)


@CHECKOUTS.row(
    "Checkouts under one key that arrive together are one, and every order is charged once."
)
async def checkout_twins(deployment: Deployment) -> None:
    shop, seller = deployment.shop, await deployment.new_seller()
    key, keys = new_key(), [new_key() for _ in range(_ORDER_COUNT)]
    body = checkout(keys, seller)
    replies = await together(shop.post_checkout(key, body) for _ in range(_TWIN_COUNT))
    for reply in replies:
        expect_checkout(reply, keys, when="a twin")
    names = {reply.body.get("id") for reply in replies}
    expect(len(names) == 1, f"the twins tell of {len(names)} checkouts")
    await settled_checkout(shop, key, body)
    await expect_paid_once(deployment, keys, seller)


@CHECKOUTS.row(
    "An order's id that is another payment's refuses the checkout, and nothing of it runs."
)
async def checkout_order_taken(deployment: Deployment) -> None:
    shop, seller = deployment.shop, await deployment.new_seller()
    taken, free = new_key(), new_key()
    await settled(shop, taken, order(seller=seller))
    reply = await shop.post_checkout(new_key(), checkout([free, taken], seller))
    expect_problem(reply, 422, "order_id_reused", when="a checkout with a payment's id")
    param = reply.body.get("param")
    expect(param == "$.orders[1].id", f"the refusal names {param}, not the order")
    await expect_absent(shop, free, when="after the refusal")
    await expect_paid_once(deployment, [taken], seller)


@CHECKOUTS.row("A payment under the id of a checkout's order is another request: 422.")
async def checkout_order_alone(deployment: Deployment) -> None:
    shop, seller = deployment.shop, await deployment.new_seller()
    taken = new_key()
    await settled_checkout(shop, new_key(), checkout([taken], seller))
    reply = await shop.post(taken, order(seller=seller))
    expect_reused(reply, ["checkout"], when="a payment under the id of a checkout's order")
    await expect_paid_once(deployment, [taken], seller)
