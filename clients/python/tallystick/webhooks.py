"""Webhooks as Standard Webhooks defines them: whether one was sent by the gateway, and lately.

Verify the bytes as they came, before anything parses them. An event may come more than once and out of
order: remember the ids that you have dealt with.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping

from tallystick.errors import TallystickError
from tallystick.records import Event

HEADER_ID = "webhook-id"
HEADER_TIMESTAMP = "webhook-timestamp"
HEADER_SIGNATURE = "webhook-signature"

SECRET_PREFIX = "whsec_"  # noqa: S105  # where such secrets begin, no secret
# Standard Webhooks asks for 24 bytes at least; fewer could be guessed.
SECRET_BYTES_MIN = 24
# A rotation has two secrets, so two signatures; more are somebody's attempt to have us compute.
SIGNATURES_MAX = 8
# How far clocks may differ, and how long a webhook may be under way.
TOLERANCE_S = 300

_ID = re.compile(r"[!-~]{1,255}")
_TIMESTAMP = re.compile(r"[0-9]{1,11}")


class WebhookRefused(TallystickError):
    """Not to be believed. Answer 400, and do nothing."""


class SignatureInvalid(WebhookRefused):
    """None of the secrets has signed it, or its headers are missing or broken."""


class TimestampInvalid(WebhookRefused):
    """It was signed too long ago, or in the future: a replay, or a clock that is wrong."""


class WebhookVerifier:
    """Verifies webhooks of one endpoint. The secrets never appear in its repr."""

    def __init__(
        self,
        *secrets: str,
        tolerance_s: int = TOLERANCE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Any of the secrets (``whsec_…``) counts: two during a rotation. ``clock``: seconds since 1970.

        Raises ValueError for a secret that can't be one, and for none.
        """
        if not secrets:
            raise ValueError("a verifier needs at least one secret")
        if tolerance_s <= 0:
            raise ValueError("tolerance_s must be above zero")
        self._secrets = tuple(_secret_bytes(secret) for secret in secrets)
        self._tolerance_s = tolerance_s
        self._clock = clock

    def verify(self, body: bytes, headers: Mapping[str, str]) -> Event:
        """Return the event. Raises SignatureInvalid, TimestampInvalid; takes no longer for a near miss."""
        if not isinstance(body, bytes | bytearray):
            raise TypeError("body must be the bytes as they came, not yet decoded")
        given = {name.lower(): value for name, value in headers.items()}
        event_id, timestamp = given.get(HEADER_ID, ""), given.get(HEADER_TIMESTAMP, "")
        if _ID.fullmatch(event_id) is None or _TIMESTAMP.fullmatch(timestamp) is None:
            raise SignatureInvalid("the webhook's headers are missing or broken")
        signatures = [
            signature.encode(errors="replace")
            for signature in given.get(HEADER_SIGNATURE, "").split(" ")[:SIGNATURES_MAX]
        ]
        expected = [
            _signature(secret, event_id, int(timestamp), bytes(body)).encode()
            for secret in self._secrets
        ]
        # All pairs, whatever the first ones say.
        matches = [hmac.compare_digest(one, other) for one in signatures for other in expected]
        if not any(matches):
            raise SignatureInvalid("the webhook is signed by none of the secrets")
        # After the signature: who can't sign learns nothing of our clock.
        if abs(self._clock() - int(timestamp)) > self._tolerance_s:
            raise TimestampInvalid("the webhook was signed too long ago, or in the future")
        return _event(bytes(body))


def sign(secret: str, body: bytes, *, webhook_id: str, timestamp_s: int) -> dict[str, str]:
    """Return the headers of a webhook, for tests of a receiver."""
    return {
        HEADER_ID: webhook_id,
        HEADER_TIMESTAMP: str(timestamp_s),
        HEADER_SIGNATURE: _signature(_secret_bytes(secret), webhook_id, timestamp_s, body),
    }


def _signature(secret: bytes, event_id: str, timestamp_s: int, body: bytes) -> str:
    signed = b"%b.%d.%b" % (event_id.encode(), timestamp_s, body)
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def _secret_bytes(text: str) -> bytes:
    try:
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a webhook secret is whsec_ and base64") from None
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(f"a webhook secret needs {SECRET_BYTES_MIN} bytes")
    return secret


def _event(body: bytes) -> Event:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise SignatureInvalid("the webhook is signed, and its body is no JSON object")
    return Event(document)
