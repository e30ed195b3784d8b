"""Rows about clients that never learn the answer, and about answers of a deployment in trouble."""

from __future__ import annotations

import asyncio

from loadtest.idempotency.promises import (
    AMOUNT_MINOR,
    SLOW,
    expect_absent,
    expect_charged_once,
    expect_frozen,
    expect_marked,
    expect_status,
    expect_wallet,
    order,
    settled,
)
from loadtest.idempotency.rows import Check, Deployment, RowList, new_key
from loadtest.idempotency.verdicts import NotTestable, expect

LOST_ANSWERS = RowList("no answer")

# From no time at all to longer than an acceptance takes, so that the end finds every phase.
_LEFT_AFTER_S = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)
# A gateway has to notice that a connection ended within its request.
_CUT_SEEN_S = 0.3


@LOST_ANSWERS.row("Who hangs up before the answer repeats the request: one order, one charge.")
async def hung_up(deployment: Deployment) -> None:
    seller = await deployment.new_seller()
    orders: dict[str, dict[str, object]] = {}
    for index, left_after_s in enumerate(_LEFT_AFTER_S):
        key, body = new_key(), order(SLOW if index % 2 else "tok_approve", seller=seller)
        orders[key] = body
        exchange = await deployment.shop.send(key, body, wait_s=20 if index % 3 else 0)
        await asyncio.sleep(left_after_s)
        exchange.end()
    for key, body in orders.items():
        frozen = await settled(deployment.shop, key, body)
        expect_frozen(frozen, await deployment.shop.post(key, body), when="the repeat")
        await expect_charged_once(deployment, key, frozen)
    await expect_wallet(deployment.shop, seller, AMOUNT_MINOR * len(orders))


@LOST_ANSWERS.row("A request that ended within its body is none: its key is free for another one.")
async def half_sent(deployment: Deployment) -> None:
    seller = await deployment.new_seller()
    key = new_key()
    exchange = await deployment.shop.send(key, order(seller=seller), cut=10)
    exchange.end()
    await asyncio.sleep(_CUT_SEEN_S)
    await expect_absent(deployment.shop, key, when="half a request")
    whole = order(seller=seller, amount=2 * AMOUNT_MINOR)
    first = await deployment.shop.post(key, whole)
    expect_status(first, 201, 202, when="the whole request")
    expect_marked(first, is_replay=False, when="the whole request")
    frozen = await settled(deployment.shop, key, whole)
    await expect_charged_once(deployment, key, frozen)
    await expect_wallet(deployment.shop, seller, 2 * AMOUNT_MINOR)


@LOST_ANSWERS.row("Orders accepted in good health carry no deferred key check.")
async def nothing_deferred(deployment: Deployment) -> None:
    for _ in range(5):
        reply = await deployment.shop.post(new_key(), order())
        expect_status(reply, 201, 202, when="a first use")
        deferred = reply.headers.get("tallystick-key-check")
        expect(deferred is None, f"Tallystick-Key-Check is {deferred} though the books answer")


IN_TROUBLE = RowList("a store away")

_NEEDS = "HTTP alone can't {}"
_UNTESTABLE = (
    (
        "copies_missing",
        "Not on every copy in time: 503 store_unavailable with may_run, and the same key resumes.",
        "take a copy away",
    ),
    (
        "queue_full",
        "Too much waits: 503 queue_backpressure, nothing is kept.",
        "fill the queue for this alone",
    ),
    (
        "books_away",
        "The books away: 202 with Tallystick-Key-Check: deferred.",
        "take the books away",
    ),
    (
        "books_away_other_request",
        "The books away, and the queue knows another request: 503, not 422.",
        "take the books away",
    ),
    (
        "queue_away",
        "The queue away: settled keys get their frozen answer, reused ones 422, new ones 503.",
        "take the queue away",
    ),
)


def _untestable(what: str) -> Check:
    async def check(_deployment: Deployment) -> None:
        raise NotTestable(_NEEDS.format(what))

    return check


for _name, _promise, _what in _UNTESTABLE:
    IN_TROUBLE.add(_name, _promise, _untestable(_what))
