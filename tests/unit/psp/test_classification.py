"""What an HTTP answer means: the table, and that nothing unproven is ever believed."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.attempts import PspAnswer, ResultClass
from psp.classification import classify_query, classify_send, not_sent, unknown

KEY = "k"

TABLE = [
    (200, {"key": KEY, "object": "charge", "status": "captured"}, ResultClass.APPROVED),
    (200, {"key": KEY, "object": "charge", "status": "authorized"}, ResultClass.APPROVED),
    (200, {"key": KEY, "object": "refund", "status": "captured"}, ResultClass.APPROVED),
    (200, {"key": KEY, "object": "void", "status": "voided"}, ResultClass.APPROVED),
    (200, {"key": KEY, "object": "charge", "status": "declined"}, ResultClass.UNKNOWN),
    (200, {"key": KEY, "object": "charge"}, ResultClass.UNKNOWN),
    (200, {"key": "another", "object": "charge", "status": "captured"}, ResultClass.UNKNOWN),
    (200, {"object": "charge", "status": "captured"}, ResultClass.UNKNOWN),
    (201, {"key": KEY, "object": "charge", "status": "captured"}, ResultClass.UNKNOWN),
    (202, {"key": KEY, "status": "requires_action"}, ResultClass.REQUIRES_ACTION),
    (202, {"key": KEY}, ResultClass.UNKNOWN),
    (402, {"key": KEY, "decline_code": "do_not_honor"}, ResultClass.DECLINED_FINAL),
    (402, {"decline_code": "do_not_honor"}, ResultClass.UNKNOWN),
    (402, {"key": KEY}, ResultClass.UNKNOWN),
    (410, {"key": KEY, "code": "key_canceled"}, ResultClass.CANCELED),
    (410, {"key": KEY, "status": "voided"}, ResultClass.CANCELED),
    (410, {}, ResultClass.UNKNOWN),
    (429, {"key": KEY, "code": "rate_limited"}, ResultClass.NOT_SENT),
    (429, {"key": "another", "code": "rate_limited"}, ResultClass.UNKNOWN),
    (429, {"code": "rate_limited"}, ResultClass.UNKNOWN),
    (503, {"key": KEY, "code": "did_not_run"}, ResultClass.NOT_SENT),
    (503, {"key": "another", "code": "did_not_run"}, ResultClass.UNKNOWN),
    (503, {"code": "did_not_run"}, ResultClass.UNKNOWN),
    (503, {"key": KEY}, ResultClass.UNKNOWN),
    (503, {}, ResultClass.UNKNOWN),
    (500, {"code": "did_not_run"}, ResultClass.UNKNOWN),
    (409, {"code": "key_in_progress"}, ResultClass.UNKNOWN),
    (409, {"code": "idempotency_key_reused"}, ResultClass.UNKNOWN),
    (404, {"code": "not_found"}, ResultClass.UNKNOWN),
    (400, {"code": "invalid_request"}, ResultClass.UNKNOWN),
    (502, {}, ResultClass.UNKNOWN),
]


@pytest.mark.parametrize(
    "text",
    [
        {"reference": "r" * 256},
        {"reference": "r\0"},
        {"next_action_url": "https://psp.example/" + "a" * 2_048},
        {"decline_code": "d" * 65},
        {"message": "\0"},
    ],
)
def test_a_text_that_cannot_be_kept_decides_nothing(text: dict[str, str]) -> None:
    """An answer whose texts don't fit the books is UNKNOWN, whatever it claims."""
    body = {"key": KEY, "object": "charge", "status": "captured", **text}
    assert classify_send(KEY, 200, msgspec.json.encode(body)).result is ResultClass.UNKNOWN


@pytest.mark.parametrize(("http_status", "body", "result"), TABLE)
def test_each_answer_has_one_meaning(
    http_status: int, body: dict[str, object], result: ResultClass
) -> None:
    """The published table of answers, row by row; what isn't proven is UNKNOWN."""
    assert classify_send(KEY, http_status, msgspec.json.encode(body)).result is result


@pytest.mark.parametrize(("http_status", "body", "result"), TABLE)
def test_a_question_never_proves_that_nothing_was_sent(
    http_status: int, body: dict[str, object], result: ResultClass
) -> None:
    """Answers to queries mean the same, except that NOT_SENT is about the question alone."""
    expected = ResultClass.UNKNOWN if result is ResultClass.NOT_SENT else result
    assert classify_query(KEY, http_status, msgspec.json.encode(body)).result is expected


@given(http_status=st.integers(100, 599), body=st.binary())
def test_nonsense_is_unknown(http_status: int, body: bytes) -> None:
    """Bytes that aren't an answer of ours never prove anything, whatever the status."""
    assert classify_send(KEY, http_status, b"!" + body).result is ResultClass.UNKNOWN


@pytest.mark.parametrize("classify", [classify_send, classify_query])
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 20_000,
        b'{"a":' * 20_000,
        b'{"message":"\xff"}',
        b'{"message":"\\ud800"}',
        b'{"a":1e999}',
    ],
)
def test_hostile_json_is_unknown(
    classify: Callable[[str, int, bytes], PspAnswer], body: bytes
) -> None:
    """An answer that exhausts its reader, or is no UTF-8, is unknown: it must not stop a partition."""
    assert classify(KEY, 200, body).result is ResultClass.UNKNOWN


def test_what_the_psp_says_is_carried_over() -> None:
    """Reference, money, time and wait come through; a message is cut to what the port allows."""
    body = (
        b'{"object":"charge","key":"k","reference":"ch_x","status":"captured","amount":10,'
        b'"currency":"USD","captured":10,"at":"2026-01-02T03:04:05.678Z"}'
    )
    answer = classify_send(KEY, 200, body)
    assert (answer.reference, answer.captured_minor, answer.currency) == ("ch_x", 10, "USD")
    assert answer.effective_at is not None
    assert answer.effective_at.isoformat() == "2026-01-02T03:04:05.678000+00:00"
    limited = classify_send(KEY, 429, b'{"key":"k","code":"rate_limited","retry_after_s":0.5}')
    assert limited.retry_after_s == 0.5
    assert len(unknown("x" * 500).message) == len(not_sent("x" * 500).message) == 200
