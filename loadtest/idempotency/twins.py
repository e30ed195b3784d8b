"""Rows about requests under one key that arrive together, each on a connection of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from loadtest.idempotency.promises import (
    AMOUNT_MINOR,
    DECLINED,
    FROZEN,
    REUSED,
    SLOW,
    expect_captured,
    expect_charged_once,
    expect_frozen,
    expect_order,
    expect_reused,
    expect_status,
    expect_wallet,
    order,
    settled,
    together,
)
from loadtest.idempotency.rows import Deployment, RowList, new_key
from loadtest.idempotency.storefront import Body, Reply
from loadtest.idempotency.verdicts import expect

TWINS = RowList("at once")

TWIN_COUNT = 50


async def post_together(
    deployment: Deployment, key: str, bodies: Sequence[Body], wait_s: int = 0
) -> list[Reply]:
    """Post all of them at once."""
    return await together(deployment.shop.post(key, body, wait_s=wait_s) for body in bodies)


def expect_one_order(replies: Sequence[Reply], key: str) -> None:
    """Check that all answers of one key tell of the same order."""
    created: Counter[object] = Counter()
    for reply in replies:
        expect_status(reply, 201, 202, when="a twin")
        expect_order(reply.body, key, when="a twin's answer")
        created[reply.body.get("created_at")] += 1
    expect(len(created) == 1, f"the twins tell of {len(created)} orders: {dict(created)}")
    frozen = {reply.raw for reply in replies if reply.status in FROZEN}
    expect(len(frozen) <= 1, f"the twins got {len(frozen)} different frozen answers")
    references = {
        reference for reply in replies if (reference := reply.body.get("psp_reference")) is not None
    }
    expect(len(references) <= 1, f"the twins name {len(references)} charges: {sorted(references)}")


async def _same_twins(deployment: Deployment, token: str, wait_s: int) -> None:
    seller = await deployment.new_seller()
    key, body = new_key(), order(token, seller=seller)
    replies = await post_together(deployment, key, [body] * TWIN_COUNT, wait_s)
    expect_one_order(replies, key)
    # Which one was first can't be told within one millisecond, but not all can be repeats.
    first_count = sum(not reply.is_replay for reply in replies)
    expect(first_count >= 1, "every twin was marked as a replay, so none was the first")
    frozen = await settled(deployment.shop, key, body)
    for reply in replies:
        if reply.status in FROZEN:
            expect(reply.raw == frozen.raw, "a twin's frozen answer has other bytes")
    expect_frozen(frozen, await deployment.shop.post(key, body), when="the repeat after them")
    await expect_charged_once(deployment, key, frozen)
    await expect_wallet(deployment.shop, seller, AMOUNT_MINOR)


@TWINS.row(f"{TWIN_COUNT} twins are one order with one charge.")
async def twins(deployment: Deployment) -> None:
    await _same_twins(deployment, "tok_approve", 0)


@TWINS.row(f"{TWIN_COUNT} twins that wait get the same bytes, and one charge.")
async def twins_waiting(deployment: Deployment) -> None:
    await _same_twins(deployment, SLOW, 20)


@TWINS.row(f"{TWIN_COUNT} twins that are declined get the same 402, after one attempt.")
async def twins_declined(deployment: Deployment) -> None:
    key, body = new_key(), order(DECLINED)
    replies = await post_together(deployment, key, [body] * TWIN_COUNT, 20)
    for reply in replies:
        expect_status(reply, 402, when="a declined twin")
    expect(len({reply.raw for reply in replies}) == 1, "the declined twins got different bytes")
    attempts = replies[0].body["payment"]["attempts"]
    expect(attempts == 1, f"the declined twins took {attempts} attempts, not 1")
    await expect_captured(deployment, [key], count=0)


@TWINS.row("Of two requests under one key at once one wins; the other is 422, however often sent.")
async def twins_conflicting(deployment: Deployment) -> None:
    seller = await deployment.new_seller()
    key = new_key()
    bodies = [order(SLOW, seller=seller, amount=amount) for amount in (1_000, 2_000)]
    replies = await post_together(deployment, key, bodies * (TWIN_COUNT // 2))
    winners = {index % 2 for index, reply in enumerate(replies) if reply.code != REUSED}
    expect(len(winners) == 1, f"{len(winners)} of two different requests were accepted")
    winner = winners.pop()
    expect_one_order(replies[winner::2], key)
    for reply in replies[1 - winner :: 2]:
        expect_reused(reply, ["amount"], when="the request that lost")
    frozen = await settled(deployment.shop, key, bodies[winner])
    lost = await deployment.shop.post(key, bodies[1 - winner])
    expect_reused(lost, ["amount"], when="the request that lost, again")
    await expect_charged_once(deployment, key, frozen)
    await expect_wallet(deployment.shop, seller, int(str(bodies[winner]["amount"])))
