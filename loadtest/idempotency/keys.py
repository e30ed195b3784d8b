"""Rows about the key itself: where it must stand, how it may be written, what comes of a bad one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loadtest.idempotency.promises import (
    APPROVED,
    expect_absent,
    expect_frozen,
    expect_marked,
    expect_order,
    expect_problem,
    expect_status,
    order,
    settled,
)
from loadtest.idempotency.rows import Deployment, RowList, new_key
from loadtest.idempotency.storefront import Body
from loadtest.idempotency.verdicts import expect

KEYS = RowList("key")

PARAM = "header:Idempotency-Key"


def bad_keys(key: str) -> Mapping[str, Sequence[str]]:
    """Return headers that are no key, by what is wrong with them; ``key`` is a good one."""
    return {
        "an empty key": [""],
        "a word": ["order-1001"],
        "a number": ["1001"],
        "a UUID without hyphens": [key.replace("-", "")],
        "a UUID in braces": [f"{{{key}}}"],
        "a URN": [f"urn:uuid:{key}"],
        "a UUID in single quotes": [f"'{key}'"],
        "a UUID with half of its quotes": [f'"{key}'],
        "a UUID and a bit": [f"{key}0"],
        "a UUID cut short": [key[:-1]],
        "two UUIDs in a list": [f"{key}, {new_key()}"],
        "the same UUID in two headers": [key, key],
    }


@KEYS.row("A request without a key is refused, and nothing is kept.")
async def key_missing(deployment: Deployment) -> None:
    reply = await deployment.shop.post((), order())
    expect_problem(reply, 400, "idempotency_key_missing", when="a request without a key")
    expect(reply.body.get("param") == PARAM, "the problem does not name the header")


@KEYS.row("What is no single UUID is refused, and no order comes of it.")
async def key_invalid(deployment: Deployment) -> None:
    key = new_key()
    for what, header in bad_keys(key).items():
        reply = await deployment.shop.post(header, order())
        expect_problem(reply, 400, "idempotency_key_invalid", when=what)
        expect(reply.body.get("param") == PARAM, f"{what}: the problem does not name the header")
        await expect_absent(deployment.shop, key, when=what)


@KEYS.row("Upper case and double quotes write the same key: one order, its id in lower case.")
async def key_forms(deployment: Deployment) -> None:
    key = new_key()
    first = await deployment.shop.post(f'"{key.upper()}"', order(), wait_s=20)
    expect_status(first, 201, when="a quoted key in upper case")
    expect_order(first.body, key, when="a quoted key in upper case")
    for form in (key, key.upper(), key.title(), f'"{key}"', f'"{key.upper()}"'):
        again = await deployment.shop.post(form, order())
        expect_frozen(first, again, when=f"the key as {form}")


@KEYS.row("A request that validation refused keeps nothing: a corrected body may use its key.")
async def refused_by_validation(deployment: Deployment) -> None:
    bad: Mapping[str, tuple[int, Body]] = {
        "amount_too_small": (422, order(amount=0)),
        "currency_not_supported": (422, order(currency="XXX")),
        "seller_unknown": (422, order(seller=f"idem-none-{new_key()}")),
        "payment_method_invalid": (422, order("not a token")),
        "field_unknown": (400, order(amonut=1)),
        "field_missing": (400, {"amount": 1, "currency": "USD"}),
        "json_invalid": (400, b'{"amount": 1999,'),
        "pan_not_accepted": (422, order(description="4111 1111 1111 1111")),
    }
    for code, (status, body) in bad.items():
        key = new_key()
        refused = await deployment.shop.post(key, body)
        expect_problem(refused, status, code, when=f"a body with {code}")
        await expect_absent(deployment.shop, key, when=f"a body with {code}")
        corrected = await deployment.shop.post(key, order())
        expect_status(corrected, 201, 202, when=f"the corrected body after {code}")
        expect_marked(corrected, is_replay=False, when=f"the corrected body after {code}")
        await settled(deployment.shop, key, order(APPROVED))
