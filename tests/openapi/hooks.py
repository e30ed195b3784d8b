"""What schemathesis can't know of a good request, because no schema can say it; the document says it in words.

A key of its own for each new order; a seller, and a cursor, that exist; parts that sum to their order; one cursor at
most; no more than there is left; no card number; integers without a fraction (JSON Schema counts 5.0 as one, and a
count of money is never written so). Only requests that are good by their schema are changed. Bad ones go out as they
were drawn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import schemathesis

from payments.card_numbers import contains_card_number
from tests.openapi.known import ANOTHER_SELLER, EXISTING_PAYMENT, EXISTING_SELLER

_KEY = "Idempotency-Key"
_CURSORS = ("starting_after", "ending_before")
# Of other lists nothing is known to exist.
_EXISTING: Mapping[str, str] = {"/v1/payments": EXISTING_PAYMENT, "/v1/sellers": EXISTING_SELLER}
# Each names a place of its own, and is given alone.
_ALONE = ("request_id", "after")
_WITH_IDS_ALONE = ("/v1/requests",)
# Their cursors have to name something; those of the others only have to have the form.
_CURSORS_EXIST = (
    "/v1/payments",
    "/v1/payments/{id}/refunds",
    "/v1/sellers",
    "/v1/checkouts",
    "/v1/disputes",
    "/v1/webhook_endpoints/{id}/deliveries",
)
_AMOUNTS_LEFT = ("/v1/payments/{id}/captures", "/v1/payments/{id}/refunds")
_RANGES = ("/v1/webhook_endpoints/{id}/resend",)
_RANGE = {"from": "2026-11-01T12:00:00Z", "to": "2026-11-01T13:00:00Z"}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Make a request that is good by its schema good in fact."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.headers is not None and _KEY in case.headers:
        case.headers[_KEY] = str(uuid4())
    if isinstance(case.body, dict):
        case.body = _good_body(_plain(case.body), case.operation.path)
    if case.query:
        case.query = _good_query(_plain(dict(case.query)), case.operation.path)


def _good_body(body: dict[str, Any], path: str) -> dict[str, Any]:
    for order in (body, *body.get("orders", ())):
        if isinstance(order.get("seller"), str):
            order["seller"] = EXISTING_SELLER
        if order.get("splits") is not None:
            _share(order)
        if order is not body:
            # It becomes a payment's key.
            order["id"] = str(uuid4())
    if path in _AMOUNTS_LEFT:
        # How much is left is not for a schema to say; without an amount it is all of it.
        body.pop("amount", None)
    if path in _RANGES:
        body.update(_RANGE)
    return body


def _share(order: dict[str, Any]) -> None:
    """Make the parts of an order two sellers', which sum to its amount: no schema can say that."""
    first, second = order["splits"][:2]
    if order["amount"] < 2:
        del order["splits"]
        return
    order.pop("seller", None)
    first_minor = min(first["amount"], order["amount"] - 1)
    parts = (
        (first, EXISTING_SELLER, first_minor),
        (second, ANOTHER_SELLER, order["amount"] - first_minor),
    )
    order["splits"] = [
        {**part, "seller": seller, "amount": minor}
        | ({"fee": min(part["fee"], minor)} if part.get("fee") is not None else {})
        for part, seller, minor in parts
    ]


def _good_query(query: dict[str, Any], path: str) -> dict[str, Any]:
    given = [name for name in _CURSORS if name in query]
    if path in _WITH_IDS_ALONE:
        given = []
        alone = next((name for name in _ALONE if name in query), None)
        if alone is not None:
            return {name: value for name, value in query.items() if name in (alone, "limit")}
    for number, name in enumerate(given):
        if number == 0 and path in _EXISTING:
            query[name] = _EXISTING[path]
        elif number > 0 or path in _CURSORS_EXIST:
            del query[name]
    return query


def _plain(value: Any) -> Any:
    """Return the value with whole numbers as integers, and without what looks like a card number."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, dict):
        return {_plain(name): _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str | int) and contains_card_number(str(value)):
        return 1999 if isinstance(value, int) else re.sub("[0-9]", "", value)
    return value
