"""``splits`` of a payment over HTTP: whose parts one charge has."""

from __future__ import annotations

from uuid import uuid4

import pytest

from payments.fingerprint import SPLIT_VERSION
from payments.splits import SPLITS_MAX
from tests.unit.gateway.stack import MERCHANT_ID, GatewayStack, checkout, payment

SHOES = {"id": "slr_shoes", "name": "Shoes", "fee": {"basis_points": 100, "fixed": {"USD": 5}}}
HATS = {"id": "slr_hats", "name": "Hats"}
SPLITS: list[dict[str, object]] = [
    {"seller": "slr_shoes", "amount": 1200},
    {"seller": "slr_hats", "amount": 700, "fee": 10},
    {"seller": MERCHANT_ID, "amount": 99, "fee": 0},
]


async def _sellers(stack: GatewayStack) -> None:
    for seller in (SHOES, HATS):
        assert (await stack.post("/v1/sellers", seller)).status == 201


async def test_a_charge_is_shared_among_its_sellers(stack: GatewayStack) -> None:
    """Each part has its seller's number, and the fee that was given or that its seller's schedule says."""
    await _sellers(stack)
    answer = await stack.pay(uuid4(), payment(splits=SPLITS))
    assert (answer.status, answer.json["fee"]) == (202, 17 + 10)
    assert answer.json["seller"] == MERCHANT_ID
    assert answer.json["splits"] == [
        {"seller": "slr_shoes", "amount": 1200, "fee": 17},
        {"seller": "slr_hats", "amount": 700, "fee": 10},
        {"seller": MERCHANT_ID, "amount": 99, "fee": 0},
    ]
    # Before its owner has taken it in, the queue's own command tells the same.
    assert (await stack.get(f"/v1/payments/{answer.json['id']}")).body == answer.body
    (command,) = stack.queued()
    assert command.splits is not None
    assert [split[1:] for split in command.splits] == [(1200, 17), (700, 10), (99, 0)]
    assert command.splits[2].seller_no == command.seller_no
    assert (command.fee_minor, command.fingerprint[0]) == (27, SPLIT_VERSION)


async def test_another_way_to_share_is_another_request(stack: GatewayStack) -> None:
    """The same key with the same splits is the same order; with others, or none, it is refused."""
    await _sellers(stack)
    key = uuid4()
    first = await stack.pay(key, payment(splits=SPLITS))
    again = await stack.pay(key, payment(splits=[*SPLITS[:2], SPLITS[2] | {"fee": 0}]))
    assert (again.status, again.body) == (202, first.body)
    for other in ([*SPLITS[:2], SPLITS[2] | {"fee": 1}], SPLITS[::-1], None):
        refused = await stack.pay(key, payment(splits=other))
        assert (refused.status, refused.code) == (422, "idempotency_key_reused")
        assert refused.json["details"] == {"differs": ["splits"]}
    assert len(stack.queued()) == 1


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"splits": []}, "splits_invalid", "$.splits"),
        ({"splits": SPLITS[:1], "amount": 1200}, "splits_invalid", "$.splits"),
        ({"splits": SPLITS, "amount": 2000}, "splits_invalid", "$.splits"),
        ({"splits": SPLITS, "seller": "slr_hats"}, "splits_invalid", "$.seller"),
        (
            {"splits": [{"seller": f"slr_{n}", "amount": 50} for n in range(SPLITS_MAX + 1)]},
            "splits_invalid",
            "$.splits",
        ),
        ({"splits": [SPLITS[0], SPLITS[0]]}, "splits_invalid", "$.splits[1].seller"),
        (
            {"splits": [SPLITS[0], SPLITS[1] | {"amount": 0}]},
            "splits_invalid",
            "$.splits[1].amount",
        ),
        ({"splits": [SPLITS[0], SPLITS[1] | {"fee": 701}]}, "splits_invalid", "$.splits[1].fee"),
        ({"splits": [SPLITS[0] | {"fee": -1}, SPLITS[1]]}, "splits_invalid", "$.splits[0].fee"),
        (
            {"splits": [*SPLITS[:2], SPLITS[2] | {"seller": "slr_nobody"}]},
            "seller_unknown",
            "$.splits[2].seller",
        ),
    ],
)
async def test_splits_that_do_not_fit_are_422(
    stack: GatewayStack, changes: dict[str, object], code: str, param: str
) -> None:
    """Nothing is kept, and the answer names the part and the rule."""
    await _sellers(stack)
    answer = await stack.pay(uuid4(), payment(**changes))
    assert (answer.status, answer.code, answer.json["param"]) == (422, code, param)
    assert stack.queued() == []


@pytest.mark.parametrize(
    ("splits", "code", "param"),
    [
        ([*SPLITS[:2], SPLITS[2] | {"amount": "9"}], "field_type_invalid", "$.splits[2].amount"),
        ([SPLITS[0], SPLITS[1] | {"tip": 1}], "field_unknown", "$.splits[1].tip"),
        ([{"amount": 1200}, SPLITS[1]], "field_missing", "$.splits[0].seller"),
        ([SPLITS[0], 700], "field_type_invalid", "$.splits[1]"),
        (SPLITS[0], "field_type_invalid", "$.splits"),
    ],
)
async def test_splits_of_a_wrong_shape_are_400_and_name_the_part(
    stack: GatewayStack, splits: object, code: str, param: str
) -> None:
    """Twenty parts may be many to look through: the one is named, of a payment and of an order alike."""
    answer = await stack.pay(uuid4(), payment(splits=splits))
    assert (answer.status, answer.code, answer.json["param"]) == (400, code, param)
    body = checkout(uuid4())
    body["orders"][0] |= {"splits": splits}  # type: ignore[index]
    answer = await stack.check_out(uuid4(), body)
    assert (answer.code, answer.json["param"]) == (code, f"$.orders[0]{param[1:]}")
    assert stack.queued() == []


async def test_a_member_named_twice_is_refused_within_a_split(stack: GatewayStack) -> None:
    """As anywhere in a body: the one might be checked, and the other acted on."""
    body = (
        b'{"amount":10,"currency":"USD","payment_method":"tok_approve","splits":['
        b'{"seller":"a","amount":5,"amount":5},{"seller":"b","amount":5}]}'
    )
    answer = await stack.pay(uuid4(), body)
    assert (answer.status, answer.code) == (400, "json_member_repeated")


async def test_an_order_of_a_checkout_may_have_splits(stack: GatewayStack) -> None:
    """It is shared as a payment is, its neighbour is not, and both ways to ask for it say the same."""
    await _sellers(stack)
    body = checkout(uuid4(), uuid4())
    body["orders"][0] |= {"amount": 1999, "splits": SPLITS}  # type: ignore[index]
    key = uuid4()
    told = await stack.check_out(key, body)
    assert told.status == 202
    assert [order.get("splits") for order in told.json["orders"]] == [
        [
            {"seller": "slr_shoes", "amount": 1200, "fee": 17},
            {"seller": "slr_hats", "amount": 700, "fee": 10},
            {"seller": MERCHANT_ID, "amount": 99, "fee": 0},
        ],
        None,
    ]
    shown = await stack.get(f"/v1/checkouts/{told.json['id']}")
    assert shown.json["orders"] == told.json["orders"]
    first, second = sorted(stack.queued(), key=lambda command: command.splits is None)
    assert (first.fee_minor, second.splits) == (27, None)
    body["orders"][0] |= {"splits": SPLITS[::-1]}  # type: ignore[index]
    refused = await stack.check_out(key, body)
    assert (refused.code, refused.json["details"]) == (
        "idempotency_key_reused",
        {"differs": ["orders"]},
    )


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"splits": SPLITS}, "splits_invalid", "$.orders[0].splits"),
        ({"splits": SPLITS, "seller": "slr_hats"}, "splits_invalid", "$.orders[0].seller"),
        (
            {"amount": 1999, "splits": [*SPLITS[:2], SPLITS[2] | {"seller": "slr_nobody"}]},
            "seller_unknown",
            "$.orders[0].splits[2].seller",
        ),
    ],
)
async def test_splits_of_an_order_that_do_not_fit_name_the_order(
    stack: GatewayStack, changes: dict[str, object], code: str, param: str
) -> None:
    """Nothing of the checkout is kept."""
    await _sellers(stack)
    body = checkout(uuid4())
    body["orders"][0] |= changes  # type: ignore[index]
    answer = await stack.check_out(uuid4(), body)
    assert (answer.status, answer.code, answer.json["param"]) == (422, code, param)
    assert stack.queued() == []
