"""Reply messages."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.envelope import EnvelopeUnreadable
from storage.replies import REPLY_BYTES_MAX, Reply, decode_reply, encode_reply, reply_channel


@given(st.lists(st.uuids()), st.lists(st.uuids()))
def test_a_reply_tells_its_orders(taken_in: list[UUID], settled: list[UUID]) -> None:
    """A gateway hears of exactly the orders that an owner named."""
    payload = encode_reply(taken_in=taken_in, settled=settled)
    assert decode_reply(payload) == Reply(taken_in=tuple(taken_in), settled=tuple(settled))


@given(st.binary(max_size=100))
def test_random_replies_raise_one_fault_alone(payload: bytes) -> None:
    """Noise on the channel can't break a gateway."""
    try:
        reply = decode_reply(payload)
    except EnvelopeUnreadable:
        return
    assert isinstance(reply, Reply)


def test_an_oversized_reply_is_refused() -> None:
    """A reply is bounded."""
    with pytest.raises(EnvelopeUnreadable, match="payload_too_large"):
        decode_reply(bytes(REPLY_BYTES_MAX + 1))


def test_an_order_uuid_has_16_bytes() -> None:
    """Half an order_uuid names no order."""
    with pytest.raises(EnvelopeUnreadable):
        decode_reply(b"\x81\xa7settled\x91\xc4\x02ab")


def test_a_channel_names_its_gateway() -> None:
    """Owners publish where the envelope's reply address says."""
    assert reply_channel("gw-1") == "reply:gw-1"
