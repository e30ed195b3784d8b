"""What schemathesis can't know of a good request, because no schema can say it; the document says it in words.

A key of its own for each new order; a seller, and a cursor, that exist; one cursor at most; no card number; integers
without a fraction (JSON Schema counts 5.0 as one, and a count of money is never written so). Only requests that
are good by their schema are changed. Bad ones go out as they were drawn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import schemathesis

from payments.card_numbers import contains_card_number
from tests.openapi.known import EXISTING_PAYMENT, EXISTING_SELLER

_KEY = "Idempotency-Key"
_CURSORS = ("starting_after", "ending_before")
_EXISTING: Mapping[str, str] = {"/v1/payments": EXISTING_PAYMENT, "/v1/sellers": EXISTING_SELLER}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Make a request that is good by its schema good in fact."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.headers is not None and _KEY in case.headers:
        case.headers[_KEY] = str(uuid4())
    if isinstance(case.body, dict):
        case.body = _plain(case.body)
        if isinstance(case.body.get("seller"), str):
            case.body["seller"] = EXISTING_SELLER
    if case.query:
        existing = _EXISTING.get(case.operation.path)
        given = [name for name in _CURSORS if name in case.query and existing is not None]
        for name in given[:1]:
            case.query[name] = existing
        for name in given[1:]:
            del case.query[name]
        for name, value in list(case.query.items()):
            case.query[name] = _plain(value)


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
