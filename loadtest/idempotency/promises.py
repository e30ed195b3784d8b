"""What rows check again and again: of one answer, of two, and of what became of an order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import aiohttp
import msgspec

from loadtest.idempotency.rows import Deployment
from loadtest.idempotency.storefront import PAYMENTS, Body, Reply, Storefront
from loadtest.idempotency.verdicts import NotTestable, Violated, expect

T = TypeVar("T")

# From a request to its frozen answer, with an unknown outcome or a takeover in between. An outcome that
# nobody has after a minute needs a person.
SETTLE_S_MAX = 65.0
SETTLE_WAIT_S = 10
# Wallets are read beside the books' writes: a look that comes early is repeated.
WALLET_S_MAX = 10.0
_AGAIN_S = 0.1

AMOUNT_MINOR = 1999
APPROVED = "tok_approve"
DECLINED = "tok_decline_do_not_honor"
# Long enough that a few repeats come while it runs, on a busy machine too.
SLOW_MS = 1_500
SLOW = f"tok_slow_{SLOW_MS}"
# Where a repeat must find it running: a stalled machine may need some time for each.
SLOWER_MS = 3_000
SLOWER = f"tok_slow_{SLOWER_MS}"

FROZEN = (201, 402)
RETRYABLE = ("store_unavailable", "queue_backpressure")
REUSED = "idempotency_key_reused"


def order(token: str = APPROVED, **fields: object) -> dict[str, object]:
    """Return the body of an order."""
    return {"amount": AMOUNT_MINOR, "currency": "USD", "payment_method": token, **fields}


def expect_status(reply: Reply, *statuses: int, when: str) -> None:
    """Check an answer's HTTP status."""
    wanted = " or ".join(map(str, statuses))
    expect(reply.status in statuses, f"{when} was answered {reply}, not {wanted}")


def expect_problem(reply: Reply, status: int, code: str, *, when: str) -> None:
    """Check that an answer is this problem, and says so everywhere in the same way."""
    expect(
        (reply.status, reply.code) == (status, code),
        f"{when} was answered {reply}, not {status} {code}",
    )
    expect(reply.body.get("status") == status, f"{when}: the problem's status is not {status}")
    expect(reply.body.get("retryable") is False, f"{when}: the problem is not marked as final")


def expect_reused(reply: Reply, differs: Sequence[str], *, when: str) -> None:
    """Check the refusal of another request under a used key, and which fields it names."""
    expect_problem(reply, 422, REUSED, when=when)
    details = reply.body.get("details")
    named = details.get("differs") if isinstance(details, Mapping) else None
    expect(named == list(differs), f"{when}: details.differs is {named}, not {list(differs)}")
    expect(not reply.is_replay, f"{when}: the refusal is marked as a replay")


def expect_running(reply: Reply, key: str, *, when: str, is_replay: bool) -> None:
    """Check the 202 of an order that has not ended."""
    expect_status(reply, 202, when=when)
    expect_order(reply.body, key, when=when)
    status = reply.body.get("status")
    expect(status in ("created", "processing"), f"{when}: a 202 with status {status}")
    location = reply.headers.get("location")
    expect(location == f"{PAYMENTS}/{key}", f"{when}: Location is {location}")
    expect_marked(reply, is_replay=is_replay, when=when)


def expect_marked(reply: Reply, *, is_replay: bool, when: str) -> None:
    """Check ``Idempotent-Replayed``: true on a replay, absent on a first use."""
    value = reply.headers.get("idempotent-replayed")
    wanted = "true" if is_replay else None
    expect(value == wanted, f"{when}: Idempotent-Replayed is {value}, not {wanted}")


def expect_order(body: Mapping[str, object], key: str, *, when: str) -> None:
    """Check that a body is this order."""
    expect(body.get("id") == key, f"{when} shows the order {body.get('id')}, not {key}")
    expect(body.get("object") == "payment_order", f"{when} shows no payment_order")


def expect_frozen(first: Reply, again: Reply, *, when: str) -> None:
    """Check a repeat of a frozen answer: status, type and bytes as before, marked as a replay."""
    expect_status(again, first.status, when=when)
    for name in ("content-type", "location"):
        was, now = first.headers.get(name), again.headers.get(name)
        expect(was == now, f"{when}: the header {name} was {was}, now {now}")
    expect(again.raw == first.raw, f"{when}: other bytes than before: {_difference(first, again)}")
    expect_marked(again, is_replay=True, when=when)


def _difference(first: Reply, again: Reply) -> str:
    was, now = first.body, again.body
    members = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    return ", ".join(members) or "the same members, written otherwise"


def expect_retryable(reply: Reply) -> None:
    """Check a 503 of an order: it is one of the two documented, and says what to do about it."""
    expect(reply.code in RETRYABLE, f"a 503 has the code {reply.code}")
    expect(reply.body.get("retryable") is True, f"{reply} is not marked as retryable")
    expect("retry-after" in reply.headers, f"{reply} has no Retry-After")
    details = reply.body.get("details")
    may_run = details.get("may_run") if isinstance(details, Mapping) else None
    expect(isinstance(may_run, bool), f"{reply} does not say whether the order may run")


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Do all of it at once and return the results in order. When one part fails, the rest is ended."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def settled(shop: Storefront, key: str, body: Body, *, status: int = 201) -> Reply:
    """Repeat a request until its answer is frozen, and return that.

    Nothing but a 202 or a retryable 503 may come before, and no connection without an answer may
    follow for long. Raises Violated.
    """
    until_s = time.monotonic() + SETTLE_S_MAX
    reply = Reply(status=0)
    while time.monotonic() < until_s:
        reply = await shop.post(key, body, wait_s=SETTLE_WAIT_S)
        if reply.status in FROZEN:
            expect_status(reply, status, when="the settled order")
            return reply
        if reply.status == 503:
            expect_retryable(reply)
        expect(reply.status in (0, 202, 503), f"a repeat before the outcome was answered {reply}")
        await asyncio.sleep(_AGAIN_S)
    raise Violated(
        f"the order did not settle within {SETTLE_S_MAX:.0f} s; the last answer: {reply}"
    )


async def expect_charged_once(
    deployment: Deployment, key: str, frozen: Reply, shop: Storefront | None = None
) -> None:
    """Check that a settled order is one order with one charge, as far as it can be seen."""
    shop = shop or deployment.shop
    shown = await shop.get(key)
    expect_status(shown, 200, when="GET of the settled order")
    for name in ("id", "psp_reference", "attempts", "created_at", "amount", "status"):
        was, now = frozen.body.get(name), shown.body.get(name)
        expect(was == now, f"GET shows {name} as {now}, the frozen answer as {was}")
    attempts = frozen.body.get("attempts")
    expect(attempts == 1, f"the order took {attempts} attempts, not 1")
    transfers = await shop.transfers(key)
    expect_status(transfers, 200, when="GET of the transfers")
    charges = [each for each in transfers.body["data"] if each["kind"] == "charge"]
    expect(len(charges) == 1, f"the order has {len(charges)} charge transfers, not 1")
    amount = charges[0]["amount"]
    expect(amount == frozen.body["amount"], f"{amount} was charged, not {frozen.body['amount']}")
    await expect_captured(deployment, [key], count=1)


async def expect_captured(deployment: Deployment, keys: Iterable[str], *, count: int) -> None:
    """Check how often the simulated providers captured each order, where they can be asked."""
    for key in keys:
        try:
            counts = [await record.captured_count(key) for record in deployment.psp_records]
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as fault:
            raise NotTestable(f"a provider's record can't be read: {fault!r}") from None
        if counts:
            expect(sum(counts) == count, f"the providers captured {key} {sum(counts)} times")


async def expect_wallet(shop: Storefront, seller: str, amount_minor: int) -> None:
    """Check that a seller's wallet holds exactly so much; its orders are settled, and had no fee."""
    until_s = time.monotonic() + WALLET_S_MAX
    while True:
        reply = await shop.wallet(seller)
        expect_status(reply, 200, when="GET of the wallet")
        held = sum(balance["posted"] for balance in reply.body["balances"])
        # More than that never goes away again; less may only be early.
        if held >= amount_minor or time.monotonic() >= until_s:
            break
        await asyncio.sleep(_AGAIN_S)
    expect(held == amount_minor, f"the seller's wallet holds {held}, not {amount_minor}")


async def expect_absent(shop: Storefront, key: str, *, when: str) -> None:
    """Check that a key names no order."""
    reply = await shop.get(key)
    expect(
        (reply.status, reply.code) == (404, "payment_not_found"),
        f"{when}: GET of the key was answered {reply}, not 404 payment_not_found",
    )
