"""The fingerprint of an operation's business fields: was this key used with the same request?

Of the same length, form and version as an order's (payments.fingerprint), so that queue and owners hold
both against each other in one way. Payment and kind are not in it: the identity derives from them.
"""

from __future__ import annotations

import hashlib

from payments.fingerprint import (
    FIELD_BYTES,
    FINGERPRINT_BYTES,
    VERSION,
    WHOLE_BYTES,
    canonical_json,
    same,
)

FIELDS = ("amount", "reason")
"""What is compared, in the order ``differs`` reports it."""

_PERSON_WHOLE = b"operation"


def operation_fingerprint(amount_minor: int | None, reason: str | None, key: bytes) -> bytes:
    """Return FINGERPRINT_BYTES: version, keyed digest of the whole, a keyed digest a field, padding."""
    texts = [canonical_json(value).encode("ascii") for value in (amount_minor, reason)]
    whole = _digest(b"\n".join(texts), WHOLE_BYTES, key, _PERSON_WHOLE)
    digests = [
        _digest(text, FIELD_BYTES, key, b"operation " + field.encode()[:6])
        for field, text in zip(FIELDS, texts, strict=True)
    ]
    return b"".join((bytes([VERSION]), whole, *digests)).ljust(FINGERPRINT_BYTES, b"\0")


def differs(a: bytes, b: bytes) -> list[str]:
    """Return the fields that differ; empty only when the two are the same, all where no digest tells."""
    if same(a, b):
        return []
    starts = range(1 + WHOLE_BYTES, FINGERPRINT_BYTES, FIELD_BYTES)
    found = [
        field
        for start, field in zip(starts, FIELDS, strict=False)
        if a[start : start + FIELD_BYTES] != b[start : start + FIELD_BYTES]
    ]
    return found or list(FIELDS)


def _digest(text: bytes, size: int, key: bytes, person: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=size, key=key, person=person).digest()
