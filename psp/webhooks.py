"""Webhooks of PSPs, as far as all are alike: who signed one, and what it says. Pure.

``WebhookVerifier`` is for those signed as Standard Webhooks says: HMAC-SHA256 over ``id.timestamp.body``, the bytes
as they came; a PSP with a scheme of its own has a verifier of its own (``psp.stripe.webhooks``). A
connector's own reader (``psp.sandbox_webhooks``) tells what the body means.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from payments.attempts import PspAnswer
from payments.disputes import DisputeState

HEADER_ID = "webhook-id"
HEADER_TIMESTAMP = "webhook-timestamp"
HEADER_SIGNATURE = "webhook-signature"

SECRET_PREFIX = "whsec_"  # noqa: S105  # where such secrets begin, no secret
# As long as what HMAC-SHA256 gives is strong; Standard Webhooks asks for 24 at least.
SECRET_BYTES_MIN = 24

# A rotation has two secrets, so two signatures; more are somebody's attempt to have us compute.
SIGNATURES_MAX = 8

_ID = re.compile(r"[!-~]{1,255}")
# Seconds since 1970, up to the year 5138.
_TIMESTAMP = re.compile(r"[0-9]{1,11}")
_VERSION = "v1"


class DisputeNotice(NamedTuple):
    """What a webhook says of a dispute of a charge."""

    dispute_id: str
    state: DisputeState
    amount_minor: int


class PspNotice(NamedTuple):
    """What one webhook says of one key. ``answer`` is as of a question about that key."""

    event_id: str
    psp_key: str | None
    """None: it names no key, and the answer's reference, of a charge, leads to it."""
    answer: PspAnswer
    dispute: DisputeNotice | None = None
    """Not None: it tells of a dispute of that key's charge, and nothing of the key."""
    charge_key: str | None = None
    """Not None: the key is of a capture, void or refund, and this is its charge's, which leads to its partition."""


class WebhookUnreadable(ValueError):
    """A body that is none of this PSP's. Names fields and types, never contents."""


class Refusal(Enum):
    """Why a webhook is not believed."""

    SIGNATURE = "signature"
    TIMESTAMP = "timestamp"


class Verifier(Protocol):
    """How one PSP's webhooks are told from anybody's."""

    @property
    def signature_header(self) -> str:
        """The header that holds the signature, in lower case."""
        ...

    @property
    def mismatch(self) -> str:
        """What is wrong where it is not signed so, for people."""
        ...

    @property
    def timestamp_header(self) -> str:
        """The header that holds the time of signing, in lower case."""
        ...

    def refusal_of(
        self, header: Callable[[str], str], body: bytes, *, now_s: float
    ) -> Refusal | None:
        """Return why headers and bytes are not believed, or None. ``header`` gives one by its name."""
        ...


def is_signed(given: Sequence[bytes], expected: Sequence[bytes]) -> bool:
    """Whether any signature is any of those expected. Takes no longer for a near miss."""
    # All pairs, whatever the first ones say.
    matches = [hmac.compare_digest(one, other) for one in given for other in expected]
    return any(matches)


def secret_bytes(text: str) -> bytes:
    """Return a secret's bytes: after ``whsec_`` base64, else the text itself. Raises ValueError."""
    secret = text.encode()
    if text.startswith(SECRET_PREFIX):
        try:
            secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            raise ValueError("a webhook secret is not base64 after whsec_") from None
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(f"a webhook secret needs {SECRET_BYTES_MIN} bytes")
    return secret


def signature_of(secret: bytes, event_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the header's value for one secret."""
    signed = b"%b.%d.%b" % (event_id.encode(), timestamp_s, body)
    digest = hmac.digest(secret, signed, "sha256")
    return f"{_VERSION},{base64.b64encode(digest).decode()}"


class WebhookVerifier:
    """Whether a webhook was signed by its PSP, and lately. The secrets never appear in its repr."""

    signature_header = HEADER_SIGNATURE
    timestamp_header = HEADER_TIMESTAMP
    mismatch = f"{HEADER_ID}, {HEADER_TIMESTAMP} and the body don't fit {HEADER_SIGNATURE}."

    def __init__(self, secrets: Sequence[bytes], *, tolerance_s: int) -> None:
        """Any of the secrets counts. ``tolerance_s`` bounds the age, and clocks that differ."""
        if not secrets:
            raise ValueError("a PSP without a webhook secret can't be believed")
        self._secrets = tuple(secrets)
        self._tolerance_s = tolerance_s

    def refusal_of(
        self, header: Callable[[str], str], body: bytes, *, now_s: float
    ) -> Refusal | None:
        """Return why the headers and bytes are not believed, or None."""
        return self.refusal(
            header(HEADER_ID),
            header(HEADER_TIMESTAMP),
            header(HEADER_SIGNATURE),
            body,
            now_s=now_s,
        )

    def refusal(
        self, event_id: str, timestamp: str, signatures: str, body: bytes, *, now_s: float
    ) -> Refusal | None:
        """Return why these headers and bytes are not believed, or None. Takes no longer for a near miss.

        The time is looked at after the signature: who can't sign learns nothing of our clock.
        """
        if _ID.fullmatch(event_id) is None or _TIMESTAMP.fullmatch(timestamp) is None:
            return Refusal.SIGNATURE
        signed_at_s = int(timestamp)
        given = [
            # What is no text, and so stands here as half a character, is no signature either.
            signature.encode(errors="replace")
            for signature in signatures.split(" ", SIGNATURES_MAX)[:SIGNATURES_MAX]
        ]
        expected = [
            signature_of(secret, event_id, signed_at_s, body).encode() for secret in self._secrets
        ]
        if not is_signed(given, expected):
            return Refusal.SIGNATURE
        if abs(now_s - signed_at_s) > self._tolerance_s:
            return Refusal.TIMESTAMP
        return None
