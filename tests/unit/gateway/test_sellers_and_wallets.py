"""Sellers and wallets over HTTP."""

from __future__ import annotations

from uuid import uuid4

import pytest

from payments.mode import Mode
from storage.read_ports import Balance
from tests.unit.gateway.stack import MERCHANT_ID, GatewayStack, payment

SELLER = {
    "id": "slr_shoes",
    "name": "Shoes",
    "fee": {"basis_points": 100, "fixed": {"USD": 5}},
}


async def test_a_seller_is_created_and_credited(stack: GatewayStack) -> None:
    """A new seller can be named at once, and its own fee applies."""
    created = await stack.post("/v1/sellers", SELLER)
    assert created.status == 201
    assert created.json["object"] == "seller"
    assert created.json["fee"] == SELLER["fee"]
    paid = await stack.pay(uuid4(), payment(amount=1000, seller="slr_shoes"))
    assert (paid.json["seller"], paid.json["fee"]) == ("slr_shoes", 15)
    shown = await stack.get(f"/v1/payments/{paid.json['id']}")
    assert shown.body == paid.body


async def test_a_seller_without_a_fee_has_the_merchants_own(stack: GatewayStack) -> None:
    """The fee may be left out: then the merchant's own applies."""
    created = await stack.post("/v1/sellers", {"id": "slr_hats", "name": "Hats"})
    assert created.json["fee"] == {"basis_points": 290, "fixed": {}, "fixed_default": 30}


async def test_a_taken_id_is_a_conflict(stack: GatewayStack) -> None:
    """An id names one seller of a merchant and mode; another mode has its own."""
    await stack.post("/v1/sellers", SELLER)
    again = await stack.post("/v1/sellers", SELLER)
    assert (again.status, again.code) == (409, "seller_exists")
    live = await stack.post("/v1/sellers", SELLER, key=stack.issue_key(mode=Mode.LIVE))
    assert live.status == 201


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"id": "me"}, "seller_invalid", "$.id"),
        ({"id": "Shoes"}, "seller_invalid", "$.id"),
        ({"id": "mrc_other"}, "seller_invalid", "$.id"),
        ({"name": ""}, "seller_invalid", "$.name"),
        ({"name": "a\0"}, "text_invalid", "$.name"),
        ({"fee": {"basis_points": 10_001}}, "fee_invalid", "$.fee.basis_points"),
        ({"fee": {"basis_points": -1}}, "fee_invalid", "$.fee.basis_points"),
        ({"fee": {"basis_points": 1, "fixed": {"usd": 1}}}, "fee_invalid", "$.fee.fixed.usd"),
        ({"fee": {"basis_points": 1, "fixed": {"x`1": 1}}}, "fee_invalid", "$.fee.fixed"),
        ({"fee": {"basis_points": "1"}}, "field_type_invalid", "$.fee.basis_points"),
        ({"fee": {"fixed": {}}}, "field_missing", "$.fee.basis_points"),
        ({"mode": "test"}, "field_unknown", "$.mode"),
    ],
)
async def test_bad_sellers_are_refused(
    stack: GatewayStack, changes: dict[str, object], code: str, param: str
) -> None:
    """A seller that can't be is refused, and says why."""
    answer = await stack.post("/v1/sellers", {**SELLER, **changes})
    assert (answer.code, answer.json["param"]) == (code, param)


async def test_sellers_are_listed_in_pages(stack: GatewayStack) -> None:
    """The list is ordered by id and pages by it."""
    for name in ("slr_a", "slr_b", "slr_c"):
        await stack.post("/v1/sellers", {**SELLER, "id": name})
    first = await stack.get("/v1/sellers?limit=2")
    assert [item["id"] for item in first.json["data"]] == [MERCHANT_ID, "slr_a"]
    assert first.json["has_more"] is True
    rest = await stack.get("/v1/sellers?limit=2&starting_after=slr_a")
    assert [item["id"] for item in rest.json["data"]] == ["slr_b", "slr_c"]
    assert rest.json["has_more"] is False
    assert (await stack.get("/v1/sellers?status=x")).code == "parameter_unknown"


@pytest.mark.parametrize("cursor", ["slr_nobody", "x" * 65, "a%00", ""])
async def test_a_cursor_of_no_seller_is_refused(stack: GatewayStack, cursor: str) -> None:
    """A cursor that names no seller of this merchant and mode is refused by name."""
    answer = await stack.get(f"/v1/sellers?starting_after={cursor}")
    assert (answer.status, answer.code) == (400, "parameter_invalid")
    assert answer.json["param"] == "query:starting_after"


async def test_a_wallet_shows_its_balances(stack: GatewayStack) -> None:
    """`me` is the merchant's own wallet; an empty one has no balances."""
    balance = Balance(currency="USD", posted_minor=1911, pending_minor=0, available_minor=1911)
    own = stack.directory._merchants[1].sellers[Mode.TEST, MERCHANT_ID]
    stack.queries.put_wallet(1, Mode.TEST, own.seller_no, [balance])
    for owner in ("me", MERCHANT_ID):
        wallet = (await stack.get(f"/v1/wallets/{owner}")).json
        assert wallet["object"] == "wallet"
        assert wallet["owner"] == MERCHANT_ID
        assert wallet["balances"] == [
            {"currency": "USD", "posted": 1911, "pending": 0, "available": 1911}
        ]
        assert wallet["as_of"].endswith("Z")
    await stack.post("/v1/sellers", SELLER)
    assert (await stack.get("/v1/wallets/slr_shoes")).json["balances"] == []


async def test_an_unknown_wallet_is_404(stack: GatewayStack) -> None:
    """Nobody sees a wallet that is not his, or not there."""
    answer = await stack.get("/v1/wallets/slr_nobody")
    assert (answer.status, answer.code) == (404, "wallet_not_found")


async def test_reads_say_when_the_books_are_away(stack: GatewayStack) -> None:
    """Lists and wallets are 503 while Postgres can't be read, never empty."""
    await stack.get("/v1/wallets/me")
    stack.queries.is_available = False
    for path in ("/v1/wallets/me", "/v1/payments"):
        answer = await stack.get(path)
        assert (answer.status, answer.code) == (503, "store_unavailable")
    stack.directory.is_available = False
    assert (await stack.get("/v1/sellers")).status == 503
    created = await stack.post("/v1/sellers", SELLER)
    assert created.json["details"] == {"may_run": True}
