"""Card numbers in a request's path, query and headers: refused before anything else is looked at."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import unquote_plus

from aiohttp import web

from gateway.authentication import is_bearer
from payments.card_numbers import contains_card_number
from payments.identity import is_idempotency_key

# A PSP's, over a webhook: base64 of 32 bytes, which may hold digits by chance.
_SIGNATURES = re.compile(rb"v1,[A-Za-z0-9+/]{43}=(?: v1,[A-Za-z0-9+/]{43}=){0,7}")
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
# An idempotency key in a path or a cursor. Its digit groups may look like a card number by chance.
_WHOLE_UUID = re.compile(
    r"(?<![^/=&])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![^/?&])",
    re.IGNORECASE | re.ASCII,
)
# The usual spelling of an idempotency key, which nearly every request has; this takes a quarter of the time of asking
# for all that are allowed.
_USUAL_KEY = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# A client sends these with each request, the same ones; none of them holds a secret. So they are
# remembered, those without a card number alone: a quarter of a megabyte.
_REPEATED_HEADERS = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"connection",
        b"content-length",
        b"content-type",
        b"host",
        b"prefer",
        b"tallystick-version",
        b"user-agent",
    }
)
_REPEATED_BYTES_MAX = 160
_REPEATED_KEPT_MAX = 1_024


def has_card_number(request: web.Request) -> bool:
    """Whether a card number stands in the path, the query or a header.

    Headers that have a format of their own are exempt while they keep to it: a UUID or a trace id
    may hold digits that look like a card number by chance.
    """
    for header in request.raw_headers:
        # One look for most of a client's headers: their names are not even put into small letters.
        if header not in _known_clean and _is_refused(header):
            return True
    target = request.raw_path
    if "%" in target or "+" in target:
        target = f"{target}\n{unquote_plus(target)}"
    if "-" in target:
        target = _WHOLE_UUID.sub("", target)
    return contains_card_number(target)


def _holds_number(part: bytes) -> bool:
    return contains_card_number(part.decode("utf-8", "replace"))


# Headers of _REPEATED_HEADERS without a card number; never anybody's secret or own format.
_known_clean: set[tuple[bytes, bytes]] = set()


def _is_refused(header: tuple[bytes, bytes]) -> bool:
    """Whether a header holds a card number. One that is sent again and again is known from then on."""
    name, value = header
    lower_name = name.lower()
    has_own_format = _OWN_FORMATS.get(lower_name)
    if has_own_format is not None and has_own_format(value):
        return False
    if _holds_number(name) or _holds_number(value):
        return True
    if lower_name in _REPEATED_HEADERS and len(value) <= _REPEATED_BYTES_MAX:
        if len(_known_clean) >= _REPEATED_KEPT_MAX:
            # Somebody makes them up: those that are repeated are soon here again.
            _known_clean.clear()
        _known_clean.add(header)
    return False


def _is_idempotency_key(value: bytes) -> bool:
    return _USUAL_KEY.fullmatch(value) is not None or is_idempotency_key(
        value.decode("utf-8", "replace")
    )


def _is_trace(value: bytes) -> bool:
    return _TRACEPARENT.fullmatch(value) is not None


def _is_signature(value: bytes) -> bool:
    return _SIGNATURES.fullmatch(value) is not None


_OWN_FORMATS: Mapping[bytes, Callable[[bytes], bool]] = {
    b"authorization": is_bearer,
    b"idempotency-key": _is_idempotency_key,
    b"traceparent": _is_trace,
    b"webhook-signature": _is_signature,
}
