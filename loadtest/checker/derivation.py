"""How identities follow from each other, told once more: the product's own code is what is checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
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


_FIELDS = (
    "amount",
    "currency",
    "seller",
    "checkout",
    "payment_method",
    "capture",
    "description",
    "metadata",
    "buyer",
)
_DEFAULTS: Mapping[str, object] = {
    "checkout": None,
    "capture": "automatic",
    "description": None,
    "metadata": {},
    "buyer": {},
}
_FINGERPRINT_VERSION = b"\x01"


def fingerprint(fields: Mapping[str, object], key: bytes) -> str:
    """Return the fingerprint of a request's business fields, with ``seller`` filled in.

    A version, a keyed BLAKE2b of all fields' canonical JSON, 16 bytes, and one of each, 4 bytes.
    """
    texts = []
    for name in _FIELDS:
        value = fields.get(name)
        texts.append(canonical_json(_DEFAULTS.get(name) if value is None else value).encode())
    whole = blake2b(b"\n".join(texts), digest_size=16, key=key, person=b"payment_order").digest()
    parts = [
        blake2b(text, digest_size=4, key=key, person=name.encode()).digest()
        for name, text in zip(_FIELDS, texts, strict=True)
    ]
    return b"".join((_FINGERPRINT_VERSION, whole, *parts)).hex()


def canonical_json(value: object) -> str:
    """Return the one text of a value: ASCII, sorted, no white space, null members left out."""
    return json.dumps(_without_nulls(value), sort_keys=True, separators=(",", ":"))


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return value
