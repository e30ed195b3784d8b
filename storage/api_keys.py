"""API keys: how one is written, issued, read back and checked.

``sk_test_<key_id>_<secret>``: the key id finds the row, the secret proves that the caller holds
the key. The secret is stored as an HMAC under a pepper that the database never sees, so neither a
stolen dump nor a stolen pepper alone yields a key that works.
"""

from __future__ import annotations

import base64
import hmac
import re
from typing import NamedTuple

from payments.defects import InvariantViolation
from payments.mode import Mode
from storage.read_ports import ApiKeyRecord, KeyRole

# 60 bits: ids are public and may be logged; among a million keys two share an id with a chance of
# 4e-7, and then the primary key refuses the second.
KEY_ID_LENGTH = 12
# 160 bits: beyond guessing, also for a key that lives for years.
SECRET_LENGTH = 32
# Base32 carries 5 bits a character: 8 bytes cover the id (its 13th is cut off), 20 the secret.
KEY_ID_RANDOM_BYTES = 8
SECRET_RANDOM_BYTES = 20
RANDOM_BYTES = KEY_ID_RANDOM_BYTES + SECRET_RANDOM_BYTES

# An HMAC key shorter than its hash weakens it (RFC 2104, section 3).
PEPPER_BYTES_MIN = 32

_PREFIXES = {KeyRole.MERCHANT: "sk", KeyRole.OPERATOR: "op"}
_ROLES = {prefix: role for role, prefix in _PREFIXES.items()}
_MODES = {mode.wire: mode for mode in Mode}
API_KEY_PATTERN = (
    rf"(sk|op)_(test|live)_([a-z2-7]{{{KEY_ID_LENGTH}}})_([a-z2-7]{{{SECRET_LENGTH}}})"
)
_API_KEY = re.compile(API_KEY_PATTERN, re.ASCII)


class ParsedKey(NamedTuple):
    """What the text of a key claims. Nothing is proven before ``matches``."""

    key_id: str
    role: KeyRole
    mode: Mode


def issue_api_key(
    pepper: bytes,
    random_bytes: bytes,
    *,
    role: KeyRole,
    mode: Mode,
    merchant_no: int | None = None,
    merchant_id: str | None = None,
) -> tuple[str, ApiKeyRecord]:
    """Return a new key's text, shown once and kept nowhere, and the record to store.

    ``random_bytes`` are exactly RANDOM_BYTES of the caller's cryptographic source. A merchant's key
    names its merchant, an operator's key names none; else InvariantViolation.
    """
    if len(random_bytes) != RANDOM_BYTES:
        raise InvariantViolation(f"an API key needs {RANDOM_BYTES} random bytes")
    is_merchants = role is KeyRole.MERCHANT
    if (merchant_no is not None) != is_merchants or (merchant_id is not None) != is_merchants:
        raise InvariantViolation(
            "a merchant's key names its merchant, an operator's key names none"
        )
    key_id = _base32(random_bytes[:KEY_ID_RANDOM_BYTES])[:KEY_ID_LENGTH]
    secret = _base32(random_bytes[KEY_ID_RANDOM_BYTES:])
    text = f"{_PREFIXES[role]}_{mode.wire}_{key_id}_{secret}"
    record = ApiKeyRecord(
        key_id=key_id,
        secret_hmac=_keyed_digest(pepper, text),
        role=role,
        merchant_no=merchant_no,
        merchant_id=merchant_id,
        mode=mode,
        is_revoked=False,
    )
    return text, record


def parse_api_key(text: str) -> ParsedKey | None:
    """Return what the key claims, or None when the text has not the form of a key."""
    match = _API_KEY.fullmatch(text)
    if match is None:
        return None
    return ParsedKey(key_id=match[3], role=_ROLES[match[1]], mode=_MODES[match[2]])


def matches(record: ApiKeyRecord, text: str, pepper: bytes) -> bool:
    """Whether ``text`` is the very key of the record, in time that does not depend on its secret.

    Covers the whole text: a test key with ``live`` written into it matches nothing. A revoked key
    still matches; the caller looks at ``is_revoked``.
    """
    return hmac.compare_digest(record.secret_hmac, _keyed_digest(pepper, text))


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode("ascii").rstrip("=").lower()


def _keyed_digest(pepper: bytes, text: str) -> bytes:
    if len(pepper) < PEPPER_BYTES_MIN:
        raise InvariantViolation(f"the pepper needs at least {PEPPER_BYTES_MIN} bytes")
    return hmac.digest(pepper, text.encode(), "sha256")
