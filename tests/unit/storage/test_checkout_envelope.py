"""The envelope of a checkout on the stream."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.checkout_names import checkout_uuid
from payments.checkouts import CHECKOUT_ORDERS_MAX, Checkout, CheckoutOrder
from payments.defects import InvariantViolation
from payments.fingerprint import FINGERPRINT_BYTES, SPLIT_VERSION
from payments.mode import Mode
from storage.checkout_envelope import checkout_entry, decode_checkout, problem_of_checkout
from storage.queue_messages import key_record, message_of
from storage.sealing import EnvelopeUnreadable

PRINT = bytes([1]).ljust(FINGERPRINT_BYTES, b"\7")


def an_order(number: int, **changes: Any) -> CheckoutOrder:
    order = CheckoutOrder(UUID(int=number), number, f"slr_{number}", 100, "USD", PRINT)
    return order._replace(**changes)


def a_checkout(**changes: Any) -> Checkout:
    key = UUID(int=9)
    checkout = Checkout(
        checkout_uuid=checkout_uuid("mrc_a", Mode.TEST, key),
        idempotency_key=key,
        merchant_no=3,
        merchant_id="mrc_a",
        mode=Mode.TEST,
        orders=(an_order(1), an_order(2)),
        success_url="https://shop.example/ok",
        cancel_url="https://shop.example/no",
        metadata_json='{"cart":"c-9"}',
        fingerprint=PRINT,
        accepted_at=datetime(2026, 11, 1, 12, tzinfo=UTC),
        api_version="2026-11-01",
        reply_to="reply:gateway-0",
    )
    return checkout._replace(**changes)


def test_an_order_with_splits_has_its_own_version_and_a_checkout_has_not() -> None:
    """The splits cross with the order's command; the checkout only holds which request it was."""
    split = bytes([SPLIT_VERSION]) + PRINT[1:]
    checkout = a_checkout(orders=(an_order(1, fingerprint=split), an_order(2)))
    assert decode_checkout(checkout_entry(checkout, 3).fields) == checkout
    assert problem_of_checkout(a_checkout(fingerprint=split)) is not None


def test_a_checkout_survives_the_stream() -> None:
    """What an owner reads, and what a GET finds, is what the gateway accepted."""
    checkout = a_checkout()
    fields = checkout_entry(checkout, 3).fields
    assert decode_checkout(fields) == checkout
    message = message_of(fields, partition_index=3, stream_id="1-1", generation=1, read_at_s=0)
    assert message.checkout == checkout
    assert message.is_readable
    assert (message.command, message.event) == (None, None)
    assert key_record(PRINT, 1, fields).checkout == checkout
    assert key_record(PRINT, 1, None).checkout is None


@pytest.mark.parametrize(
    "changes",
    [
        {"merchant_no": 0},
        {"merchant_id": "mrc|b"},
        {"idempotency_key": UUID(int=10)},
        {"orders": ()},
        {"orders": tuple(an_order(n) for n in range(1, CHECKOUT_ORDERS_MAX + 2))},
        {"orders": (an_order(1), an_order(1))},
        {"orders": (an_order(1, amount_minor=0),)},
        {"orders": (an_order(1, currency="usd"),)},
        {"orders": (an_order(1, seller_no=0),)},
        {"orders": (an_order(1, seller_id=""),)},
        {"orders": (an_order(1, fingerprint=b""),)},
        {"success_url": None},
        {"cancel_url": "https://shop.example/a b"},
        {"success_url": "https://shop.example/" + "a" * 2_048},
        {"metadata_json": "[]"},
        {"fingerprint": bytes(FINGERPRINT_BYTES)},
        {"api_version": "today"},
        {"reply_to": "a\nb"},
    ],
)
def test_a_checkout_that_breaks_a_rule_is_not_queued(changes: dict[str, Any]) -> None:
    """What could not be read later must not be accepted now."""
    assert problem_of_checkout(a_checkout(**changes)) is not None
    with pytest.raises(InvariantViolation):
        checkout_entry(a_checkout(**changes), 3)


@given(st.data())
def test_damaged_bytes_are_told_and_never_raise_otherwise(data: st.DataObject) -> None:
    """Whatever happens to the payload, the reader decodes it or says that it can't be read."""
    fields = list(checkout_entry(a_checkout(), 3).fields)
    payload = bytearray(fields[-1])
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    fields[-1] = bytes(payload)
    try:
        decode_checkout(fields)
    except EnvelopeUnreadable:
        assert key_record(PRINT, 1, fields).checkout is None


def test_an_order_is_no_checkout() -> None:
    """The kind decides: a checkout's reader takes nothing else."""
    fields = list(checkout_entry(a_checkout(), 3).fields)
    fields[1] = b"payment"
    with pytest.raises(EnvelopeUnreadable, match="command_unknown"):
        decode_checkout(fields)
