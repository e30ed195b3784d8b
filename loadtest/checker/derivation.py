"""How identities follow from each other, told once more: the product's own code is what is checked."""

from __future__ import annotations

from uuid import UUID, uuid5

# The namespace of a deployment's orders. The product must never change it.
_NAMESPACE = UUID("7a11f57c-0b5e-4d2a-9c3e-5d1ed6e7a0c4")
_LETTERS = "bcdfghjkmnpqrstv"


def order_uuid(merchant: str, mode: str, key: str) -> str:
    """Return the identity of a merchant's order. ``key`` is the idempotency key as a UUID's text."""
    return str(uuid5(_NAMESPACE, f"{merchant}|{mode}|{key}"))


def psp_key(order: str, attempt_no: int) -> str:
    """Return the key of one attempt at a PSP: nothing of the owner is in it."""
    return f"tly_{_in_letters(UUID(order).hex)}_{_in_letters(format(attempt_no, 'x'))}"


def _in_letters(hexadecimal: str) -> str:
    return "".join(_LETTERS[int(digit, 16)] for digit in hexadecimal)
