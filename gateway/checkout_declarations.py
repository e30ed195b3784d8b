"""What there is to say of the checkouts' routes; their handlers are in ``gateway.checkouts``."""

from __future__ import annotations

from gateway.checkout_rendering import CHECKOUT_PATH_BASE
from gateway.checkout_requests import CheckoutBody
from gateway.openapi.common import FIELD_TEXT, IDEMPOTENCY_KEY, LIMIT, PREFER
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
from payments.checkouts import CHECKOUT_ORDERS_MAX, CheckoutStatus
from payments.identity import LETTERS
from payments.json_schema import TIME, Schema, constant, list_of, nullable, one_of, record, text

CHECKOUT_NOT_FOUND = Problem(
    code=Code.CHECKOUT_NOT_FOUND,
    detail="Neither the books nor the queue know such a checkout of this merchant and mode.",
)

_ID_PATTERN = f"^co_[{LETTERS}]{{32}}$"

HOSTED: Schema = record(
    "Hosted",
    "Where the provider's page sends the buyer back to.",
    {"success_url": text(), "cancel_url": text()},
)
CHECKOUT: Schema = record(
    "Checkout",
    "A buyer event with one or more orders, as it stands.",
    {
        "id": text(pattern=_ID_PATTERN),
        "object": constant("checkout"),
        "status": one_of(*CheckoutStatus),
        "is_payment_done": {"type": "boolean", "description": "Whether every order is paid."},
        "redirect_url": nullable(text("Where the buyer goes next; null when nowhere.")),
        "expires_at": nullable(text("Until when; RFC 3339.")),
        "hosted": nullable(HOSTED),
        "metadata": {"type": "object", "additionalProperties": text()},
        "created_at": TIME,
        "orders": {
            "type": "array",
            "items": PAYMENT,
            "minItems": 1,
            "maxItems": CHECKOUT_ORDERS_MAX,
        },
    },
)

_LOCATION = Header(
    name="Location",
    text="Where to read the checkout.",
    schema={"type": "string", "pattern": f"^{CHECKOUT_PATH_BASE}co_[{LETTERS}]{{32}}$"},
    is_required=True,
)
_REPLAYED = Header(
    name="Idempotent-Replayed",
    text="The key was used before with the same request: this is that checkout.",
    schema={"type": "string", "const": "true"},
)
_KEY_CHECK = Header(
    name="Tallystick-Key-Check",
    text="Accepted, but the books could not be asked whether the key, or an order's id, was used before.",
    schema={"type": "string", "const": "deferred"},
)
_APPLIED = Header(
    name="Preference-Applied",
    text="The answer was held, or would have been.",
    schema={"type": "string", "pattern": FIELD_TEXT},
)
_LINKS = (
    Link(name="checkout", operation="read_checkout", parameters={"id": "$response.body#/id"}),
)

_KEY = "2f0d8f51-6a55-4e0c-9a71-3c1f5b1f0e77"
_ORDER_ID = "5b0c7a44-1e6c-4b62-8a4e-2a9d1c7e4f30"
_METADATA = {"cart": "c-10"}
_REQUEST = {
    "orders": [{"id": _ORDER_ID, "seller": "slr_shoes", "amount": 1999, "currency": "USD"}],
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

CREATE = Declaration(
    name="create_checkout",
    tag=Tag.PAYMENTS,
    summary="Take a buyer event with one or more orders",
    text=(
        "Each order is a payment of its own, and is charged by itself. Ids are yours: an order's differs from every"
        " payment's. The buyer pays by `payment_method`, a token, or on the provider's page, `hosted`: one of the two,"
        " and the page's URLs are absolute. Send the same request again as often as you like: what is there is known,"
        " what is missing is brought in."
    ),
    parameters=(IDEMPOTENCY_KEY, PREFER),
    body=Body(of=CheckoutBody, text="The checkout. At most 64 KiB; no member twice."),
    answers=(
        Answered(
            status=201,
            text="Every order has ended, also by failing: look at each.",
            schema=CHECKOUT,
            headers=(_LOCATION, _REPLAYED, _KEY_CHECK, _APPLIED),
            links=_LINKS,
        ),
        Answered(
            status=202,
            text="The checkout and every order are stored on every copy promised, and run.",
            schema=CHECKOUT,
            headers=(_LOCATION, _REPLAYED, _KEY_CHECK, _APPLIED),
            links=_LINKS,
        ),
    ),
    problems=(
        Code.CHECKOUT_INVALID,
        Code.RETURN_URL_INVALID,
        Code.ORDER_ID_REUSED,
        Code.AMOUNT_TOO_SMALL,
        Code.AMOUNT_TOO_LARGE,
        Code.CURRENCY_NOT_SUPPORTED,
        Code.SELLER_UNKNOWN,
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
            name="key_reused",
            text="Another request under a checkout's key",
            headers={"Idempotency-Key": _KEY},
            body={**_REQUEST, "metadata": {"cart": "c-11"}},
            status=422,
            answer=problem_answer(
                Problem(
                    code=Code.IDEMPOTENCY_KEY_REUSED,
                    detail="This key names another request already. Nothing was charged for this one.",
                    param="header:Idempotency-Key",
                    details={"differs": ["metadata"]},
                )
            ),
        ),
    ),
)

READ = Declaration(
    name="read_checkout",
    tag=Tag.PAYMENTS,
    summary="Read a checkout",
    text="As it and its orders stand now, from the moment that it was accepted.",
    parameters=(
        Parameter(
            name="id",
            place="path",
            text="The checkout's id.",
            schema={"type": "string", "pattern": _ID_PATTERN},
            example=CHECKOUT_EXAMPLE["id"],
        ),
    ),
    answers=(Answered(status=200, text="The checkout.", schema=CHECKOUT),),
    problems=(Code.CHECKOUT_NOT_FOUND, Code.QUEUE_BACKPRESSURE),
    examples=(
        Example(
            name="missing",
            text="An id that names no checkout",
            path={"id": f"co_{LETTERS[0] * 32}"},
            status=404,
            answer=problem_answer(CHECKOUT_NOT_FOUND),
        ),
    ),
)

_CURSOR: Schema = {"type": "string", "pattern": _ID_PATTERN}

LIST = Declaration(
    name="list_checkouts",
    tag=Tag.PAYMENTS,
    summary="List checkouts",
    text="Newest first. It shows what the books have taken in, which is some milliseconds after it was accepted.",
    parameters=(
        LIMIT,
        Parameter(
            name="starting_after",
            place="query",
            text="The page after this checkout, which has to exist.",
            schema=_CURSOR,
        ),
        Parameter(
            name="ending_before",
            place="query",
            text="The page before it; one of the two cursors at most.",
            schema=_CURSOR,
        ),
    ),
    answers=(Answered(status=200, text="One page.", schema=list_of(CHECKOUT)),),
)
