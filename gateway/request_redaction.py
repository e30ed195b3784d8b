"""What of a body is kept in the request log: a list of members that may be shown, and nothing else.

Members that may hold what is secret or personal are named, and not shown; members that nobody knows are
only counted, because their very names are the client's. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

# Money, states, ids and times.
SHOWN = frozenset({
    "amount", "amount_captured", "amount_refunded", "api_version", "as_of", "attempts", "available",
    "balance", "basis_points", "batch", "capture", "code", "created_at", "credit_account", "currency",
    "debit_account", "decline_code", "detail", "effective_at", "expires_at", "fee", "fixed_default",
    "has_more", "id", "idempotency_key", "instance", "is_payment_done", "kind", "ledger_updated_at",
    "may_run", "message", "next_retry_at", "object", "object_id", "outcome", "owner", "param", "payment",
    "pending", "posted", "psp", "psp_reference", "request_id", "retryable", "seller",
    "sequence", "status", "title", "type", "wallet_updated_at",
})  # fmt: skip
# Objects and lists of such members.
WALKED = frozenset({
    "balances", "data", "details", "differs", "failure", "fee", "fixed", "next_action", "orders", "payment",
    "refunds", "types",
})  # fmt: skip
# What there is, and is not shown.
HIDDEN = frozenset({
    "buyer", "description", "hosted", "metadata", "name", "payment_method", "reason", "redirect_url",
    "secret", "url",
})  # fmt: skip

REDACTED = "[redacted]"

# A list shows how it begins; who needs all of it asks again.
ITEMS_MAX = 10
DEPTH_MAX = 6
# What we say in a detail; longer is nothing of ours.
OWN_CHARACTERS_MAX = 300

# Ids, currencies, states and times of a client's: no text that people write.
_PLAIN = re.compile(r"[A-Za-z0-9_.:+-]{0,64}", re.ASCII)
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
    kept: dict[str, object] = {}
    if path:
        kept["path"] = {name: _plain(value) for name, value in path.items()}
    if query:
        kept["query"] = {
            name: _plain(value) for name, value in query.items() if name in _QUERY_SHOWN
        }
    kept["request"] = _body(request, body_bytes_max, is_own=False)
    kept["answer"] = _body(answer, body_bytes_max, is_own=True)
    return _encoder.encode(kept)


def _body(body: bytes | None, bytes_max: int, *, is_own: bool) -> object:
    if not body:
        return None
    try:
        document = _decoder.decode(body)
    except _DECODE_FAULTS:
        return f"[{len(body)} bytes, no JSON]"
    shown = redacted(document, is_own=is_own)
    encoded = _encoder.encode(shown)
    return msgspec.Raw(encoded) if len(encoded) <= bytes_max else f"[{len(body)} bytes]"


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
        return _own(value) if is_own else _plain(value)
    return value


def _object(document: dict[str, Any], is_own: bool, depth: int) -> object:
    if depth >= DEPTH_MAX:
        return REDACTED
    shown: dict[str, object] = {}
    unknown_count = 0
    for name, value in document.items():
        kind = type(value)
        if name in SHOWN and kind is not dict and kind is not list:
            shown[name] = value if kind is not str else _own(value) if is_own else _plain(value)
        elif name in WALKED and (kind is dict or kind is list):
            shown[name] = (
                _amounts(value)
                if name == "fixed" and kind is dict
                else redacted(value, is_own=is_own, depth=depth + 1)
            )
        elif name in HIDDEN:
            shown[name] = None if value is None else REDACTED
        elif value is None and (name in SHOWN or name in WALKED):
            shown[name] = None
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
    return text if _PLAIN.fullmatch(text) is not None else REDACTED


def _own(text: str) -> str:
    return text if len(text) <= OWN_CHARACTERS_MAX else REDACTED
