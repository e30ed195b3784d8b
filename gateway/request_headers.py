"""Request headers with a meaning of their own: the idempotency key and the wish to wait."""

from __future__ import annotations

import re
from uuid import UUID

from multidict import CIMultiDictProxy

from gateway.problems import Code, Problem
from gateway.settings import PREFER_WAIT_S_MAX
from payments.identity import parse_idempotency_key
from storage.uuids import DriverUuid, canonical_uuid

HEADER_IDEMPOTENCY_KEY = "Idempotency-Key"
HEADER_PREFER = "Prefer"

_PARAM = f"header:{HEADER_IDEMPOTENCY_KEY}"
_MISSING = Problem(
    code=Code.IDEMPOTENCY_KEY_MISSING,
    detail="Send a UUID of your own as Idempotency-Key: it names the payment and makes retries safe.",
    param=_PARAM,
)
_INVALID = Problem(
    code=Code.IDEMPOTENCY_KEY_INVALID,
    detail="The Idempotency-Key must be one UUID, bare or in double quotes.",
    param=_PARAM,
)

# RFC 7240: preferences are separated by commas, names are case-insensitive.
_WAIT = re.compile(r"""(?:^|,)\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?=[;,]|$)""", re.IGNORECASE)


def read_idempotency_key(headers: CIMultiDictProxy[str]) -> UUID | Problem:
    """Return the key of a request that moves money, or the problem with it."""
    given = headers.getall(HEADER_IDEMPOTENCY_KEY, None)
    if given is None:
        return _MISSING
    key = _key(given[0]) if len(given) == 1 else None
    return _INVALID if key is None else key


def _key(text: str) -> UUID | None:
    """Return what ``parse_idempotency_key`` does, in the driver's class: sooner for the usual spelling."""
    key: UUID | None = canonical_uuid(text)
    if key is None and (other := parse_idempotency_key(text)) is not None:
        key = DriverUuid(other.bytes)
    return key


def prefer_wait_s(headers: CIMultiDictProxy[str]) -> int:
    """Return how many seconds the answer may be held for the outcome: 0 when nobody asked.

    Longer wishes are cut to PREFER_WAIT_S_MAX; what can't be read is ignored, as RFC 7240 wants.
    """
    given = headers.getall(HEADER_PREFER, None)
    if given is None:
        return 0
    # Preferences may come in one header or in several: RFC 7240, section 2.
    found = _WAIT.search(", ".join(given))
    return 0 if found is None else min(int(found[1]), PREFER_WAIT_S_MAX)
