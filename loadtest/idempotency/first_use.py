"""Rows about the first use of a key: at once, held for the outcome, and read in between."""

from __future__ import annotations

import time

from loadtest.idempotency.promises import (
    SLOW,
    SLOWER,
    SLOWER_MS,
    expect_absent,
    expect_charged_once,
    expect_frozen,
    expect_marked,
    expect_order,
    expect_running,
    expect_status,
    order,
    settled,
)
from loadtest.idempotency.rows import Deployment, RowList, new_key
from loadtest.idempotency.verdicts import expect

FIRST_USE = RowList("first use")

LONG_WAIT_S = 20


@FIRST_USE.row("A first use is answered 202 while the order runs, and is no replay.")
async def first_use(deployment: Deployment) -> None:
    key = new_key()
    started_s = time.monotonic()
    reply = await deployment.shop.post(key, order(SLOWER))
    took_s = time.monotonic() - started_s
    expect_running(reply, key, when="a first use", is_replay=False)
    expect(took_s < SLOWER_MS / 1_000, f"the 202 took {took_s:.1f} s: it waited for the provider")
    frozen = await settled(deployment.shop, key, order(SLOWER))
    await expect_charged_once(deployment, key, frozen)


@FIRST_USE.row("With Prefer: wait a first use is answered with its settled outcome.")
async def first_use_waits(deployment: Deployment) -> None:
    key = new_key()
    reply = await deployment.shop.post(key, order(SLOW), wait_s=LONG_WAIT_S)
    expect_status(reply, 201, when="a first use that waits")
    expect_order(reply.body, key, when="a first use that waits")
    outcome = (reply.body.get("status"), reply.body.get("outcome"))
    expect(outcome == ("succeeded", "known"), f"the 201 is {' '.join(map(str, outcome))}")
    expect_marked(reply, is_replay=False, when="a first use that waits")
    applied = reply.headers.get("preference-applied")
    expect(applied == f"wait={LONG_WAIT_S}", f"Preference-Applied is {applied}")
    await expect_charged_once(deployment, key, reply)


@FIRST_USE.row("A wait that ends before the outcome is answered 202 in time; the order goes on.")
async def wait_ends(deployment: Deployment) -> None:
    key = new_key()
    started_s = time.monotonic()
    reply = await deployment.shop.post(key, order(SLOWER), wait_s=1)
    took_s = time.monotonic() - started_s
    expect_running(reply, key, when="a wait of 1 s", is_replay=False)
    expect(took_s >= 0.9, f"a wait of 1 s was answered after {took_s:.2f} s")
    frozen = await settled(deployment.shop, key, order(SLOWER))
    await expect_charged_once(deployment, key, frozen)


@FIRST_USE.row("What settled without a wait is frozen all the same, with and without Prefer.")
async def settled_unwatched(deployment: Deployment) -> None:
    key = new_key()
    expect_status(await deployment.shop.post(key, order()), 201, 202, when="a first use")
    frozen = await settled(deployment.shop, key, order())
    for wait_s in (0, 1, LONG_WAIT_S):
        again = await deployment.shop.post(key, order(), wait_s=wait_s)
        expect_frozen(frozen, again, when=f"a repeat with wait={wait_s}")


@FIRST_USE.row("GET knows the key from its acceptance on, and no key before.")
async def read_by_key(deployment: Deployment) -> None:
    key = new_key()
    await expect_absent(deployment.shop, key, when="before the first use")
    first = await deployment.shop.post(key, order(SLOW, metadata={"cart": "c-9"}))
    expect_running(first, key, when="a first use", is_replay=False)
    shown = await deployment.shop.get(key)
    expect_status(shown, 200, when="GET right after the 202")
    for name in ("id", "amount", "currency", "seller", "metadata", "created_at"):
        was, now = first.body.get(name), shown.body.get(name)
        expect(was == now, f"GET shows {name} as {now}, the 202 as {was}")
    frozen = await settled(deployment.shop, key, order(SLOW, metadata={"cart": "c-9"}))
    await expect_charged_once(deployment, key, frozen)
