"""The envelope of personal data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.envelope import (
    Detail,
    EnvelopeUnreadable,
    decode_detail,
    encode_detail,
    open_sealed,
    seal,
)
from tests.queue_commands import a_command


@given(st.binary())
def test_what_was_sealed_opens_again(body: bytes) -> None:
    """Sealing keeps every byte, behind the version and the encryption flag."""
    envelope = seal(body)
    assert envelope[:2] == b"\x01\x00"
    assert open_sealed(envelope) == body


@pytest.mark.parametrize("envelope", [b"", b"\x01", b"\x00\x00", b"\x02\x00body", b"\x01\x01body"])
def test_an_unknown_envelope_is_refused(envelope: bytes) -> None:
    """Bytes of another version, or encrypted, are never taken for plain ones."""
    with pytest.raises(EnvelopeUnreadable):
        open_sealed(envelope)


def test_a_detail_survives_the_books() -> None:
    """A new owner finds the personal part of an order as it was accepted."""
    command = a_command()
    assert decode_detail(encode_detail(command)) == Detail(
        payment_method=command.payment_method,
        description=command.description,
        buyer_json=command.buyer_json,
        merchant_id=command.merchant_id,
    )
    assert decode_detail(encode_detail(command, b"asked")).first_request == b"asked"


@given(st.binary(max_size=100), st.booleans())
def test_random_details_raise_one_fault_alone(body: bytes, is_sealed: bool) -> None:
    """Damaged personal data is a fault with a name, whatever the damage."""
    try:
        detail = decode_detail(seal(body) if is_sealed else body)
    except EnvelopeUnreadable:
        return
    assert isinstance(detail, Detail)
