"""Orders in the request log: the short way keeps what the long one keeps, or leaves the body to it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.order_redaction import (
    redacted_order,
    redacted_order_answer,
    redacted_order_bodies,
)
from gateway.payment_requests import PaymentRequest
from gateway.request_redaction import redacted_bodies, redacted_body
from payments.answer import OrderView, payment_body
from tests.unit.gateway.stack import payment

BYTES_MAX = 4_096
LONG = "l" * 200
TEXTS = st.one_of(st.none(), st.text(max_size=20))
ORDERS = st.fixed_dictionaries(
    {
        "amount": st.integers(1, 10**12),
        "currency": st.sampled_from(["USD", "JPY", "BHD"]),
        "payment_method": st.sampled_from(["tok_approve", "tok_é"]),
    },
    optional={
        "seller": st.sampled_from([None, "slr_shoes", "my_shop.1"]),
        "capture": st.sampled_from([None, "manual", "automatic"]),
        "description": TEXTS,
        "metadata": st.one_of(st.none(), st.dictionaries(st.text(max_size=5), st.text(max_size=5))),
        "buyer": st.one_of(st.none(), st.just({"email": "a@example.org"})),
    },
)
MOMENTS = st.one_of(st.none(), st.just(datetime(2026, 11, 27, 3, 4, 5, 678_000, tzinfo=UTC)))


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Orders as they are shown."""
    has_failed = draw(st.booleans())
    view = OrderView(
        idempotency_key=UUID(int=draw(st.integers(0, 2**128 - 1)), version=4),
        status=draw(st.sampled_from(["processing", "succeeded", "failed", "requires_action"])),
        is_outcome_known=draw(st.booleans()),
        amount_minor=draw(st.integers(1, 10**12)),
        amount_captured_minor=draw(st.integers(0, 10**12)),
        amount_refunded_minor=0,
        currency="USD",
        seller_id=draw(st.sampled_from(["slr_shoes", "my_shop.1"])),
        fee_minor=draw(st.one_of(st.none(), st.integers(0, 100))),
        psp=draw(st.sampled_from([None, "simulator"])),
        psp_reference=draw(
            st.sampled_from([None, "ch_1", "4111111111111111", "sk_live_x", LONG * 2])
        ),
        attempt_count=draw(st.integers(0, 3)),
        failure_code="declined" if has_failed else None,
        decline_code="do_not_honor" if has_failed else None,
        failure_message="No." if has_failed else None,
        next_action=draw(st.sampled_from([None, {"type": "redirect", "url": "https://a.example"}])),
        next_retry_at=draw(MOMENTS),
        metadata_json=draw(st.sampled_from([None, '{"cart":"c-9"}'])),
        capture="manual",
        created_at=datetime(2026, 11, 27, tzinfo=UTC),
        effective_at=draw(MOMENTS),
        ledger_updated_at=draw(MOMENTS),
        wallet_updated_at=draw(MOMENTS),
        api_version="2026-11-01",
    )
    return payment_body(view)


@given(document=ORDERS)
def test_an_order_is_kept_as_any_body_is(document: dict[str, Any]) -> None:
    """Whatever an order has, and however it is written: the same members, the same texts."""
    body = json.dumps(document).encode()
    kept = redacted_order(body, BYTES_MAX)
    assert kept is not None
    assert json.loads(kept) == json.loads(redacted_body(body, BYTES_MAX, is_own=False))


@given(body=answers())
def test_an_answer_is_kept_as_any_body_is(body: bytes) -> None:
    """What went well is kept by its shape; what failed or asks for something is left to the long way."""
    kept = redacted_order_answer(body, BYTES_MAX)
    document = json.loads(body)
    is_plain = document["failure"] is None and document["next_action"] is None
    assert (kept is not None) == is_plain
    if kept is not None:
        assert json.loads(kept) == json.loads(redacted_body(body, BYTES_MAX, is_own=True))


@pytest.mark.parametrize(
    "body",
    [
        None,
        b"",
        b"{",
        b"[" * 100_000,
        json.dumps({**payment(), "cvc": "123"}).encode(),
        json.dumps({**payment(), "amount": 1.5}).encode(),
        json.dumps({**payment(), "currency": 7}).encode(),
    ],
)
def test_any_other_shape_goes_the_long_way(body: bytes | None) -> None:
    """Unknown members are still counted and never named, and what is no JSON is kept by its size."""
    assert redacted_order(body, BYTES_MAX) is None
    kept = redacted_order_bodies(request=body, answer=body, body_bytes_max=BYTES_MAX)
    assert kept == redacted_bodies(
        path={}, query={}, request=body, answer=body, body_bytes_max=BYTES_MAX
    )


def test_the_parts_of_several_sellers_are_kept() -> None:
    """Whoever looks a request up sees whose parts it asked for; no part has anything secret."""
    parts = [{"seller": "slr_shoes", "amount": 1_000}, {"seller": "slr_hats", "amount": 999}]
    body = json.dumps({**payment(), "splits": parts}).encode()
    kept = json.loads(redacted_order_bodies(request=body, answer=body, body_bytes_max=BYTES_MAX))
    assert kept["request"]["splits"] == kept["answer"]["splits"] == parts


def test_a_long_body_is_kept_by_its_size() -> None:
    """No order takes more of the log than its share, either way."""
    body = json.dumps(payment()).encode()
    assert redacted_order(body, 10) is None
    kept = redacted_order_bodies(request=body, answer=None, body_bytes_max=10)
    assert json.loads(kept) == {"request": f"[{len(body)} bytes]", "answer": None}


def test_every_member_of_an_order_is_known() -> None:
    """A member that the route takes and this module does not know would send each order the long way."""
    full = dict.fromkeys(PaymentRequest.__struct_fields__)
    assert redacted_order(json.dumps({**full, **payment()}).encode(), BYTES_MAX) is not None
