"""The receipt of a payment."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from ops.api_client import ApiAnswer
from ops.output import Output
from ops.receipt import Receipt, print_receipt
from payments.answer import payment_body
from payments.identity import dead_letter_id
from payments.mode import Mode
from storage.letters import Letter, LetterState
from storage.set_aside_orders import set_aside_order, under_key

PAYMENT: dict[str, Any] = {
    "id": "7f1c0c8e-0000-4000-8000-000000000001",
    "status": "succeeded",
    "amount": 1999,
    "currency": "USD",
    "fee": 88,
    "seller": "slr_shoes",
    "psp": "simulator",
    "psp_reference": "ch_a",
    "attempts": 1,
    "created_at": "2026-01-01T00:00:00.100Z",
    "effective_at": "2026-01-01T00:00:00.200Z",
    "ledger_updated_at": "2026-01-01T00:00:00.300Z",
}
TRANSFER = {
    "debit_account": "psp_receivable:simulator",
    "credit_account": "wallet:slr_shoes",
    "amount": 1999,
    "currency": "USD",
    "kind": "charge",
}


def answer(http_status: int, body: Mapping[str, Any]) -> ApiAnswer:
    return ApiAnswer(status=http_status, headers={}, body=body)


def printed(receipt: Receipt, letter: Letter | None = None) -> str:
    stream = io.StringIO()
    print_receipt(receipt, Output({}, out=stream, err=io.StringIO()), letter)
    return stream.getvalue()


def test_a_receipt_has_states_transfers_and_the_wallet() -> None:
    """Each state has its time, each transfer both its accounts, the wallet its change."""
    receipt = Receipt(
        answer=answer(201, PAYMENT),
        idempotency_key=PAYMENT["id"],
        transfers=[TRANSFER],
        wallet_before={"balances": []},
        wallet_after={"balances": [{"currency": "USD", "available": 1911}]},
    )
    text = printed(receipt)
    assert receipt.is_succeeded
    for part in ("00.100Z", "00.200Z", "00.300Z", "ch_a", "psp_receivable:simulator", "0.88 USD"):
        assert part in text
    assert "Wallet before 0.00 USD, after 19.11 USD" in text


def test_states_that_were_not_reached_are_not_shown() -> None:
    """An order that still runs shows when it was created, and no time that it doesn't have."""
    running = {**PAYMENT, "status": "processing", "effective_at": None, "ledger_updated_at": None}
    receipt = Receipt(answer=answer(202, running), idempotency_key=PAYMENT["id"])
    text = printed(receipt)
    assert receipt.is_undecided
    assert not receipt.is_succeeded
    assert "created" in text
    assert "books" not in text


@pytest.mark.parametrize(
    ("status", "capture", "said"),
    [
        ("succeeded", "automatic", "the PSP has charged it"),
        ("succeeded", "manual", "the PSP has authorized it"),
        ("requires_capture", "manual", "the PSP has authorized it"),
        ("partially_captured", "manual", "the PSP has authorized it"),
        ("failed", "automatic", "the PSP has said what became of it"),
        ("canceled", "manual", "the PSP has said what became of it"),
        ("expired", "automatic", "the PSP has said what became of it"),
    ],
)
def test_a_charge_is_told_only_of_what_was_charged(status: str, capture: str, said: str) -> None:
    """Nobody reads of a declined payment that it was charged."""
    payment = {**PAYMENT, "status": status, "capture": capture}
    text = printed(Receipt(answer=answer(200, payment), idempotency_key=PAYMENT["id"]))
    assert said in text
    assert ("charged" in text) == ("charged" in said)


def test_a_reference_that_does_not_exist_yet_is_a_dash() -> None:
    """An order whose provider gave no reference names the provider, and no "None"."""
    unsent = {**PAYMENT, "status": "processing", "psp_reference": None, "effective_at": None}
    text = printed(Receipt(answer=answer(202, unsent), idempotency_key=PAYMENT["id"]))
    assert "simulator –" in text
    assert "None" not in text


def test_a_refusal_says_its_code_and_reason() -> None:
    """A problem comes out with its status, code, detail and decline code."""
    problem = answer(
        402, {"code": "declined", "detail": "Not now.", "decline_code": "do_not_honor"}
    )
    text = printed(Receipt(answer=problem, idempotency_key="k"))
    assert "402 declined: Not now (decline code do_not_honor)" in text


def test_a_buyer_who_has_to_act_is_told_where_and_until_when() -> None:
    """An order that waits for its buyer shows the page and its deadline, and says that it waits."""
    waiting = {
        **PAYMENT,
        "status": "requires_action",
        "outcome": "known",
        "next_action": {
            "type": "redirect",
            "url": "http://127.0.0.1:7405/3ds/ch_a",
            "expires_at": "2026-01-01T00:15:00.000Z",
        },
    }
    receipt = Receipt(answer=answer(202, waiting), idempotency_key=PAYMENT["id"])
    text = printed(receipt)
    assert "redirect: http://127.0.0.1:7405/3ds/ch_a" in text
    assert "2026-01-01T00:15:00.000Z" in text
    assert receipt.waits_for == "it waits for the buyer"


def test_unknown_is_said_only_of_what_is_unknown() -> None:
    """A running order is told apart from one whose provider's answer is not known."""
    for outcome, words in (("known", "still being processed"), ("unknown", "not known yet")):
        body = {**PAYMENT, "status": "processing", "outcome": outcome}
        receipt = Receipt(answer=answer(202, body), idempotency_key=PAYMENT["id"])
        assert words in receipt.waits_for


def test_what_keeps_a_payment_from_its_end_is_shown() -> None:
    """An unknown outcome, the number of attempts and the time of the next try are in the table."""
    body = {
        **PAYMENT,
        "status": "processing",
        "outcome": "unknown",
        "attempts": 3,
        "next_retry_at": "2026-01-01T00:20:00.000Z",
    }
    text = printed(Receipt(answer=answer(200, body), idempotency_key=PAYMENT["id"]))
    lines = [line.split() for line in text.splitlines()]
    assert ["attempts", "3"] in lines
    assert ["next", "try", "2026-01-01T00:20:00.000Z"] in lines
    assert "unknown: the PSP has not said" in text


def test_a_failure_is_shown_with_its_code_and_message() -> None:
    """Why a payment failed is in the table: code, decline code and message, as far as there are any."""
    failure: dict[str, str | None] = {
        "code": "declined",
        "decline_code": "do_not_honor",
        "message": "Ask the bank.",
    }
    body = {**PAYMENT, "status": "failed", "failure": failure}
    text = printed(Receipt(answer=answer(200, body), idempotency_key=PAYMENT["id"]))
    assert "declined (do_not_honor): Ask the bank." in text
    bare = {**body, "failure": {"code": "not_charged", "decline_code": None, "message": None}}
    text = printed(Receipt(answer=answer(200, bare), idempotency_key=PAYMENT["id"]))
    assert "not_charged" in text
    assert "None" not in text


@pytest.mark.parametrize("is_discarded", [True, False])
@pytest.mark.parametrize("is_letter_known", [True, False])
def test_a_payment_behind_a_dead_letter_is_told_in_words(
    is_discarded: bool, is_letter_known: bool
) -> None:
    """It says what is known, which letter or that it was discarded, and never "None"."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    order = set_aside_order(
        UUID(int=7),
        3,
        merchant_no=1,
        mode=Mode.TEST,
        fingerprint=b"",
        accepted_at=at,
        discarded_at=at if is_discarded else None,
        api_version="2026-11-01",
    )
    body = json.loads(payment_body(under_key(order, UUID(PAYMENT["id"]))))
    letter = Letter(
        dead_letter_no=2,
        partition_index=3,
        stream_id="1-1",
        order_uuid=UUID(int=7),
        merchant_id="mrc_x",
        mode=Mode.TEST,
        reason="handler_defect",
        detail="ValueError",
        attempt_count=1,
        is_order=True,
        state=LetterState.DISCARDED if is_discarded else LetterState.WAITING,
        refusal=None,
        envelope_bytes=10,
        created_at=at,
    )
    receipt = Receipt(
        answer=answer(200, body),
        idempotency_key=PAYMENT["id"],
        wallet_before={"balances": []},
        wallet_after={"balances": []},
    )
    text = printed(receipt, letter if is_letter_known else None)
    assert "None" not in text
    assert "its key, its merchant" in text
    assert (
        f"tally dead-letters show {dead_letter_id(2)}" if is_letter_known else "dead-letters list"
    ) in text
    assert ("handler_defect" in text) == is_letter_known
    assert ("order_discarded: an operator discarded" in text) == is_discarded
    assert ("an operator replays or discards it" in text) != is_discarded
