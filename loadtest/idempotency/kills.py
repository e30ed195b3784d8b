"""Rows that kill processes of a stack on this machine between the phases of orders, and then repeat."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from loadtest.idempotency.promises import (
    AMOUNT_MINOR,
    SLOW,
    expect_charged_once,
    expect_frozen,
    expect_status,
    expect_wallet,
    order,
    settled,
    together,
)
from loadtest.idempotency.rows import Deployment, RowList, new_key
from loadtest.idempotency.storefront import OpenExchange
from loadtest.idempotency.verdicts import Violated, expect

KILLS = RowList("processes killed", is_disruptive=True)

# One kill meets each of them in another phase.
ORDER_COUNT = 20
_WAIT_S = 20
# A death of one process in a row's time is no crash loop for whoever starts it again.
_SENT_APART_S = 0.002


async def _new_orders(deployment: Deployment) -> tuple[str, Mapping[str, dict[str, object]]]:
    """Return a seller of its own, and orders by key: slow ones and fast ones in turns."""
    seller = await deployment.new_seller()
    tokens = (SLOW, "tok_approve") * (ORDER_COUNT // 2)
    return seller, {new_key(): order(token, seller=seller) for token in tokens}


async def _send_all(
    deployment: Deployment, orders: Mapping[str, dict[str, object]], wait_s: int
) -> list[OpenExchange]:
    """Send them one after the other, without reading an answer."""
    exchanges = []
    for key, body in orders.items():
        try:
            exchanges.append(await deployment.shop.send(key, body, wait_s=wait_s))
        except (OSError, TimeoutError) as fault:
            raise Violated(f"the deployment can't be reached: {fault!r}") from None
        await asyncio.sleep(_SENT_APART_S)
    return exchanges


async def _accepted(
    deployment: Deployment, orders: Mapping[str, dict[str, object]]
) -> Mapping[str, object]:
    """Have all of them accepted; return when each was, by its key."""
    replies = await together(deployment.shop.post(key, body) for key, body in orders.items())
    for reply in replies:
        expect_status(reply, 201, 202, when="a first use")
    return {reply.body["id"]: reply.body["created_at"] for reply in replies}


async def _expect_each_once(
    deployment: Deployment,
    seller: str,
    orders: Mapping[str, dict[str, object]],
    accepted: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Repeat every order until it settles; check that each was charged once, and all together too.

    ``accepted`` tells when those were accepted of which that is known: they must still be the same.
    """
    replies = await together(settled(deployment.shop, key, body) for key, body in orders.items())
    for (key, body), frozen in zip(orders.items(), replies, strict=True):
        if key in accepted:
            was, now = accepted[key], frozen.body.get("created_at")
            expect(was == now, f"an order accepted at {was} was lost, and made anew at {now}")
        expect_frozen(frozen, await deployment.shop.post(key, body), when="the repeat")
        await expect_charged_once(deployment, key, frozen)
    await expect_wallet(deployment.shop, seller, AMOUNT_MINOR * len(orders))


def _end(exchanges: Sequence[OpenExchange]) -> None:
    for exchange in exchanges:
        exchange.end()


@KILLS.row("A gateway killed right after the requests were sent: repeats make each order one.")
async def gateway_killed_when_sent(deployment: Deployment) -> None:
    victims = deployment.killable()
    await victims.recovered()
    seller, orders = await _new_orders(deployment)
    exchanges = await _send_all(deployment, orders, wait_s=0)
    try:
        victims.kill_gateway([each.port for each in reversed(exchanges)])
    finally:
        _end(exchanges)
    await _expect_each_once(deployment, seller, orders)


@KILLS.row("A gateway killed while it holds answers for their outcome: repeats get the outcome.")
async def gateway_killed_when_waiting(deployment: Deployment) -> None:
    victims = deployment.killable()
    await victims.recovered()
    seller, orders = await _new_orders(deployment)
    exchanges = await _send_all(deployment, orders, wait_s=_WAIT_S)
    await asyncio.sleep(0.3)
    try:
        victims.kill_gateway([each.port for each in exchanges])
    finally:
        _end(exchanges)
    await _expect_each_once(deployment, seller, orders)


@KILLS.row("A host killed right after the requests were sent: each order runs once elsewhere.")
async def host_killed_when_sent(deployment: Deployment) -> None:
    victims = deployment.killable()
    await victims.recovered()
    seller, orders = await _new_orders(deployment)
    exchanges = await _send_all(deployment, orders, wait_s=0)
    try:
        victims.kill_host()
    finally:
        _end(exchanges)
    await _expect_each_once(deployment, seller, orders)


@KILLS.row("A host killed between acceptance and outcome: the accepted orders settle, once each.")
async def host_killed_when_accepted(deployment: Deployment) -> None:
    victims = deployment.killable()
    await victims.recovered()
    seller, orders = await _new_orders(deployment)
    accepted = await _accepted(deployment, orders)
    victims.kill_host()
    await _expect_each_once(deployment, seller, orders, accepted)


@KILLS.row(
    "A gateway killed between acceptance and outcome: the accepted orders settle, once each."
)
async def gateway_killed_when_accepted(deployment: Deployment) -> None:
    victims = deployment.killable()
    await victims.recovered()
    seller, orders = await _new_orders(deployment)
    accepted = await _accepted(deployment, orders)
    exchanges = await _send_all(deployment, orders, wait_s=_WAIT_S)
    try:
        victims.kill_gateway([each.port for each in exchanges])
    finally:
        _end(exchanges)
    await _expect_each_once(deployment, seller, orders, accepted)
