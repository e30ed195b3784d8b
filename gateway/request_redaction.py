"""What of a body is kept in the request log: a list of members that may be shown, and nothing else.

Members that may hold what is secret or personal are named, and not shown; members that nobody knows are
only counted, because their very names are the client's. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from payments.card_numbers import contains_card_number

# Money, states, ids and times.
SHOWN = frozenset({
    "amount", "amount_captured", "amount_refunded", "api_version", "as_of", "attempts", "available",
    "balance", "basis_points", "batch", "capture", "code", "created_at", "credit_account", "currency",
    "debit_account", "decline_code", "deleted", "deliveries", "detail", "effective_at", "endpoint", "event",
    "expires_at", "fee", "fixed_default", "from", "has_more", "id", "idempotency_key", "instance",
    "is_payment_done", "kind", "last_http_status", "ledger_updated_at", "may_run", "message", "next_cursor",
    "next_retry_at", "next_try_at", "object", "object_id", "outcome", "overlap_s", "owner", "param",
    "payment", "pending", "posted", "psp", "psp_reference", "request_id", "retryable", "secrets", "seller",
    "sequence", "state", "status", "title", "to", "tries", "type", "wallet_updated_at",
})  # fmt: skip
# Objects and lists of such members.
WALKED = frozenset({
    "balances", "capture", "data", "details", "differs", "failure", "fee", "fixed", "next_action", "orders",
    "payment", "refund", "splits", "types", "void",
})  # fmt: skip
# What there is, and is not shown.
HIDDEN = frozenset({
    "buyer", "description", "hosted", "metadata", "name", "payment_method", "reason", "redirect_url",
    "secret", "url",
})  # fmt: skip

_SHOW, _WALK, _HIDE = 1, 2, 4
_MEMBERS: Mapping[str, int] = {
    **{name: (_SHOW * (name in SHOWN)) | (_WALK * (name in WALKED)) for name in SHOWN | WALKED},
    **dict.fromkeys(HIDDEN, _HIDE),
}

REDACTED = "[redacted]"

# A list shows how it begins; who needs all of it asks again.
ITEMS_MAX = 10
DEPTH_MAX = 6
# What we say in a detail; longer is nothing of ours.
OWN_CHARACTERS_MAX = 300
# Balances are sums, and larger than one amount may be; what has more digits is no money.
_INT_MAX = 2**63

# Ids, currencies, states and times of a client's: no text that people write.
_PLAIN = re.compile(r"[A-Za-z0-9_.:+-]{0,64}", re.ASCII)
# API keys and webhooks' secrets begin so.
_SECRET = re.compile(r"[sr]k_(?:test|live)_|whsec_")
# Query parameters whose values are such, and parts of paths.
_QUERY_SHOWN = frozenset({
    "limit", "starting_after", "ending_before", "status", "currency", "created[gte]", "created[lt]",
    "amount[gte]", "amount[lte]", "after", "request_id", "idempotency_key",
})  # fmt: skip

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()
_DECODE_FAULTS = (msgspec.MsgspecError, ValueError, RecursionError)


def redacted_bodies(
    *,
    path: Mapping[str, str],
    query: Mapping[str, str],
    request: bytes | None,
    answer: bytes | None,
    body_bytes_max: int,
) -> bytes:
    """Return one JSON object of what may be kept of a request and its answer."""
    asked = redacted_body(request, body_bytes_max, is_own=False)
    told = redacted_body(answer, body_bytes_max, is_own=True)
    where = b""
    if path or query:
        place = {"path": path, "query": {k: v for k, v in query.items() if k in _QUERY_SHOWN}}
        plain = {name: {k: _plain(v) for k, v in texts.items()} for name, texts in place.items()}
        where = _encoder.encode({name: texts for name, texts in plain.items() if texts})[1:-1]
    comma = b"," if where else b""
    return b'{%b%b"request":%b,"answer":%b}' % (where, comma, asked, told)


def redacted_body(body: bytes | None, bytes_max: int, *, is_own: bool) -> bytes:
    """Return what may be kept of a body, as JSON; its size alone where that is too long or no JSON."""
    if not body:
        return b"null"
    try:
        document = _decoder.decode(body)
    except _DECODE_FAULTS:
        return b'"[%d bytes, no JSON]"' % len(body)
    encoded = _encoder.encode(redacted(document, is_own=is_own))
    return encoded if len(encoded) <= bytes_max else b'"[%d bytes]"' % len(body)


def redacted(value: Any, *, is_own: bool, depth: int = 0) -> object:
    """Return a document without what is secret, personal or unknown. ``is_own``: we wrote its texts."""
    if type(value) is dict:
        return _object(value, is_own, depth)
    if type(value) is list:
        if depth >= DEPTH_MAX:
            return REDACTED
        items = [redacted(item, is_own=is_own, depth=depth + 1) for item in value[:ITEMS_MAX]]
        return items if len(value) <= ITEMS_MAX else [*items, f"[{len(value)} in all]"]
    if type(value) is str:
        return shown_own(value) if is_own else _plain(value)
    if type(value) is int:
        return value if -_INT_MAX <= value <= _INT_MAX else REDACTED
    return value


def _object(document: dict[str, Any], is_own: bool, depth: int) -> object:
    """Members that are null are left out: they would be most of an order that has just begun."""
    if depth >= DEPTH_MAX:
        return REDACTED
    shown: dict[str, object] = {}
    unknown_count = 0
    for name, value in document.items():
        if value is None:
            continue
        action = _MEMBERS.get(name, 0)
        kind = type(value)
        if kind is dict or kind is list:
            if action & _WALK:
                is_money = name == "fixed" and kind is dict
                shown[name] = (
                    _amounts(value) if is_money else redacted(value, is_own=is_own, depth=depth + 1)
                )
                continue
        elif action & _SHOW:
            if kind is str:
                value = shown_own(value) if is_own else _plain(value)  # what is shown of it
            shown[name] = value if kind is not int or -_INT_MAX <= value <= _INT_MAX else REDACTED
            continue
        if action & _HIDE:
            shown[name] = REDACTED
        else:
            unknown_count += 1
    if unknown_count:
        shown["[others]"] = unknown_count
    return shown


def _amounts(document: dict[str, Any]) -> object:
    """Amounts by currency: the names are the client's."""
    return {
        name: amount
        for name, amount in document.items()
        if len(name) == 3 and name.isascii() and name.isupper() and type(amount) is int
    }


def _plain(text: str) -> str:
    return text if _PLAIN.fullmatch(text) is not None and not _is_secret(text) else REDACTED


def shown_own(text: str) -> str:
    """Return a text of ours, unless a secret stands in it: it may quote what the client gave."""
    return text if len(text) <= OWN_CHARACTERS_MAX and not _is_secret(text) else REDACTED


def _is_secret(text: str) -> bool:
    """Whether a card number, an API key or a webhook's secret stands in it: also where an id belongs."""
    return _SECRET.search(text) is not None or contains_card_number(text)


class _Problem(msgspec.Struct):
    code: str


_PROBLEM = msgspec.json.Decoder(_Problem)


def problem_code(answer: bytes | None) -> str | None:
    """Return the code of a problem that was answered; None of any other answer."""
    if answer is None:
        return None
    try:
        return _PROBLEM.decode(answer).code
    except msgspec.MsgspecError:
        return None
