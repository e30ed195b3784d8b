"""Rows about captures, voids and refunds: each under a key of its own, done once, told in one way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from loadtest.idempotency.promises import (
    AMOUNT_MINOR,
    SETTLE_S_MAX,
    SETTLE_WAIT_S,
    WALLET_S_MAX,
    expect_frozen,
    expect_marked,
    expect_problem,
    expect_retryable,
    expect_reused,
    expect_status,
    order,
    settled,
    together,
)
from loadtest.idempotency.rows import Deployment, RowList, new_key
from loadtest.idempotency.storefront import Reply, Storefront
from loadtest.idempotency.verdicts import Violated, expect

OPERATIONS = RowList("captures, voids, refunds")

_TWIN_COUNT = 12
_REPEATS = 3
_AGAIN_S = 0.1
_PART_MINOR = 700
_MOST_MINOR = AMOUNT_MINOR * 2 // 3


class _Kind(NamedTuple):
    """One thing that can be done to a payment, and what is left with the seller after it."""

    name: str
    path: str
    capture: str
    body: dict[str, object]
    left_minor: int
    others: Sequence[tuple[dict[str, object], list[str]]] = ()
    """Other bodies under the same key, with the fields that differ."""


_KINDS = (
    _Kind(
        "capture",
        "captures",
        "manual",
        {"amount": _PART_MINOR},
        _PART_MINOR,
        [({"amount": _PART_MINOR - 1}, ["amount"]), ({}, ["amount"])],
    ),
    _Kind("void", "void", "manual", {}, 0),
    _Kind(
        "refund",
        "refunds",
        "automatic",
        {"amount": _PART_MINOR, "reason": "too small"},
        AMOUNT_MINOR - _PART_MINOR,
        [
            ({"amount": _PART_MINOR - 1, "reason": "too small"}, ["amount"]),
            ({"amount": _PART_MINOR}, ["reason"]),
            ({}, ["amount", "reason"]),
        ],
    ),
)


class _Payment(NamedTuple):
    """A payment of a seller of its own, whose answer is frozen."""

    shop: Storefront
    key: str
    seller: str

    async def operate(self, key: str, kind: _Kind, body: dict[str, object]) -> Reply:
        return await self.shop.operate(self.key, kind.path, key, body)

    async def ended(self, key: str, kind: _Kind, body: dict[str, object]) -> Reply:
        """Repeat a request until its answer is frozen. Raises Violated."""
        until_s = time.monotonic() + SETTLE_S_MAX
        reply = Reply(status=0)
        while time.monotonic() < until_s:
            reply = await self.shop.operate(self.key, kind.path, key, body, wait_s=SETTLE_WAIT_S)
            if reply.status not in (0, 202, 503):
                return reply
            if reply.status == 503:
                expect_retryable(reply)
            await asyncio.sleep(_AGAIN_S)
        raise Violated(f"a {kind.name} did not end; the last answer: {reply}")

    async def expect_left(self, amount_minor: int) -> None:
        """Check what the seller has of it, which pays no fee."""
        until_s = time.monotonic() + WALLET_S_MAX
        while True:
            reply = await self.shop.wallet(self.seller)
            expect_status(reply, 200, when="GET of the wallet")
            held = sum(balance["posted"] for balance in reply.body["balances"])
            if held == amount_minor or time.monotonic() >= until_s:
                break
            await asyncio.sleep(_AGAIN_S)
        expect(held == amount_minor, f"the seller's wallet holds {held}, not {amount_minor}")


async def _payment(
    deployment: Deployment, kind: _Kind, shop: Storefront | None = None, key: str | None = None
) -> _Payment:
    shop = shop or deployment.shop
    seller = await deployment.new_seller(shop)
    key = key or new_key()
    await settled(shop, key, order(seller=seller, capture=kind.capture))
    return _Payment(shop, key, seller)


async def _again(kind: _Kind, deployment: Deployment) -> None:
    payment, key = await _payment(deployment, kind), new_key()
    first = await payment.ended(key, kind, kind.body)
    expect_status(first, 201, when=f"a {kind.name}")
    expect(first.body.get("status") == "succeeded", f"a {kind.name} is {first.body.get('status')}")
    for _ in range(_REPEATS):
        again = await payment.operate(key, kind, kind.body)
        expect_frozen(first, again, when=f"a repeated {kind.name}")
    await payment.expect_left(kind.left_minor)


async def _twins(kind: _Kind, deployment: Deployment) -> None:
    payment, key = await _payment(deployment, kind), new_key()
    replies = await together(payment.operate(key, kind, kind.body) for _ in range(_TWIN_COUNT))
    for reply in replies:
        expect_status(reply, 201, 202, when=f"a twin of a {kind.name}")
    names = {reply.body.get("id") for reply in replies}
    expect(len(names) == 1, f"the twins tell of {len(names)} operations")
    ended = await payment.ended(key, kind, kind.body)
    expect(ended.body.get("id") in names, f"the {kind.name} that ended is none of the twins")
    await payment.expect_left(kind.left_minor)


async def _other_body(kind: _Kind, deployment: Deployment) -> None:
    payment, key = await _payment(deployment, kind), new_key()
    first = await payment.ended(key, kind, kind.body)
    for body, differs in kind.others:
        reply = await payment.operate(key, kind, body)
        expect_reused(reply, differs, when=f"another {kind.name} under the key")
    expect_frozen(first, await payment.operate(key, kind, kind.body), when="the first one again")
    await payment.expect_left(kind.left_minor)


for _kind in _KINDS:
    _told = f"A repeated {_kind.name} gets the same bytes, and is done once."
    OPERATIONS.add(f"{_kind.name}_again", _told, partial(_again, _kind))
    _told = f"Of {_kind.name}s under one key that arrive together one is done."
    OPERATIONS.add(f"{_kind.name}_twins", _told, partial(_twins, _kind))
    if _kind.others:
        _told = f"Another {_kind.name} under a used key is 422 that names what differs."
        OPERATIONS.add(f"{_kind.name}_other_body", _told, partial(_other_body, _kind))

_CAPTURE, _VOID, _REFUND = _KINDS


@OPERATIONS.row("What the books refuse is refused for ever, in the same bytes, and moves nothing.")
async def refusal_again(deployment: Deployment) -> None:
    payment, key = await _payment(deployment, _REFUND), new_key()
    body: dict[str, object] = {"amount": AMOUNT_MINOR + 1}
    first = await payment.ended(key, _REFUND, body)
    expect_problem(first, 422, "refund_exceeds_captured", when="a refund of more than there is")
    for _ in range(_REPEATS):
        again = await payment.operate(key, _REFUND, body)
        expect_frozen(first, again, when="a repeated refusal")
    await payment.expect_left(AMOUNT_MINOR)


@OPERATIONS.row("Refunds that are under way together never come to more than was captured.")
async def refunds_together(deployment: Deployment) -> None:
    payment, keys = await _payment(deployment, _REFUND), [new_key() for _ in range(3)]
    body: dict[str, object] = {"amount": _MOST_MINOR}
    replies = await together(payment.ended(key, _REFUND, body) for key in keys)
    statuses = sorted(reply.status for reply in replies)
    expect(statuses == [201, 422, 422], f"three refunds of two thirds were answered {statuses}")
    await payment.expect_left(AMOUNT_MINOR - _MOST_MINOR)


@OPERATIONS.row(
    "One key names a payment, its capture, its refund and a checkout: each is done once."
)
async def key_across_kinds(deployment: Deployment) -> None:
    payment = await _payment(deployment, _CAPTURE)
    # The payment's own key, once more for everything else.
    names = set()
    for kind in (_CAPTURE, _REFUND):
        reply = await payment.ended(payment.key, kind, {"amount": _PART_MINOR})
        expect_status(reply, 201, when=f"a {kind.name} under the payment's own key")
        names.add(reply.body.get("id"))
    expect(len(names) == 2, "the capture and the refund are one")
    ordered = new_key()
    body = {
        "orders": [{"id": ordered, "seller": payment.seller, **_ORDER}],
        "payment_method": "tok_approve",
    }
    reply = await payment.shop.post_checkout(payment.key, body, wait_s=SETTLE_WAIT_S)
    expect_status(reply, 201, 202, when="a checkout under the payment's own key")
    await payment.expect_left(AMOUNT_MINOR)


_ORDER: dict[str, object] = {"amount": AMOUNT_MINOR, "currency": "USD"}


@OPERATIONS.row("A key of one payment's refund is free for another payment's.")
async def key_of_another_payment(deployment: Deployment) -> None:
    key, names = new_key(), set()
    payments = [await _payment(deployment, _REFUND) for _ in range(2)]
    for payment in payments:
        reply = await payment.ended(key, _REFUND, _REFUND.body)
        expect_status(reply, 201, when="a refund under another payment's key")
        names.add(reply.body.get("id"))
    expect(len(names) == 2, "two payments' refunds are one")
    for payment in payments:
        await payment.expect_left(_REFUND.left_minor)


@OPERATIONS.row(
    "Nobody can capture or refund another merchant's payment, nor learn that it is there."
)
async def operation_of_a_stranger(deployment: Deployment) -> None:
    theirs = deployment.another_merchant()
    key = new_key()
    mine = await _payment(deployment, _REFUND)
    reply = await theirs.operate(mine.key, _REFUND.path, key, _REFUND.body)
    expect_problem(reply, 404, "payment_not_found", when="a refund of another merchant's payment")
    # Under the same keys, payment's and refund's, the other merchant has a life of its own.
    own = await _payment(deployment, _REFUND, theirs, mine.key)
    for payment in (own, mine):
        reply = await payment.ended(key, _REFUND, _REFUND.body)
        expect_status(reply, 201, when="a merchant's own refund")
        await payment.expect_left(_REFUND.left_minor)


@OPERATIONS.row("Two merchants' checkouts under one key never meet.")
async def checkout_of_a_stranger(deployment: Deployment) -> None:
    key, names = new_key(), set()
    for shop in (deployment.shop, deployment.another_merchant()):
        seller = await deployment.new_seller(shop)
        body = {
            "orders": [{"id": new_key(), "seller": seller, **_ORDER}],
            "payment_method": "tok_approve",
        }
        reply = await shop.post_checkout(key, body, wait_s=SETTLE_WAIT_S)
        expect_status(reply, 201, 202, when="a merchant's first checkout under the key")
        expect_marked(reply, is_replay=False, when="a merchant's first checkout under the key")
        names.add(reply.body.get("id"))
    expect(len(names) == 2, "both merchants' checkouts are one")
