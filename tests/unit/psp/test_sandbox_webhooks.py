"""What the simulator's webhooks say is read as an answer about a key, or is no event of it."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.attempts import ResultClass
from psp.sandbox_webhooks import read_sandbox_webhook
from psp.simulator.wire import AnswerBody, ChargeStatus, WebhookBody
from psp.webhooks import WebhookUnreadable

AT = datetime(2026, 11, 26, tzinfo=UTC)
CHARGE = AnswerBody(
    object="charge",
    key="tly_a",
    reference="ch_a",
    status=ChargeStatus.CAPTURED,
    amount=500,
    currency="EUR",
    captured=500,
    at=AT,
)


def told(charge: AnswerBody, event_type: str = "charge.succeeded") -> bytes:
    return msgspec.json.encode(WebhookBody(id="evt_a", type=event_type, created_at=AT, data=charge))


def test_a_captured_charge_is_approved_with_its_money() -> None:
    """Key, reference, money and time are the charge's own."""
    notice = read_sandbox_webhook(told(CHARGE))
    assert notice is not None
    assert (notice.event_id, notice.psp_key) == ("evt_a", "tly_a")
    answer = notice.answer
    assert (answer.result, answer.reference) == (ResultClass.APPROVED, "ch_a")
    assert (answer.captured_minor, answer.currency, answer.effective_at) == (500, "EUR", AT)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ChargeStatus.DECLINED, ResultClass.DECLINED_FINAL),
        (ChargeStatus.CANCELED, ResultClass.CANCELED),
        (ChargeStatus.REQUIRES_ACTION, ResultClass.REQUIRES_ACTION),
        (ChargeStatus.AUTHORIZED, ResultClass.UNKNOWN),
        (ChargeStatus.VOIDED, ResultClass.UNKNOWN),
        (None, ResultClass.UNKNOWN),
    ],
)
def test_only_what_ends_a_charge_is_an_end(
    status: ChargeStatus | None, expected: ResultClass
) -> None:
    """A status that may still change, or that ends no order yet, proves nothing."""
    charge = msgspec.structs.replace(CHARGE, status=status, decline_code="do_not_honor")
    notice = read_sandbox_webhook(told(charge))
    assert notice is not None
    assert notice.answer.result is expected


def test_other_events_are_none_of_an_orders() -> None:
    """An event about something else than a charge is read as none."""
    assert read_sandbox_webhook(told(CHARGE, "payout.paid")) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 20_000,
        b'{"id":"","type":"charge.succeeded","created_at":"2026-11-26T00:00:00Z","data":{}}',
        told(msgspec.structs.replace(CHARGE, key=None)),
        told(msgspec.structs.replace(CHARGE, captured=-1)),
        told(msgspec.structs.replace(CHARGE, status=ChargeStatus.DECLINED)),
    ],
)
def test_what_is_no_event_is_unreadable(body: bytes) -> None:
    """It is refused by the one documented fault."""
    with pytest.raises(WebhookUnreadable):
        read_sandbox_webhook(body)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["captured", "charge.succeeded", "2026-11-26T00:00:00Z", "evt_a", "tly_a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "type", "created_at", "data", "key", "status", "captured", "at"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@given(body=st.binary(max_size=60) | json_values.map(msgspec.json.encode))
def test_any_bytes_are_an_event_or_unreadable(body: bytes) -> None:
    """Whatever a signed body holds, it is an event with money that can be kept, or is refused."""
    try:
        notice = read_sandbox_webhook(body)
    except WebhookUnreadable:
        return
    if notice is not None:
        assert notice.event_id
        assert notice.answer.captured_minor >= 0
