"""Rows about the same key in other hands: another merchant's, or the other mode's."""

from __future__ import annotations

from loadtest.idempotency.promises import (
    AMOUNT_MINOR,
    SLOW,
    expect_absent,
    expect_charged_once,
    expect_frozen,
    expect_marked,
    expect_running,
    expect_status,
    expect_wallet,
    order,
    settled,
)
from loadtest.idempotency.rows import Deployment, RowList, new_key
from loadtest.idempotency.storefront import Storefront
from loadtest.idempotency.verdicts import NotTestable, expect

STRANGERS = RowList("same key, another merchant or mode")


@STRANGERS.row("Two merchants' orders under one key never meet, whatever is in them.")
async def other_merchant(deployment: Deployment) -> None:
    mine, theirs = deployment.shop, deployment.another_merchant()
    key = new_key()
    bodies: dict[Storefront, dict[str, object]] = {}
    for shop, amount in ((mine, AMOUNT_MINOR), (theirs, 2 * AMOUNT_MINOR)):
        seller = await deployment.new_seller(shop)
        bodies[shop] = order(SLOW, amount=amount, seller=seller)
        reply = await shop.post(key, bodies[shop])
        expect_running(reply, key, when="a merchant's first use of the key", is_replay=False)
        expect(reply.body.get("amount") == amount, "a merchant was shown another's order")
    frozen = {shop: await settled(shop, key, body) for shop, body in bodies.items()}
    references = {reply.body.get("psp_reference") for reply in frozen.values()}
    expect(len(references) == 2, "both merchants' orders name the same charge")
    for shop, body in bodies.items():
        expect(frozen[shop].body.get("seller") == body["seller"], "a merchant got another's order")
        expect_frozen(frozen[shop], await shop.post(key, body), when="a merchant's own repeat")
        await expect_charged_once(deployment, key, frozen[shop], shop)
        await expect_wallet(shop, str(body["seller"]), int(str(body["amount"])))


@STRANGERS.row("A key that another merchant used is unknown here, and free; so is a declined one.")
async def key_of_a_stranger(deployment: Deployment) -> None:
    mine, theirs = deployment.shop, deployment.another_merchant()
    for token, status in (("tok_approve", 201), ("tok_decline_do_not_honor", 402)):
        key = new_key()
        await settled(theirs, key, order(token), status=status)
        await expect_absent(mine, key, when="another merchant's key")
        first = await mine.post(key, order(SLOW))
        expect_running(first, key, when="a key that another merchant used", is_replay=False)
        await settled(mine, key, order(SLOW))


@STRANGERS.row("A test order's key is unknown with the live key of the same merchant.")
async def other_mode(deployment: Deployment) -> None:
    live = deployment.live_shop
    if live is None:
        raise NotTestable("needs the merchant's live key: --live-key")
    key = new_key()
    frozen = await settled(deployment.shop, key, order())
    await expect_absent(live, key, when="a test order's key, in live mode")
    # Sandbox tokens are refused with live keys, so nothing real can come of this.
    refused = await live.post(key, order(amount=1))
    expect(
        refused.code == "sandbox_token_refused",
        f"a sandbox token in live mode was answered {refused}, not 422 sandbox_token_refused",
    )
    expect_marked(refused, is_replay=False, when="a refusal in live mode")
    expect_frozen(frozen, await deployment.shop.post(key, order()), when="the test order again")
    expect_status(await deployment.shop.get(key), 200, when="GET of the test order")
