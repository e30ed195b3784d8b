"""Rows about the same request again: while it runs, when it has settled, late, and from elsewhere."""

from __future__ import annotations

import asyncio

from loadtest.idempotency.promises import (
    AMOUNT_MINOR,
    APPROVED,
    DECLINED,
    SLOW,
    SLOWER,
    expect_captured,
    expect_charged_once,
    expect_frozen,
    expect_marked,
    expect_order,
    expect_running,
    expect_status,
    expect_wallet,
    order,
    settled,
    together,
)
from loadtest.idempotency.rows import Deployment, RowList, new_key
from loadtest.idempotency.verdicts import expect

REPEATS = RowList("same request")

# The provider charges and drops the connection; fails once; denies for a while what it charged.
UNCLEAR_TOKENS = ("tok_charge_then_timeout", "tok_error_500", "tok_charge_then_refuse")

_REPEATS = 5
# Enough that the kernel hands some to another process, where several share the port.
_CONNECTIONS = 8
# A key's first use and its repeat within one millisecond can't be told apart: see docs/API.md.
_NEXT_MILLISECOND_S = 0.005


@REPEATS.row("While the order runs, a repeat is answered 202 with the same order, as a replay.")
async def repeat_running(deployment: Deployment) -> None:
    seller = await deployment.new_seller()
    key, body = new_key(), order(SLOWER, seller=seller)
    first = await deployment.shop.post(key, body)
    expect_running(first, key, when="a first use", is_replay=False)
    for _ in range(_REPEATS):
        await asyncio.sleep(_NEXT_MILLISECOND_S)
        again = await deployment.shop.post(key, body)
        expect_running(again, key, when="a repeat of a running order", is_replay=True)
        for name in ("created_at", "amount", "seller", "fee"):
            was, now = first.body.get(name), again.body.get(name)
            expect(was == now, f"a repeat shows {name} as {now}, the first answer as {was}")
    frozen = await settled(deployment.shop, key, body)
    await expect_charged_once(deployment, key, frozen)
    await expect_wallet(deployment.shop, seller, AMOUNT_MINOR)


@REPEATS.row("A repeat with Prefer: wait of a running order is held for the settled answer.")
async def repeat_waits(deployment: Deployment) -> None:
    key, body = new_key(), order(SLOW)
    first = await deployment.shop.post(key, body)
    expect_running(first, key, when="a first use", is_replay=False)
    await asyncio.sleep(_NEXT_MILLISECOND_S)
    held = await deployment.shop.post(key, body, wait_s=20)
    expect_status(held, 201, when="a repeat that waits")
    expect_marked(held, is_replay=True, when="a repeat that waits")
    expect_frozen(held, await deployment.shop.post(key, body), when="the repeat after it")
    await expect_charged_once(deployment, key, held)


@REPEATS.row("A settled success is answered 201 with the same bytes every time.")
async def frozen_success(deployment: Deployment) -> None:
    key, body = new_key(), order(APPROVED, metadata={"b": "2", "a": "é"})
    frozen = await settled(deployment.shop, key, body)
    expect_order(frozen.body, key, when="the settled order")
    request_ids = {frozen.headers.get("request-id")}
    for _ in range(_REPEATS):
        again = await deployment.shop.post(key, body)
        expect_frozen(frozen, again, when="a repeat")
        request_ids.add(again.headers.get("request-id"))
    expect(None not in request_ids, "an answer has no Request-Id")
    expect(len(request_ids) == 1 + _REPEATS, "repeats share a Request-Id")
    await expect_charged_once(deployment, key, frozen)


@REPEATS.row("A decline is answered 402 with the same bytes every time; a new try needs a new key.")
async def frozen_decline(deployment: Deployment) -> None:
    key, body = new_key(), order(DECLINED)
    frozen = await settled(deployment.shop, key, body, status=402)
    expect(frozen.code == "declined", f"the decline has the code {frozen.code}")
    expect(frozen.body.get("retryable") is False, "the decline is marked as retryable")
    expect("request_id" not in frozen.body, "the frozen body holds a request's id")
    expect_order(frozen.body.get("payment", {}), key, when="the problem's payment")
    for wait_s in (0, 20, 0, 20):
        again = await deployment.shop.post(key, body, wait_s=wait_s)
        expect_frozen(frozen, again, when=f"a repeat of a decline with wait={wait_s}")
    shown = await deployment.shop.get(key)
    expect(shown.body == frozen.body["payment"], "GET and the frozen 402 show different orders")
    transfers = await deployment.shop.transfers(key)
    expect(transfers.body.get("data") == [], "a declined order moved money")
    await expect_captured(deployment, [key], count=0)
    other = new_key()
    expect_order((await settled(deployment.shop, other, order())).body, other, when="a new try")


@REPEATS.row("Over other connections a repeat gets the same bytes.")
async def frozen_elsewhere(deployment: Deployment) -> None:
    key, body = new_key(), order()
    frozen = await settled(deployment.shop, key, body)
    for _ in range(_CONNECTIONS):
        again = await deployment.shop.post_apart(key, body)
        expect_frozen(frozen, again, when="a repeat over a connection of its own")


@REPEATS.row("Long after the outcome a repeat gets the same bytes, and charges nothing.")
async def frozen_late(deployment: Deployment) -> None:
    key, body = new_key(), order()
    declined_key, declined_body = new_key(), order(DECLINED)
    frozen = await settled(deployment.shop, key, body)
    declined = await settled(deployment.shop, declined_key, declined_body, status=402)
    await asyncio.sleep(deployment.delay_s)
    when = f"a repeat {deployment.delay_s:g} s later"
    expect_frozen(frozen, await deployment.shop.post(key, body), when=when)
    again = await deployment.shop.post_apart(declined_key, declined_body)
    expect_frozen(declined, again, when=f"{when}, of a decline")
    await expect_charged_once(deployment, key, frozen)


@REPEATS.row("While the outcome is unknown a repeat is 202, and it is charged once in the end.")
async def repeat_unknown(deployment: Deployment) -> None:
    seller = await deployment.new_seller()

    async def charge(token: str) -> None:
        key, body = new_key(), order(token, seller=seller)
        for _ in range(_REPEATS):
            reply = await deployment.shop.post(key, body)
            expect_status(reply, 201, 202, when=f"an order of {token}")
        frozen = await settled(deployment.shop, key, body)
        again = await deployment.shop.post(key, body)
        expect_frozen(frozen, again, when=f"a repeat of {token}")
        await expect_charged_once(deployment, key, frozen)

    await together(map(charge, UNCLEAR_TOKENS))
    await expect_wallet(deployment.shop, seller, AMOUNT_MINOR * len(UNCLEAR_TOKENS))
