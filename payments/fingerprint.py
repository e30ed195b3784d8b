"""The fingerprint of a payment's business fields: was this key used with the same request?

Keyed digests, so that whoever reads the books can't guess a buyer's e-mail from them; one a field,
so that a mismatch can be named. The key lives as long as the deployment: with another key every
replay would look like another request.

The canonical form takes strings as they were sent, without Unicode normalisation: two spellings of
"é" are two requests, because the storefront gets back, and the PSP is sent, the bytes of the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from json.encoder import encode_basestring_ascii
from types import MappingProxyType

from payments.defects import InvariantViolation

FIELDS = (
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
"""What is compared, in the order ``differs`` reports it. A change of these needs a new VERSION."""

SPLIT_FIELDS = tuple("splits" if field == "seller" else field for field in FIELDS)
"""The same of an order with splits: its seller is always the merchant itself, so the splits take that place."""

# What a missing or null field means. ``seller`` is filled in by the gateway: it depends on the API
# key whose wallet is the default.
DEFAULTS: Mapping[str, object] = MappingProxyType(
    {
        "checkout": None,
        "capture": "automatic",
        "description": None,
        "metadata": MappingProxyType({}),
        "buyer": MappingProxyType({}),
    }
)

VERSION = 1
# Of orders with splits alone: a release that knows no splits sets them aside, and never credits one seller
# with what is several's. All others keep version 1, and so their bytes.
SPLIT_VERSION = 2
# 128 bits: two requests under one key never meet by chance, nor by anyone without the key.
WHOLE_BYTES = 16
# 32 bits only name what differs; a chance match there never makes two requests the same.
FIELD_BYTES = 4
FINGERPRINT_BYTES = 1 + WHOLE_BYTES + len(FIELDS) * FIELD_BYTES

KEY_BYTES_MIN = 16
KEY_BYTES_MAX = 64  # BLAKE2b's own limit

# JSON input is at most 8 deep; a caller with more is a caller that skipped that check.
_DEPTH_MAX = 8

_VERSIONS = frozenset({VERSION, SPLIT_VERSION})
_STR_ONLY = frozenset({str})
_PERSON_WHOLE = b"payment_order"


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: ASCII, sorted, no white space, null members left out.

    Takes str, int, bool, None, and mappings and lists of these; raises InvariantViolation for
    anything else, floats above all.
    """
    return _canonical(value, 0)


def _canonical(value: object, depth: int) -> str:
    if value is None:
        return "null"
    kind = type(value)
    if kind is str:
        return encode_basestring_ascii(value)  # type: ignore[arg-type]  # type() does not narrow
    if kind is int:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if depth >= _DEPTH_MAX:
        raise InvariantViolation(f"a business field is nested deeper than {_DEPTH_MAX}")
    if kind is dict or isinstance(value, Mapping):
        return _canonical_object(value, depth)  # type: ignore[arg-type]  # `kind is` does not narrow
    if isinstance(value, list | tuple):
        return f"[{','.join(_canonical(item, depth + 1) for item in value)}]"
    raise InvariantViolation(
        f"a business field holds a {kind.__name__}, which has no canonical form"
    )


def _canonical_object(value: Mapping[str, object], depth: int) -> str:
    if not _STR_ONLY.issuperset(map(type, value)):
        raise InvariantViolation("a business field has a member name that is no string")
    members = [
        f"{encode_basestring_ascii(name)}:{_canonical(value[name], depth + 1)}"
        for name in sorted(value)
        if value[name] is not None
    ]
    return f"{{{','.join(members)}}}"


def fingerprint(fields: Mapping[str, object], key: bytes) -> bytes:
    """Return FINGERPRINT_BYTES: version, keyed digest of the whole, a keyed digest a field.

    ``fields`` holds some of FIELDS, with ``seller`` filled in; missing and null ones get their
    default. With ``splits`` it is of SPLIT_VERSION, and the seller is not looked at. Raises
    InvariantViolation for a field we don't know, a required one that is missing, or a key of the wrong size.
    """
    if not _FIELD_SET.issuperset(fields):
        raise InvariantViolation(f"not business fields: {sorted(fields.keys() - _FIELD_SET)}")
    version = VERSION if fields.get("splits") is None else SPLIT_VERSION
    keyed_whole, by_field = _keyed_hashes(key, version)
    texts: list[str] = []
    digests: list[bytes] = []
    for field, digest_of, of_default in by_field:
        value = fields.get(field)
        if value is None:
            if of_default is None:
                raise InvariantViolation(f"the business field {field!r} is missing")
            texts.append(_DEFAULT_TEXTS[field])
            digests.append(of_default)
        else:
            text = _canonical(value, 0)
            texts.append(text)
            digests.append(digest_of(text))
    # A line break can't occur inside canonical JSON, so the joined text splits in one way only.
    whole = _digest(keyed_whole, "\n".join(texts))
    return b"".join((bytes((version,)), whole, *digests))


def is_readable(text: bytes) -> bool:
    """Whether these bytes are a fingerprint that this release can compare."""
    return len(text) == FINGERPRINT_BYTES and text[0] in _VERSIONS


def same(a: bytes, b: bytes) -> bool:
    """Whether two fingerprints are of the same request. Raises InvariantViolation if unreadable."""
    _check(a)
    _check(b)
    return a[: 1 + WHOLE_BYTES] == b[: 1 + WHOLE_BYTES]


def differs(a: bytes, b: bytes, fields: Sequence[str] = FIELDS) -> list[str]:
    """Return the fields that differ, in their order; empty only when the two are the same.

    When the whole differs but no field's short digest does (one in four billion), every field is
    named: one of them it is.
    """
    if same(a, b):
        return []
    if fields == FIELDS and SPLIT_VERSION in (a[0], b[0]):
        # Where one of the two has splits and the other a seller, that place differs, too.
        fields = SPLIT_FIELDS
    found = [
        field
        for start, field in zip(_FIELD_STARTS, fields, strict=False)
        if a[start : start + FIELD_BYTES] != b[start : start + FIELD_BYTES]
    ]
    return found or list(fields)


_FIELD_SET = frozenset((*FIELDS, *SPLIT_FIELDS))
_DEFAULT_TEXTS = {field: canonical_json(value) for field, value in DEFAULTS.items()}
# The same few values come again and again, none is a buyer's, and the gateway has checked that they are known.
_FIELDS_OF_FEW_VALUES = frozenset({"currency", "seller", "capture"})
_DIGESTS_KEPT_MAX = 4_096
_FIELD_STARTS = range(1 + WHOLE_BYTES, FINGERPRINT_BYTES, FIELD_BYTES)


_Keyed = hashlib.blake2b
_KeyedField = tuple[str, Callable[[str], bytes], bytes | None]
"""A field, what gives the digest of its text, and the digest of its default, where it has one."""


@lru_cache(maxsize=8)
def _keyed_hashes(key: bytes, version: int) -> tuple[_Keyed, tuple[_KeyedField, ...]]:
    """Return keyed hashes of the whole and of each field: half of the work, done once a key."""
    if not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        raise InvariantViolation(f"the key must have {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes")
    whole = hashlib.blake2b(digest_size=WHOLE_BYTES, key=key, person=_PERSON_WHOLE)
    by_field: list[_KeyedField] = []
    for field in FIELDS if version == VERSION else SPLIT_FIELDS:
        keyed = hashlib.blake2b(digest_size=FIELD_BYTES, key=key, person=field.encode())
        digest_of: Callable[[str], bytes] = partial(_digest, keyed)
        if field in _FIELDS_OF_FEW_VALUES:
            digest_of = lru_cache(maxsize=_DIGESTS_KEPT_MAX)(digest_of)
        default = _DEFAULT_TEXTS.get(field)
        by_field.append((field, digest_of, None if default is None else digest_of(default)))
    return whole, tuple(by_field)


def _digest(keyed: _Keyed, text: str) -> bytes:
    digest = keyed.copy()
    digest.update(text.encode("ascii"))
    return digest.digest()


def _check(text: bytes) -> None:
    if not is_readable(text):
        raise InvariantViolation(
            f"no fingerprint of a known version: {len(text)} bytes, first {text[:1].hex()}"
        )
