from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments import fingerprint as fp
from payments.defects import InvariantViolation
from tests.strategies import currencies, payment_amounts_minor

KEY = bytes(range(32))
PAYMENT: dict[str, object] = {
    "amount": 1999,
    "currency": "USD",
    "seller": "slr_shoes",
    "payment_method": "tok_approve",
    "description": "order 1001",
    "metadata": {"cart": "c-9", "colour": "red"},
    "buyer": {"reference": "b-1", "email": "a@example.org"},
}
OTHERS: dict[str, object] = {
    "amount": 2000,
    "currency": "EUR",
    "seller": "slr_hats",
    "checkout": "co_b",
    "payment_method": "tok_3ds",
    "capture": "manual",
    "description": "order 1002",
    "metadata": {"cart": "c-9"},
    "buyer": {"reference": "b-1"},
}

short_texts = st.text(max_size=8)
payments = st.fixed_dictionaries(
    {
        "amount": payment_amounts_minor,
        "currency": currencies,
        "seller": short_texts,
        "payment_method": short_texts,
    },
    optional={
        "checkout": st.none() | short_texts,
        "capture": st.sampled_from(["automatic", "manual"]),
        "description": st.none() | short_texts,
        "metadata": st.dictionaries(short_texts, short_texts, max_size=4),
        "buyer": st.dictionaries(short_texts, st.none() | short_texts, max_size=3),
    },
)


def reference(fields: dict[str, Any]) -> bytes:
    """Return the fingerprint the slow and obvious way, from the promise in the documentation."""
    defaults: dict[str, object] = {
        "checkout": None, "capture": "automatic", "description": None, "metadata": {}, "buyer": {},
    }  # fmt: skip
    present = defaults | {name: value for name, value in fields.items() if value is not None}

    def text(field: str) -> bytes:
        value = present[field]
        if isinstance(value, dict):
            value = {name: item for name, item in value.items() if item is not None}
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    texts = [text(field) for field in fp.FIELDS]
    whole = hashlib.blake2b(b"\n".join(texts), digest_size=16, key=KEY, person=b"payment_order")
    parts = [
        hashlib.blake2b(text, digest_size=4, key=KEY, person=field.encode()).digest()
        for field, text in zip(fp.FIELDS, texts, strict=True)
    ]
    return b"\x01" + whole.digest() + b"".join(parts)


@given(fields=payments)
def test_fingerprint_is_what_is_documented(fields: dict[str, object]) -> None:
    """Anybody with the key can compute it from BLAKE2b and canonical JSON."""
    result = fp.fingerprint(fields, KEY)
    assert result == reference(fields)
    assert len(result) == fp.FINGERPRINT_BYTES == 53


def test_fingerprint_never_changes() -> None:
    """A key used years ago still recognises its request."""
    assert fp.fingerprint(PAYMENT, KEY).hex() == (
        "0132c79f616cd541e811cedcbd7da7bbcc"
        "dccbfbac9426b48caa0f424f5ac9af731e5bd430ee66a2f35688f953a2635bb8994bd7e9"
    )


@given(a=payments, b=payments)
def test_same_means_same_request(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Two requests are the same exactly if every field is, defaults filled in."""
    a_print, b_print = fp.fingerprint(a, KEY), fp.fingerprint(b, KEY)
    assert fp.same(a_print, fp.fingerprint(dict(reversed(a.items())), KEY))
    assert fp.same(a_print, b_print) == (a_print == b_print)
    assert (fp.differs(a_print, b_print) == []) == fp.same(a_print, b_print)


SPLITS: list[dict[str, object]] = [
    {"seller": "slr_shoes", "amount": 1200, "fee": 30},
    {"seller": "slr_hats", "amount": 799},
]
SPLIT_PAYMENT = PAYMENT | {"seller": "mrc_b", "splits": SPLITS}


def test_splits_have_a_version_of_their_own_and_stand_where_the_seller_did() -> None:
    """A release without splits refuses the version; a payment without any keeps its bytes."""
    split = fp.fingerprint(SPLIT_PAYMENT, KEY)
    assert (split[0], len(split)) == (2, fp.FINGERPRINT_BYTES)
    texts = [
        fp.canonical_json({**fp.DEFAULTS, **SPLIT_PAYMENT}[field]).encode()
        for field in fp.SPLIT_FIELDS
    ]
    whole = hashlib.blake2b(b"\n".join(texts), digest_size=16, key=KEY, person=b"payment_order")
    assert split[1:17] == whole.digest()
    assert fp.fingerprint(PAYMENT | {"splits": None}, KEY) == fp.fingerprint(PAYMENT, KEY)


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"splits": [SPLITS[0], SPLITS[1] | {"fee": 0}]}, ["splits"]),
        ({"splits": SPLITS[::-1]}, ["splits"]),
        ({"splits": [SPLITS[0], SPLITS[1] | {"fee": None}]}, []),
        ({"splits": None}, ["splits"]),
        ({"splits": None, "amount": 5}, ["amount", "splits"]),
        ({"amount": 5}, ["amount"]),
    ],
)
def test_another_way_to_split_is_another_request(
    changes: dict[str, object], differs: list[str]
) -> None:
    """Parts, their order and their fees count, also against a request that has none at all."""
    a, b = fp.fingerprint(SPLIT_PAYMENT, KEY), fp.fingerprint(SPLIT_PAYMENT | changes, KEY)
    assert fp.differs(a, b) == fp.differs(b, a) == differs
    assert fp.same(a, b) == (not differs)


@pytest.mark.parametrize("field", fp.FIELDS)
def test_each_field_is_named(field: str) -> None:
    """A repeat with another value in one field names that field, and only that."""
    changed = PAYMENT | {field: OTHERS[field]}
    a, b = fp.fingerprint(PAYMENT, KEY), fp.fingerprint(changed, KEY)
    assert not fp.same(a, b)
    assert fp.differs(a, b) == [field]


def test_fields_are_named_in_their_order() -> None:
    """What differs is listed in the documented order."""
    a, b = fp.fingerprint(PAYMENT, KEY), fp.fingerprint(OTHERS, KEY)
    assert fp.differs(a, b) == list(fp.FIELDS)
    assert set(OTHERS) == set(fp.FIELDS)


@pytest.mark.parametrize(
    "changes",
    [
        {"capture": "automatic"},
        {"capture": None},
        {"checkout": None},
        {"metadata": {"colour": "red", "cart": "c-9"}},
        {"buyer": {"email": "a@example.org", "reference": "b-1", "name": None}},
    ],
)
def test_spelled_out_defaults_and_order_do_not_matter(changes: dict[str, object]) -> None:
    """A client that writes defaults out, or sorts its members otherwise, sends the same request."""
    assert fp.fingerprint(PAYMENT | changes, KEY) == fp.fingerprint(PAYMENT, KEY)


@pytest.mark.parametrize("field", ["description", "metadata", "buyer"])
def test_null_and_missing_are_the_same(field: str) -> None:
    """An explicit null means what leaving the field out means."""
    without = {name: value for name, value in PAYMENT.items() if name != field}
    assert fp.fingerprint(without, KEY) == fp.fingerprint(without | {field: None}, KEY)
    assert fp.fingerprint(without, KEY) != fp.fingerprint(PAYMENT, KEY)


@pytest.mark.parametrize(
    ("one", "other"),
    [("é", "e\u0301"), ("", " "), ("a", "A"), ("1", 1), ("\ud800", "\ud801"), ("null", "")],
)
def test_spellings_count_as_sent(one: object, other: object) -> None:
    """Strings are compared as sent, without Unicode normalisation, and a string is no number."""
    a = fp.fingerprint(PAYMENT | {"description": one}, KEY)
    b = fp.fingerprint(PAYMENT | {"description": other}, KEY)
    assert fp.differs(a, b) == ["description"]


def test_another_key_hides_everything() -> None:
    """Without the key, equal fields can't be recognised in the books."""
    a, b = fp.fingerprint(PAYMENT, KEY), fp.fingerprint(PAYMENT, bytes(32))
    assert fp.differs(a, b) == list(fp.FIELDS)


def test_equal_values_of_two_fields_have_two_digests() -> None:
    """A digest tells nothing about another field that holds the same value."""
    result = fp.fingerprint(PAYMENT | {"description": "x", "payment_method": "x"}, KEY)
    starts = [17 + 4 * fp.FIELDS.index(field) for field in ("description", "payment_method")]
    assert result[starts[0] : starts[0] + 4] != result[starts[1] : starts[1] + 4]


def test_collision_of_short_digests_is_still_a_difference() -> None:
    """When only the whole digest tells the two apart, every field is named, never none."""
    a = fp.fingerprint(PAYMENT, KEY)
    b = a[:1] + bytes(fp.WHOLE_BYTES) + a[1 + fp.WHOLE_BYTES :]
    assert not fp.same(a, b)
    assert fp.differs(a, b) == list(fp.FIELDS)


@pytest.mark.parametrize(
    "bad", [b"", b"\x03" + bytes(52), b"\x02" + bytes(51), bytes(53), b"\x01" + bytes(51)]
)
def test_unknown_versions_are_defects(bad: bytes) -> None:
    """A fingerprint we can't read is never taken for a match or a mismatch."""
    good = fp.fingerprint(PAYMENT, KEY)
    for a, b in ((good, bad), (bad, good), (bad, bad)):
        with pytest.raises(InvariantViolation):
            fp.same(a, b)
        with pytest.raises(InvariantViolation):
            fp.differs(a, b)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {name: value for name, value in PAYMENT.items() if name != "seller"},
        PAYMENT | {"amount": None},
        PAYMENT | {"tip": 1},
        PAYMENT | {"amount": 19.99},
        PAYMENT | {"metadata": {"weight": 1.5}},
        PAYMENT | {"metadata": {1: "one"}},
        PAYMENT | {"buyer": b"bytes"},
    ],
)
def test_what_has_no_canonical_form_is_a_defect(fields: dict[str, object]) -> None:
    """Unknown or missing fields and floats never get a fingerprint."""
    with pytest.raises(InvariantViolation):
        fp.fingerprint(fields, KEY)


def test_depth_is_bounded() -> None:
    """A value nested beyond the API's limit is a defect, not a stack overflow."""
    nested: object = "x"
    for _ in range(1_000):
        nested = [nested]
    with pytest.raises(InvariantViolation, match="nested"):
        fp.canonical_json(nested)


@pytest.mark.parametrize("size", [0, 15, 65])
def test_keys_have_a_size(size: int) -> None:
    """A key too short to keep a secret, or too long for the hash, is refused."""
    with pytest.raises(InvariantViolation, match="key"):
        fp.fingerprint(PAYMENT, bytes(size))


def test_canonical_json() -> None:
    """One value has one text: ASCII, sorted by code point, no white space, nulls left out."""
    value = {"b": [1, True, None, "é"], "a": {"y": False, "x": None}, "B": -5, "\U0001f600": "\n"}
    assert fp.canonical_json(value) == (
        '{"B":-5,"a":{"y":false},"b":[1,true,null,"\\u00e9"],"\\ud83d\\ude00":"\\n"}'
    )
