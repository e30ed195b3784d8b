"""Rows about what makes two requests the same: spellings that must not count, values that must.

Each is tried twice: while the order runs, when the queue has to know it, and once it has settled, when
the books do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from loadtest.idempotency.promises import (
    AMOUNT_MINOR,
    SLOW,
    expect_charged_once,
    expect_frozen,
    expect_reused,
    expect_running,
    expect_status,
    expect_wallet,
    order,
    settled,
)
from loadtest.idempotency.rows import Check, Deployment, RowList, new_key
from loadtest.idempotency.storefront import HeaderFields, Reply
from loadtest.idempotency.verdicts import NotTestable, expect

SAME = RowList("same request, written otherwise")
OTHER = RowList("other request")

Fields = dict[str, object]


def full_order(seller: str) -> Fields:
    """Return an order with every field; its texts have characters that JSON may write in two ways."""
    return order(
        SLOW,
        seller=seller,
        capture="automatic",
        description="Größe 42 / order 1001",
        metadata={"cart": "c-9", "été": "été"},
        buyer={"reference": "b-1", "email": "a@example.org", "name": "Zoë Example"},
    )


# --- the same --------------------------------------------------------------------------------------------


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _reversed(value: object) -> object:
    """Return it with the members of every object in the opposite order."""
    if not isinstance(value, Mapping):
        return value
    return {name: _reversed(value[name]) for name in reversed(value)}


def _escaped(value: object) -> bytes:
    """Return it with every letter of its texts, member names too, as a \\u escape."""
    if isinstance(value, Mapping):
        members = b",".join(_escaped(name) + b":" + _escaped(each) for name, each in value.items())
        return b"{" + members + b"}"
    if isinstance(value, str):
        return b'"' + b"".join(b"\\u%04x" % ord(letter) for letter in value) + b'"'
    return json.dumps(value).encode()


def member_orders(fields: Fields) -> Sequence[bytes]:
    """Return the members in other orders, those of inner objects too."""
    by_name = {name: fields[name] for name in sorted(fields)}
    return [_compact(_reversed(fields)), _compact(by_name), _compact(_reversed(by_name))]


def white_space(fields: Fields) -> Sequence[bytes]:
    """Return the body with white space wherever JSON allows it."""
    compact = _compact(fields)
    return [
        compact,
        json.dumps(fields, indent=8, ensure_ascii=False).encode(),
        json.dumps(fields, separators=("\t,\r\n", " :\n "), ensure_ascii=False).encode(),
        b" \r\n\t" + compact + b"\n\n",
    ]


def escapes(fields: Fields) -> Sequence[bytes]:
    """Return the texts in UTF-8, and as escapes in lower and upper case."""
    escaped = _escaped(fields)
    slashes = _compact(fields).replace(b"/", b"\\/")
    return [json.dumps(fields).encode(), escaped, _upper_escapes(escaped), slashes]


def _upper_escapes(text: bytes) -> bytes:
    return b"\\u".join(part[:4].upper() + part[4:] for part in text.split(b"\\u"))


def _same(variants: Callable[[Fields], Sequence[bytes]]) -> Check:
    async def check(deployment: Deployment) -> None:
        seller = await deployment.new_seller()
        fields = full_order(seller)
        tries: list[tuple[bytes, HeaderFields]] = [(each, ()) for each in variants(fields)]
        await _expect_same(deployment, fields, seller, tries)

    return check


async def _expect_same(
    deployment: Deployment,
    fields: Fields,
    seller: str,
    tries: Sequence[tuple[bytes, HeaderFields]],
) -> None:
    """Check that each way of writing the order is a replay, before and after it settles."""
    key = new_key()
    first = await deployment.shop.post(key, fields)
    expect_running(first, key, when="a first use", is_replay=False)
    for body, headers in tries:
        again = await deployment.shop.post(key, body, headers=headers)
        expect_status(again, 201, 202, when=f"{_shown(body)} while it runs")
    frozen = await settled(deployment.shop, key, fields)
    for body, headers in tries:
        again = await deployment.shop.post(key, body, headers=headers)
        expect_frozen(frozen, again, when=_shown(body))
    await expect_charged_once(deployment, key, frozen)
    await expect_wallet(deployment.shop, seller, AMOUNT_MINOR)


def _shown(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    return f"the body {text[:60]!r}…" if len(text) > 60 else f"the body {text!r}"


SAME.add("same_member_order", "The order of members does not count.", _same(member_orders))
SAME.add("same_white_space", "White space does not count.", _same(white_space))
SAME.add("same_escapes", "How a text is escaped does not count.", _same(escapes))


@SAME.row("What is left out, null or empty is the same as its default written out.")
async def same_defaults(deployment: Deployment) -> None:
    seller = await deployment.new_seller()
    short = order(SLOW, seller=seller)
    defaults: Sequence[Fields] = (
        {"capture": None, "description": None, "metadata": None, "buyer": None},
        {"capture": "automatic"},
        {"metadata": {}},
        {"buyer": {}},
        {"buyer": {"reference": None, "email": None, "name": None}},
        {"capture": "automatic", "metadata": {}, "buyer": {}, "description": None},
    )
    await _expect_same(
        deployment, short, seller, [(_compact({**short, **more}), ()) for more in defaults]
    )
    key = new_key()
    first = await deployment.shop.post(key, order(SLOW))
    expect_running(first, key, when="an order without a seller", is_replay=False)
    own = order(SLOW, seller=first.body["seller"])
    expect_status(
        await deployment.shop.post(key, own), 201, 202, when="the merchant's own id as seller"
    )
    frozen = await settled(deployment.shop, key, order(SLOW))
    for body in (own, order(SLOW, seller=None)):
        again = await deployment.shop.post(key, body)
        expect_frozen(frozen, again, when="the default seller, written otherwise")


@SAME.row("Headers don't count.")
async def same_headers(deployment: Deployment) -> None:
    seller = await deployment.new_seller()
    fields = full_order(seller)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers: Sequence[HeaderFields] = (
        [("User-Agent", "another shop")],
        [("Accept", "text/html"), ("Accept-Language", "de")],
        [("traceparent", trace)],
        [("Tallystick-Version", "2026-11-01")],
        [("Date", "Sun, 01 Nov 2026 12:00:00 GMT"), ("X-Client-Time", "2026-11-01T12:00:00Z")],
    )
    await _expect_same(deployment, fields, seller, [(_compact(fields), each) for each in headers])


# --- other values ----------------------------------------------------------------------------------------

_MANUAL_UNSUPPORTED = "not_supported_yet"

OTHER_VALUES: Mapping[str, Sequence[Fields]] = {
    "amount": ({"amount": AMOUNT_MINOR + 1}, {"amount": AMOUNT_MINOR - 1}, {"amount": 19_990}),
    "currency": ({"currency": "EUR"}, {"currency": "JPY"}),
    "payment_method": ({"payment_method": "tok_slow_1501"}, {"payment_method": "tok_approve"}),
    "description": (
        {"description": "order 1002"},
        {"description": "Größe 42 / order 1001 "},
        {"description": "größe 42 / order 1001"},
        {"description": None},
    ),
    "metadata": (
        {"metadata": {"cart": "c-9"}},
        {"metadata": {"cart": "c-9", "été": "ete"}},
        {"metadata": {"cart": "c-9", "ete": "été"}},
        {"metadata": {"cart": "été", "été": "c-9"}},
        {"metadata": {"cart": "c-9", "été": "été", "more": ""}},
        {"metadata": None},
    ),
    "buyer": (
        {"buyer": {"reference": "b-2", "email": "a@example.org", "name": "Zoë Example"}},
        {"buyer": {"reference": "b-1", "email": "b@example.org", "name": "Zoë Example"}},
        {"buyer": {"reference": "b-1", "email": "a@example.org"}},
        {"buyer": None},
    ),
}
"""Field -> changes of ``full_order`` that make another request, different in that field alone."""


def _other(field: str, changes: Sequence[Fields]) -> Check:
    async def check(deployment: Deployment) -> None:
        await _expect_other(deployment, [(each, [field]) for each in changes])

    return check


async def _expect_other(
    deployment: Deployment, changes: Sequence[tuple[Fields, Sequence[str]]]
) -> None:
    """Check that each change is refused, names its fields, and leaves the first order as it was."""
    seller = await deployment.new_seller()
    key, fields = new_key(), full_order(seller)
    first = await deployment.shop.post(key, fields)
    expect_running(first, key, when="a first use", is_replay=False)
    for change, differs in changes:
        reply = await deployment.shop.post(key, {**fields, **change})
        expect_reused(reply, differs, when=f"{change} while it runs")
    frozen = await settled(deployment.shop, key, fields)
    for change, differs in changes:
        for wait_s in (0, 5):
            reply = await deployment.shop.post(key, {**fields, **change}, wait_s=wait_s)
            expect_reused(reply, differs, when=str(change))
    expect_frozen(frozen, await deployment.shop.post(key, fields), when="the first request again")
    await expect_charged_once(deployment, key, frozen)
    await expect_wallet(deployment.shop, seller, AMOUNT_MINOR)


for _field, _changes in OTHER_VALUES.items():
    OTHER.add(
        f"other_{_field}",
        f"Another {_field.replace('_', ' ')} under a used key is 422 and charges nothing.",
        _other(_field, _changes),
    )


@OTHER.row("Another seller under a used key is 422 and charges nothing.")
async def other_seller(deployment: Deployment) -> None:
    another = await deployment.new_seller()
    await _expect_other(
        deployment, [({"seller": another}, ["seller"]), ({"seller": None}, ["seller"])]
    )
    wallet = await deployment.shop.wallet(another)
    expect(wallet.body["balances"] == [], "the refused request's seller was credited")


@OTHER.row("Several changes at once are all named, in the documented order.")
async def other_fields(deployment: Deployment) -> None:
    await _expect_other(
        deployment,
        [
            ({"amount": 1, "currency": "EUR"}, ["amount", "currency"]),
            ({"buyer": None, "metadata": None}, ["metadata", "buyer"]),
            (
                {"description": "x", "payment_method": "tok_approve", "amount": 1},
                ["amount", "payment_method", "description"],
            ),
        ],
    )


@OTHER.row("Another capture mode under a used key is 422 and charges nothing.")
async def other_capture(deployment: Deployment) -> None:
    key = new_key()
    probe: Reply = await deployment.shop.post(key, order(capture="manual"))
    if probe.code == _MANUAL_UNSUPPORTED:
        raise NotTestable("the deployment has automatic capture alone")
    await _expect_other(deployment, [({"capture": "manual"}, ["capture"])])


@OTHER.row("The first request under a key stands, also where it was declined.")
async def other_after_decline(deployment: Deployment) -> None:
    key, body = new_key(), order("tok_decline_do_not_honor")
    frozen = await settled(deployment.shop, key, body, status=402)
    retry = await deployment.shop.post(key, order(), wait_s=5)
    expect_reused(retry, ["payment_method"], when="another token after a decline")
    expect_frozen(frozen, await deployment.shop.post(key, body), when="the declined request again")
