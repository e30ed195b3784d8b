"""UUIDs of the driver's class."""

from __future__ import annotations

import pickle
from uuid import UUID

import pytest
from hypothesis import given

from payments.identity import parse_idempotency_key
from storage.uuids import DriverUuid, canonical_uuid
from tests.strategies import uuids

KEY = UUID("8e03978e-40d5-43e8-bc93-6894a57f9324")


@given(one=uuids, other=uuids)
def test_they_stand_in_for_pythons_own(one: UUID, other: UUID) -> None:
    """Sets, comparisons, texts and derived values can't tell them apart, in either direction."""
    driven = DriverUuid(one.bytes)
    assert isinstance(driven, UUID)
    assert (driven == one, one == driven, hash(driven)) == (True, True, hash(one))
    assert ((driven == other), (other == driven)) == (one == other, one == other)
    assert ((driven < other), (other < driven)) == (one < other, other < one)
    assert (str(driven), repr(driven), f"{driven}") == (str(one), repr(one), str(one))
    assert (driven.bytes, driven.int, driven.hex) == (one.bytes, one.int, one.hex)
    assert pickle.loads(pickle.dumps(driven)) == one


@given(key=uuids)
def test_a_canonical_text_is_read(key: UUID) -> None:
    """What ``str`` writes leads back."""
    assert canonical_uuid(str(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        KEY.hex,
        str(KEY).upper(),
        f"{{{KEY}}}",
        f"urn:uuid:{KEY}",
        f'"{KEY}"',
        f"{KEY}\n",
        f" {KEY}"[:36],
        f"{KEY}0",
        str(KEY)[:-1],
        f"{KEY.hex}----",
        f"-{KEY.hex}---",
        f"{str(KEY)[:7]}-{str(KEY)[7:8]}{str(KEY)[9:]}",
        str(KEY).replace("8", "٨"),
        str(KEY).replace("-", "_"),
        str(KEY).replace("e", "g"),
        str(KEY).replace("8", "\0"),
        "\ud800" * 36,
        "\xff" * 36,
    ],
)
def test_other_spellings_are_not_canonical(text: str) -> None:
    """The driver would read some of them."""
    assert canonical_uuid(text) is None


@given(key=uuids)
def test_a_canonical_text_is_a_key(key: UUID) -> None:
    """So headers may be read by it first."""
    assert parse_idempotency_key(str(key)) == canonical_uuid(str(key))
