"""How identities follow from each other, told once more: the product's own code is what is checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from uuid import UUID, uuid5

# The namespace of a deployment's orders. The product must never change it.
_NAMESPACE = UUID("7a11f57c-0b5e-4d2a-9c3e-5d1ed6e7a0c4")
_OPERATION_NAMESPACE = UUID("2b9d64a0-3c1f-4e57-8d0a-9f6e1b7c5a38")
_CHECKOUT_NAMESPACE = UUID("c5a1f0e2-3c8d-4f43-8a57-1f2b9b6a7d11")
_LETTERS = "bcdfghjkmnpqrstv"


def order_uuid(merchant: str, mode: str, key: str) -> str:
    """Return the identity of a merchant's order. ``key`` is the idempotency key as a UUID's text."""
    return str(uuid5(_NAMESPACE, f"{merchant}|{mode}|{key}"))


def operation_uuid(payment: str, kind: str, key: str) -> str:
    """Return the identity of a capture, void or refund of the order ``payment``, by its own key."""
    return str(uuid5(_OPERATION_NAMESPACE, f"{payment}|{kind}|{key}"))


def checkout_id(merchant: str, mode: str, key: str) -> str:
    """Return a checkout's public id."""
    return f"co_{_in_letters(checkout_uuid(merchant, mode, key).replace('-', ''))}"


def checkout_uuid(merchant: str, mode: str, key: str) -> str:
    """Return the identity of a merchant's checkout."""
    return str(uuid5(_CHECKOUT_NAMESPACE, f"{merchant}|{mode}|{key}"))


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
# Of an order of several sellers: their parts stand in the seller's place.
_SPLIT_FIELDS = tuple("splits" if name == "seller" else name for name in _FIELDS)
_FINGERPRINT_VERSION = b"\x01"
_SPLIT_FINGERPRINT_VERSION = b"\x02"
_FINGERPRINT_BYTES = 1 + 16 + 4 * len(_FIELDS)


def fingerprint(fields: Mapping[str, object], key: bytes) -> str:
    """Return the fingerprint of a request's business fields, with ``seller`` filled in.

    A version, a keyed BLAKE2b of all fields' canonical JSON, 16 bytes, and one of each, 4 bytes.
    """
    has_splits = fields.get("splits") is not None
    names = _SPLIT_FIELDS if has_splits else _FIELDS
    version = _SPLIT_FINGERPRINT_VERSION if has_splits else _FINGERPRINT_VERSION
    texts = []
    for name in names:
        value = fields.get(name)
        texts.append(canonical_json(_DEFAULTS.get(name) if value is None else value).encode())
    whole = blake2b(b"\n".join(texts), digest_size=16, key=key, person=b"payment_order").digest()
    parts = [
        blake2b(text, digest_size=4, key=key, person=name.encode()).digest()
        for name, text in zip(names, texts, strict=True)
    ]
    return b"".join((version, whole, *parts)).hex()


def operation_fingerprint(amount_minor: int | None, reason: str | None, key: bytes) -> str:
    """Return the fingerprint of a capture's, void's or refund's body: laid out as an order's, the rest zeros."""
    texts = [canonical_json(value).encode() for value in (amount_minor, reason)]
    whole = blake2b(b"\n".join(texts), digest_size=16, key=key, person=b"operation").digest()
    parts = [
        blake2b(text, digest_size=4, key=key, person=b"operation " + name).digest()
        for name, text in zip((b"amount", b"reason"), texts, strict=True)
    ]
    return b"".join((_FINGERPRINT_VERSION, whole, *parts)).ljust(_FINGERPRINT_BYTES, b"\0").hex()


_CHECKOUT_FIELDS = ("orders", "payment_method", "hosted", "metadata", "buyer")


def checkout_fingerprint(fields: Mapping[str, object], key: bytes) -> str:
    """Return the fingerprint of a checkout's business fields, with each order's ``seller`` filled in."""
    texts = [canonical_json(fields.get(name)).encode() for name in _CHECKOUT_FIELDS]
    content = b"\n".join((b"checkout", *texts))
    whole = blake2b(content, digest_size=16, key=key, person=b"checkout").digest()
    parts = [
        blake2b(b"checkout\n" + text, digest_size=4, key=key, person=name.encode()).digest()
        for name, text in zip(_CHECKOUT_FIELDS, texts, strict=True)
    ]
    return b"".join((_FINGERPRINT_VERSION, whole, *parts)).ljust(_FINGERPRINT_BYTES, b"\0").hex()


def canonical_json(value: object) -> str:
    """Return the one text of a value: ASCII, sorted, no white space, null members left out."""
    return json.dumps(_without_nulls(value), sort_keys=True, separators=(",", ":"))


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value
