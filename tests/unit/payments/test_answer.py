from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payments.answer import API_VERSION, OrderView, frozen_answer, payment_body, splits_text
from payments.defects import InvariantViolation
from payments.fingerprint import canonical_json
from payments.lifecycle import FREEZING_STATES, PaymentState
from payments.splits import Split
from tests.strategies import currencies, payment_amounts_minor, uuids

KEY = UUID("8e03978e-40d5-43e8-bc93-6894a57f9324")
AT = datetime(2026, 11, 23, 2, 28, 38, 123_999, tzinfo=UTC)

SUCCEEDED = OrderView(
    idempotency_key=KEY,
    status="succeeded",
    is_outcome_known=True,
    amount_minor=1999,
    amount_captured_minor=1999,
    amount_refunded_minor=0,
    currency="USD",
    seller_id="slr_shoes",
    fee_minor=88,
    psp="simulator",
    psp_reference="ch_abc",
    attempt_count=1,
    failure_code=None,
    decline_code=None,
    failure_message=None,
    next_action=None,
    next_retry_at=None,
    metadata_json='{"cart":"c-9"}',
    capture="automatic",
    created_at=AT,
    effective_at=AT + timedelta(seconds=1),
    ledger_updated_at=AT + timedelta(seconds=2),
    wallet_updated_at=AT + timedelta(seconds=2),
    api_version=API_VERSION,
)
FAILED = SUCCEEDED._replace(
    status="failed",
    amount_captured_minor=0,
    failure_code="declined",
    decline_code="do_not_honor",
    failure_message='The issuer said "no".',
    effective_at=None,
    ledger_updated_at=None,
    wallet_updated_at=None,
)
FROZEN = sorted(state.wire for state in FREEZING_STATES)

texts = st.text(max_size=8)
times = st.datetimes(
    min_value=datetime(2000, 1, 1),  # noqa: DTZ001 - the zone follows in `timezones`
    timezones=st.just(UTC),
)

splits = st.lists(
    st.builds(Split, st.just(1), payment_amounts_minor, payment_amounts_minor), max_size=3
)


def views_in(statuses: list[str]) -> st.SearchStrategy[OrderView]:
    """Return orders in one of these statuses, with anything in their other columns."""
    return st.builds(
        OrderView,
        idempotency_key=uuids,
        status=st.sampled_from(statuses),
        is_outcome_known=st.booleans(),
        amount_minor=payment_amounts_minor,
        amount_captured_minor=payment_amounts_minor,
        amount_refunded_minor=payment_amounts_minor,
        currency=currencies,
        seller_id=texts,
        fee_minor=st.none() | payment_amounts_minor,
        psp=st.none() | texts,
        psp_reference=st.none() | texts,
        attempt_count=st.integers(0, 20),
        failure_code=texts,
        decline_code=st.none() | texts,
        failure_message=st.none() | texts,
        next_action=st.none() | st.dictionaries(texts, texts, max_size=3),
        next_retry_at=st.none() | times,
        metadata_json=st.none() | st.dictionaries(texts, texts, max_size=3).map(canonical_json),
        capture=st.just("automatic"),
        created_at=times,
        effective_at=st.none() | times,
        ledger_updated_at=st.none() | times,
        wallet_updated_at=st.none() | times,
        api_version=st.just(API_VERSION),
        splits_json=st.none() | splits.map(lambda parts: splits_text(parts, ["slr"] * len(parts))),
    )


views = views_in([state.wire for state in PaymentState])
frozen_views = views_in(FROZEN)


def test_body_is_the_documented_one() -> None:
    """The bytes of an order are exactly these, member by member, as long as the version lives."""
    assert payment_body(SUCCEEDED) == (
        b'{"id":"8e03978e-40d5-43e8-bc93-6894a57f9324","object":"payment_order"'
        b',"status":"succeeded","outcome":"known","amount":1999,"amount_captured":1999'
        b',"amount_refunded":0,"currency":"USD","seller":"slr_shoes","fee":88,"psp":"simulator"'
        b',"psp_reference":"ch_abc","attempts":1,"failure":null,"next_action":null'
        b',"next_retry_at":null,"metadata":{"cart":"c-9"},"capture":"automatic"'
        b',"created_at":"2026-11-23T02:28:38.123Z","effective_at":"2026-11-23T02:28:39.123Z"'
        b',"ledger_updated_at":"2026-11-23T02:28:40.123Z"'
        b',"wallet_updated_at":"2026-11-23T02:28:40.123Z"}'
    )


def test_succeeded_answer_is_the_body() -> None:
    """A succeeded order is answered 201 with itself."""
    assert frozen_answer(SUCCEEDED) == (201, "application/json", payment_body(SUCCEEDED))


def test_failed_answer_is_a_problem() -> None:
    """A declined order is answered 402 with a problem that holds the order, but no request id."""
    status, content_type, body = frozen_answer(FAILED)
    assert (status, content_type) == (402, "application/problem+json")
    assert body == (
        b'{"type":"/docs/problems#declined","title":"The payment was declined","status":402'
        b',"detail":"The issuer said \\"no\\".","instance":"/v1/payments/'
        + str(KEY).encode()
        + b'"'
        b',"code":"declined","decline_code":"do_not_honor","retryable":false,"payment":'
        + payment_body(FAILED)
        + b"}"
    )
    problem = json.loads(body)
    assert "request_id" not in problem
    assert problem["payment"]["failure"] == {
        "code": "declined",
        "decline_code": "do_not_honor",
        "message": 'The issuer said "no".',
    }


@pytest.mark.parametrize(
    ("code", "title"),
    [
        ("psp_unavailable", "No payment service provider ran the payment"),
        ("operator_decision", "The payment failed"),
    ],
)
def test_every_failure_has_a_title_and_a_detail(code: str, title: str) -> None:
    """A failure without a word from the PSP still says what happened."""
    view = FAILED._replace(failure_code=code, decline_code=None, failure_message=None)
    problem = json.loads(frozen_answer(view)[2])
    assert (problem["title"], problem["detail"], problem["decline_code"]) == (title, title, None)


@pytest.mark.parametrize("state", PaymentState)
def test_only_an_end_freezes(state: PaymentState) -> None:
    """201 or 402 for the states that freeze the answer, and no frozen answer before."""
    view = FAILED._replace(status=state.wire)
    if state.wire not in FROZEN:
        with pytest.raises(InvariantViolation, match="frozen"):
            frozen_answer(view)
    else:
        assert frozen_answer(view)[0] == (402 if state is PaymentState.FAILED else 201)


def members(view: OrderView) -> dict[str, Any]:
    """Return what the body must say, built independently of it."""

    def time(moment: datetime | None) -> str | None:
        if moment is None:
            return None
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"

    return {
        "id": str(view.idempotency_key),
        "object": "payment_order",
        "status": view.status,
        "outcome": "known" if view.is_outcome_known else "unknown",
        "amount": view.amount_minor,
        "amount_captured": view.amount_captured_minor,
        "amount_refunded": view.amount_refunded_minor,
        "currency": view.currency,
        "seller": view.seller_id,
        "fee": view.fee_minor,
        **({} if view.splits_json is None else {"splits": json.loads(view.splits_json)}),
        "psp": view.psp,
        "psp_reference": view.psp_reference,
        "attempts": view.attempt_count,
        "failure": None
        if view.failure_code is None
        else {
            "code": view.failure_code,
            "decline_code": view.decline_code,
            "message": view.failure_message,
        },
        "next_action": view.next_action,
        "next_retry_at": time(view.next_retry_at),
        "metadata": json.loads(view.metadata_json or "{}"),
        "capture": view.capture,
        "created_at": time(view.created_at),
        "effective_at": time(view.effective_at),
        "ledger_updated_at": time(view.ledger_updated_at),
        "wallet_updated_at": time(view.wallet_updated_at),
    }


@settings(max_examples=50)
@given(view=views)
def test_body_says_what_the_columns_say(view: OrderView) -> None:
    """Whatever the columns hold, the body is valid JSON with the same values in the same order."""
    body = payment_body(view)
    assert json.loads(body) == members(view)
    assert list(json.loads(body)) == list(members(view))
    assert body.isascii()


@settings(max_examples=50)
@given(view=frozen_views)
def test_frozen_bytes_depend_on_the_columns_alone(view: OrderView) -> None:
    """Equal columns give equal bytes, and the problem of a failed order holds its body."""
    status, content_type, body = frozen_answer(view)
    assert (status, content_type, body) == frozen_answer(view._replace())
    document = json.loads(body)
    if status == 402:
        assert document["instance"] == f"/v1/payments/{view.idempotency_key}"
        assert document["payment"] == members(view)
    else:
        assert document == members(view)


def test_a_failed_order_has_a_code() -> None:
    """A failed order without a reason is a defect, never an empty problem."""
    with pytest.raises(InvariantViolation, match="failure code"):
        frozen_answer(FAILED._replace(failure_code=None))


def test_times_are_utc() -> None:
    """A time in another zone, or in none, is a defect rather than a wrong instant."""
    for zone in (None, timezone(timedelta(hours=1))):
        view = SUCCEEDED._replace(created_at=AT.replace(tzinfo=zone))
        with pytest.raises(InvariantViolation, match="UTC"):
            payment_body(view)


def test_an_unknown_api_version_is_a_defect() -> None:
    """An answer frozen under one version is never rendered by the rules of another."""
    with pytest.raises(InvariantViolation, match="1999-01-01"):
        payment_body(SUCCEEDED._replace(api_version="1999-01-01"))


def test_splits_are_shown_only_where_there_are_any() -> None:
    """A payment without splits keeps its bytes for ever; one with splits shows each part as accepted."""
    text = splits_text([Split(12, 1_200, 17), Split(13, 799, 10)], ["slr_shoes", "slr_hats"])
    without = payment_body(SUCCEEDED)
    assert b"splits" not in without
    body = payment_body(SUCCEEDED._replace(splits_json=text))
    shown = json.loads(body)
    assert shown.pop("splits") == [
        {"seller": "slr_shoes", "amount": 1_200, "fee": 17},
        {"seller": "slr_hats", "amount": 799, "fee": 10},
    ]
    assert shown == json.loads(without)
