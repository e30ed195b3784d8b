"""How checkouts are named: derived from their own keys, as orders are (payments.identity)."""

from __future__ import annotations

import re
from uuid import UUID, uuid5

from payments.defects import InvariantViolation
from payments.identity import LETTERS
from payments.mode import Mode

# The namespace of all checkouts' names: none of them is ever an order's.
CHECKOUT_NAMESPACE = UUID("c5a1f0e2-3c8d-4f43-8a57-1f2b9b6a7d11")

_TO_LETTERS = str.maketrans("0123456789abcdef", LETTERS)
_TO_HEX = str.maketrans(LETTERS, "0123456789abcdef")
_CHECKOUT_ID = re.compile(rf"co_([{LETTERS}]{{32}})")


def checkout_uuid(merchant_id: str, mode: Mode, idempotency_key: UUID) -> UUID:
    """Return a checkout's name inside: derived from its own key, as an order's is from the order's id."""
    if "|" in merchant_id:
        raise InvariantViolation("a merchant id with | could forge another merchant's checkouts")
    return uuid5(CHECKOUT_NAMESPACE, f"{merchant_id}|{mode.wire}|{idempotency_key}")


def checkout_id(checkout: UUID) -> str:
    """Return the public id of a checkout, ``co_…``."""
    return f"co_{checkout.hex.translate(_TO_LETTERS)}"


def parse_checkout_id(text: str) -> UUID | None:
    """Return what ``checkout_id`` wrote, or None when the text is no such id."""
    match = _CHECKOUT_ID.fullmatch(text)
    return None if match is None else UUID(match[1].translate(_TO_HEX))
