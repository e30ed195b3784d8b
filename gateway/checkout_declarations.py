"""What there is to say of the checkouts' routes; their handlers are in ``gateway.checkouts``."""

from __future__ import annotations

from gateway.checkout_rendering import CHECKOUT_PATH_BASE
from gateway.checkout_requests import CheckoutBody
from gateway.openapi.common import APPLIED, IDEMPOTENCY_KEY, KEY_CHECK, LIMIT, PREFER, REPLAYED
from gateway.openapi.declarations import (
    Answered,
    Body,
    Declaration,
    Example,
    Header,
    Link,
    Parameter,
    Tag,
    problem_answer,
)
from gateway.payment_examples import PAYMENT_EXAMPLE
from gateway.problems import Code, Problem
from payments.answer_schema import PAYMENT
from payments.checkouts import CheckoutStatus
from payments.json_schema import TIME, Schema, constant, list_of, nullable, one_of, record, text

CHECKOUT_NOT_FOUND = Problem(
    code=Code.CHECKOUT_NOT_FOUND,
    detail="Neither the books nor the queue know such a checkout of this merchant and mode.",
)

_ID_PATTERN = "^co_[bcdfghjkmnpqrstv]{32}$"

CHECKOUT: Schema = record(
    "Checkout",
    "One buyer event with one or more orders, each a payment of its own.",
    {
        "id": text(pattern=_ID_PATTERN),
        "object": constant("checkout"),
        "status": one_of(*(status.value for status in CheckoutStatus)),
        "is_payment_done": {
            "type": "boolean",
            "description": "Whether every order has succeeded.",
        },
        "redirect_url": nullable(text("Where the buyer pays, while it is the buyer's turn.")),
        "expires_at": nullable(text("When that page closes: RFC 3339.")),
        "hosted": nullable(
            record(
                "HostedPage",
                "Where the provider's page sends the buyer back to.",
                {"success_url": text(), "cancel_url": text()},
            )
        ),
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "created_at": TIME,
        "orders": {"type": "array", "items": PAYMENT},
    },
)
_LIST_OF_THEM: Schema = list_of(CHECKOUT)

_LOCATION = Header(
    name="Location",
    text="Where to read the checkout.",
    schema={"type": "string", "pattern": f"^{CHECKOUT_PATH_BASE}{_ID_PATTERN[1:]}"},
    is_required=True,
)
_LINKS = (
    Link(name="checkout", operation="read_checkout", parameters={"id": "$response.body#/id"}),
)

_ONE_OF_TWO: Schema = {
    "oneOf": [
        {
            "required": ["payment_method"],
            "properties": {"payment_method": {"type": "string"}, "hosted": {"type": "null"}},
        },
        {
            "required": ["hosted"],
            "properties": {"payment_method": {"type": "null"}, "hosted": {"type": "object"}},
        },
    ]
}

_KEY = "2f0d8f51-6a55-4e0c-9a71-3c1f5b1f0e77"
_ORDER_ID = "5b0c7a44-1e6c-4b62-8a4e-2a9d1c7e4f30"
_HOSTED_KEY = "c0a5e3d2-8b1f-4d6c-9e47-1f2a3b4c5d6e"
_METADATA = {"cart": "c-10"}
_ORDER = {"id": _ORDER_ID, "seller": "slr_shoes", "amount": 1999, "currency": "USD"}
_REQUEST = {
    "orders": [_ORDER],
    "payment_method": "tok_approve",
    "metadata": _METADATA,
}
CHECKOUT_EXAMPLE: dict[str, object] = {
    "id": "co_bcdfghjkmnpqrstvbcdfghjkmnpqrstv",
    "object": "checkout",
    "status": "succeeded",
    "is_payment_done": True,
    "redirect_url": None,
    "expires_at": None,
    "hosted": None,
    "metadata": _METADATA,
    "created_at": "2026-11-01T12:00:00.000Z",
    "orders": [{**PAYMENT_EXAMPLE, "id": _ORDER_ID, "metadata": _METADATA}],
}
_HOSTED_ORDER_ID = "7e3b1f0a-52c8-4f0e-b5a7-9d1c2e6f8a44"
_PAGE = {"success_url": "https://shop.example/thanks", "cancel_url": "https://shop.example/cart"}
_PAGE_URL = "https://psp.example/pay/ch_bcdfghjkmnpqrstvbcdf"
_HOSTED_EXAMPLE: dict[str, object] = {
    **CHECKOUT_EXAMPLE,
    "status": "requires_action",
    "is_payment_done": False,
    "redirect_url": _PAGE_URL,
    "expires_at": "2026-11-01T12:15:00.000Z",
    "hosted": _PAGE,
    "orders": [
        {
            **PAYMENT_EXAMPLE,
            "id": _HOSTED_ORDER_ID,
            "status": "requires_action",
            "amount_captured": 0,
            "next_action": {
                "type": "redirect",
                "url": _PAGE_URL,
                "expires_at": "2026-11-01T12:15:00.000Z",
            },
            "metadata": _METADATA,
            "effective_at": None,
            "ledger_updated_at": None,
            "wallet_updated_at": None,
        }
    ],
}

CREATE = Declaration(
    name="create_checkout",
    tag=Tag.CHECKOUTS,
    summary="Start a checkout",
    text=(
        "With a payment method, which is charged once for each order, or with a payment page of the provider,"
        " for which the answer carries a `redirect_url`. Each order has an id of its own: the payment's, which"
        " no other request may have used. One of the two, `payment_method` or `hosted`, is given."
    ),
    parameters=(IDEMPOTENCY_KEY, PREFER),
    body=Body(of=CheckoutBody, text="The checkout.", more=_ONE_OF_TWO),
    answers=(
        Answered(
            status=201,
            text="Every order has ended, however: `status` says what it came to.",
            schema=CHECKOUT,
            headers=(_LOCATION, REPLAYED, KEY_CHECK, APPLIED),
            links=_LINKS,
        ),
        Answered(
            status=202,
            text="It is stored on every copy promised, and orders of it are still open.",
            schema=CHECKOUT,
            headers=(_LOCATION, REPLAYED, KEY_CHECK, APPLIED),
            links=_LINKS,
        ),
    ),
    problems=(
        Code.CHECKOUT_INVALID,
        Code.ORDER_ID_REUSED,
        Code.RETURN_URL_INVALID,
        Code.AMOUNT_TOO_SMALL,
        Code.AMOUNT_TOO_LARGE,
        Code.CURRENCY_NOT_SUPPORTED,
        Code.SELLER_UNKNOWN,
        Code.SPLITS_INVALID,
        Code.PAYMENT_METHOD_INVALID,
        Code.SANDBOX_TOKEN_REFUSED,
        Code.DESCRIPTION_TOO_LONG,
        Code.METADATA_INVALID,
        Code.BUYER_INVALID,
        Code.TEXT_INVALID,
        Code.IDEMPOTENCY_KEY_REUSED,
        Code.QUEUE_BACKPRESSURE,
    ),
    examples=(
        Example(
            name="paid",
            text="A checkout of one order, waited for",
            headers={"Idempotency-Key": _KEY, "Prefer": "wait=10"},
            body=_REQUEST,
            status=201,
            answer=CHECKOUT_EXAMPLE,
        ),
        Example(
            name="hosted",
            text="The same on a page of the provider: send the buyer to redirect_url",
            headers={"Idempotency-Key": _HOSTED_KEY, "Prefer": "wait=10"},
            body={
                "orders": [{**_ORDER, "id": _HOSTED_ORDER_ID}],
                "hosted": _PAGE,
                "metadata": _METADATA,
            },
            status=202,
            answer=_HOSTED_EXAMPLE,
        ),
    ),
)
READ = Declaration(
    name="read_checkout",
    tag=Tag.CHECKOUTS,
    summary="Read a checkout",
    text="As it stands now.",
    parameters=(
        Parameter(
            name="id",
            place="path",
            text="The checkout's id.",
            schema={"type": "string", "minLength": 1},
        ),
    ),
    answers=(Answered(status=200, text="The checkout.", schema=CHECKOUT),),
    problems=(Code.CHECKOUT_NOT_FOUND,),
    examples=(
        Example(
            name="missing",
            text="No such checkout",
            path={"id": f"co_{'b' * 32}"},
            status=404,
            answer=problem_answer(CHECKOUT_NOT_FOUND),
        ),
    ),
)


def _cursor(name: str, what: str) -> Parameter:
    return Parameter(
        name=name, place="query", text=what, schema={"type": "string", "pattern": _ID_PATTERN}
    )


LIST = Declaration(
    name="list_checkouts",
    tag=Tag.CHECKOUTS,
    summary="List checkouts",
    text="Newest first.",
    parameters=(
        LIMIT,
        _cursor("starting_after", "The page after this checkout, which has to exist."),
        _cursor("ending_before", "The page before it; one of the two cursors at most."),
    ),
    answers=(Answered(status=200, text="One page.", schema=_LIST_OF_THEM),),
)
