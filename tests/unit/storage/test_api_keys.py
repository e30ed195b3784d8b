"""API keys: their form, and who may use them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.defects import InvariantViolation
from payments.mode import Mode
from storage.api_keys import RANDOM_BYTES, issue_api_key, matches, parse_api_key
from storage.read_ports import ApiKeyRecord, KeyRole

PEPPER = b"p" * 32
MODES = st.sampled_from(Mode)


def merchant_key(
    random_bytes: bytes = bytes(RANDOM_BYTES), mode: Mode = Mode.TEST
) -> tuple[str, ApiKeyRecord]:
    return issue_api_key(
        PEPPER,
        random_bytes,
        role=KeyRole.MERCHANT,
        mode=mode,
        merchant_no=7,
        merchant_id="mrc_seven",
    )


@given(random_bytes=st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES), mode=MODES)
def test_an_issued_key_is_read_back_and_matches(random_bytes: bytes, mode: Mode) -> None:
    """Every key that is issued parses to its own record's id, role and mode, and opens it."""
    text, record = merchant_key(random_bytes, mode)
    parsed = parse_api_key(text)
    assert parsed is not None
    assert (parsed.key_id, parsed.role, parsed.mode) == (record.key_id, KeyRole.MERCHANT, mode)
    assert matches(record, text, PEPPER)


@given(
    random_bytes=st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES),
    position=st.integers(min_value=0, max_value=200),
    letter=st.sampled_from("abcdefghijklmnopqrstuvwxyz234567_"),
)
def test_a_changed_key_opens_nothing(random_bytes: bytes, position: int, letter: str) -> None:
    """No change of a single character anywhere in a key leaves it valid."""
    text, record = merchant_key(random_bytes)
    at = position % len(text)
    changed = text[:at] + letter + text[at + 1 :]
    assert matches(record, changed, PEPPER) == (changed == text)


def test_the_form_of_keys() -> None:
    """A key tells its role and mode at its beginning; ids have 12 characters and secrets 32."""
    text, _ = merchant_key()
    assert text == f"sk_test_{'a' * 12}_{'a' * 32}"
    operator_text, operator = issue_api_key(
        PEPPER, bytes(RANDOM_BYTES), role=KeyRole.OPERATOR, mode=Mode.LIVE
    )
    assert operator_text == f"op_live_{'a' * 12}_{'a' * 32}"
    assert operator.merchant_no is None


def test_keys_differ_in_id_and_secret() -> None:
    """The id and the secret come from different bytes: knowing one tells nothing of the other."""
    text, _ = merchant_key(bytes(range(RANDOM_BYTES)))
    other_secret, _ = merchant_key(bytes(range(8)) + bytes(20))
    _, _, key_id, secret = text.split("_")
    assert other_secret.split("_")[2] == key_id
    assert other_secret.split("_")[3] != secret


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sk_test_",
        "sk_prod_aaaaaaaaaaaa_" + "a" * 32,
        "pk_test_aaaaaaaaaaaa_" + "a" * 32,
        "sk_test_aaaaaaaaaaa1_" + "a" * 32,
        "sk_test_AAAAAAAAAAAA_" + "a" * 32,
        "sk_test_aaaaaaaaaaaa_" + "a" * 31,
        "sk_test_aaaaaaaaaaaa_" + "a" * 33,
        "sk_test_aaaaaaaaaaaa_" + "a" * 32 + "\n",
        " sk_test_aaaaaaaaaaaa_" + "a" * 32,
    ],
)
def test_what_is_not_a_key_is_not_parsed(text: str) -> None:
    """Anything but the exact form of a key is refused before the database is asked."""
    assert parse_api_key(text) is None


def test_another_pepper_opens_nothing() -> None:
    """A stolen table of HMACs is worthless without the pepper."""
    text, record = merchant_key()
    assert not matches(record, text, b"q" * 32)


def test_a_test_key_is_not_a_live_key() -> None:
    """Writing ``live`` into a test key does not make it one, nor ``op`` an operator's."""
    text, record = merchant_key()
    assert not matches(record, text.replace("test", "live"), PEPPER)
    assert not matches(record, text.replace("sk_", "op_"), PEPPER)


def test_a_record_keeps_no_secret() -> None:
    """The stored record does not hold the secret, in its fields or when printed."""
    text, record = merchant_key(bytes(range(RANDOM_BYTES)))
    secret = text.rsplit("_", 1)[1]
    assert secret not in repr(record)
    assert len(record.secret_hmac) == 32
    assert not matches(replace(record, secret_hmac=secret.encode()), text, PEPPER)


def test_defects_of_the_caller_are_refused() -> None:
    """Too little randomness, a short pepper, a key of the wrong owner: never a weak key."""
    with pytest.raises(InvariantViolation, match="random bytes"):
        merchant_key(b"short")
    with pytest.raises(InvariantViolation, match="pepper"):
        issue_api_key(b"short", bytes(RANDOM_BYTES), role=KeyRole.OPERATOR, mode=Mode.TEST)
    with pytest.raises(InvariantViolation, match="names its merchant"):
        issue_api_key(PEPPER, bytes(RANDOM_BYTES), role=KeyRole.MERCHANT, mode=Mode.TEST)
    with pytest.raises(InvariantViolation, match="names none"):
        issue_api_key(
            PEPPER,
            bytes(RANDOM_BYTES),
            role=KeyRole.OPERATOR,
            mode=Mode.TEST,
            merchant_no=1,
            merchant_id="mrc_seven",
        )
