"""The receipt of a payment."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ops.api_client import ApiAnswer
from ops.output import Output
from ops.receipt import Receipt, print_receipt

PAYMENT: dict[str, Any] = {
    "id": "7f1c0c8e-0000-4000-8000-000000000001",
    "status": "succeeded",
    "amount": 1999,
    "currency": "USD",
    "fee": 88,
    "seller": "slr_shoes",
    "psp": "simulator",
    "psp_reference": "ch_a",
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


def printed(receipt: Receipt) -> str:
    stream = io.StringIO()
    print_receipt(receipt, Output({}, out=stream, err=io.StringIO()))
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
