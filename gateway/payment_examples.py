"""Requests for payments with their answers: shown by the documentation, and sent by its test."""

from __future__ import annotations

from gateway.finding import NOT_FOUND
from gateway.openapi.declarations import Example, problem_answer
from gateway.problems import Code, Problem

KEY = "6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11"
_DECLINED_KEY = "0c9a4b1e-52a7-4f5f-8a43-d0e1b1f0a6c2"
REFUNDED_KEY = "4e0a5d5c-2f57-4d0f-8d8e-6a3c1f0b9a21"
_RUNNING_KEY = "b3f6a6d4-1f0b-4c3a-9a57-2f9a4f0c7d10"
_SPLIT_KEY = "d9a5b0c2-7e31-4c6a-8f0e-5b2a6c1d4e70"
_UNUSED_KEY = "a1f2c3d4-5b6a-4c7d-8e9f-0a1b2c3d4e5f"
MISSING_KEY = "00000000-0000-4000-8000-000000000000"

PAYMENT_EXAMPLE: dict[str, object] = {
    "id": KEY,
    "object": "payment_order",
    "status": "succeeded",
    "outcome": "known",
    "amount": 1999,
    "amount_captured": 1999,
    "amount_refunded": 0,
    "currency": "USD",
    "seller": "slr_shoes",
    "fee": 88,
    "psp": "simulator",
    "psp_reference": "ch_lfgbkbrrspkhkdshlgbmtkdq",
    "attempts": 1,
    "failure": None,
    "next_action": None,
    "next_retry_at": None,
    "metadata": {"cart": "c-9"},
    "capture": "automatic",
    "created_at": "2026-11-01T12:00:00.000Z",
    "effective_at": "2026-11-01T12:00:00.120Z",
    "ledger_updated_at": "2026-11-01T12:00:00.150Z",
    "wallet_updated_at": "2026-11-01T12:00:00.150Z",
}
REQUEST = {
    "amount": 1999,
    "currency": "USD",
    "payment_method": "tok_approve",
    "seller": "slr_shoes",
    "capture": "automatic",
    "description": "order 1001",
    "metadata": {"cart": "c-9"},
    "buyer": {"reference": "b-1", "email": "a@example.org", "name": "A. Example"},
}
_FAILURE = {
    "code": "declined",
    "decline_code": "insufficient_funds",
    "message": "The payment was declined.",
}
_DECLINED = {
    **PAYMENT_EXAMPLE,
    "id": _DECLINED_KEY,
    "status": "failed",
    "amount": 500,
    "amount_captured": 0,
    "currency": "EUR",
    "seller": "mrc_bcdfghjkmnpqrstvbcdf",
    "fee": 44,
    "failure": _FAILURE,
    "metadata": {},
    "wallet_updated_at": None,
}
# Of the merchant's own, in another currency.
OWN_EXAMPLE: dict[str, object] = {
    **PAYMENT_EXAMPLE,
    "amount": 500,
    "amount_captured": 500,
    "currency": "EUR",
    "seller": "mrc_bcdfghjkmnpqrstvbcdf",
    "fee": 44,
    "metadata": {},
}
# Of two sellers: the second one's fee is the platform's word, the first one's its own schedule.
_SPLIT = {
    **PAYMENT_EXAMPLE,
    "id": _SPLIT_KEY,
    "amount": 3000,
    "amount_captured": 3000,
    "seller": "mrc_bcdfghjkmnpqrstvbcdf",
    "fee": 138,
    "splits": [
        {"seller": "slr_shoes", "amount": 1999, "fee": 88},
        {"seller": "slr_books", "amount": 1001, "fee": 50},
    ],
    "metadata": {},
}
_RUNNING = {
    **PAYMENT_EXAMPLE,
    "id": _RUNNING_KEY,
    "status": "processing",
    "amount_captured": 0,
    "seller": "mrc_bcdfghjkmnpqrstvbcdf",
    "psp": None,
    "psp_reference": None,
    "attempts": 0,
    "metadata": {},
    "effective_at": None,
    "ledger_updated_at": None,
    "wallet_updated_at": None,
}

CREATE_EXAMPLES = (
    Example(
        name="approved",
        text="A payment for a seller, waited for",
        headers={"Idempotency-Key": KEY, "Prefer": "wait=10"},
        body=REQUEST,
        status=201,
        answer=PAYMENT_EXAMPLE,
    ),
    Example(
        name="declined",
        text="A payment that its provider declines",
        headers={"Idempotency-Key": _DECLINED_KEY, "Prefer": "wait=10"},
        body={
            "amount": 500,
            "currency": "EUR",
            "payment_method": "tok_decline_insufficient_funds",
        },
        status=402,
        answer={
            "type": "/docs/problems#declined",
            "title": "The payment was declined",
            "status": 402,
            "detail": _FAILURE["message"],
            "instance": f"/v1/payments/{_DECLINED_KEY}",
            "code": "declined",
            "decline_code": "insufficient_funds",
            "retryable": False,
            "payment": _DECLINED,
        },
    ),
    Example(
        name="split",
        text="One charge for two sellers",
        headers={"Idempotency-Key": _SPLIT_KEY, "Prefer": "wait=10"},
        body={
            "amount": 3000,
            "currency": "USD",
            "payment_method": "tok_approve",
            "splits": [
                {"seller": "slr_shoes", "amount": 1999},
                {"seller": "slr_books", "amount": 1001, "fee": 50},
            ],
        },
        status=201,
        answer=_SPLIT,
    ),
    Example(
        name="split_wrongly",
        text="Parts that do not sum to the amount",
        headers={"Idempotency-Key": _UNUSED_KEY},
        body={
            "amount": 3000,
            "currency": "USD",
            "payment_method": "tok_approve",
            "splits": [
                {"seller": "slr_shoes", "amount": 1999},
                {"seller": "slr_books", "amount": 1000},
            ],
        },
        status=422,
        answer=problem_answer(
            Problem(
                code=Code.SPLITS_INVALID,
                detail="It must sum to the amount, 3000, not 2999.",
                param="$.splits",
            )
        ),
    ),
    Example(
        name="small",
        text="A payment for the merchant itself",
        headers={"Idempotency-Key": REFUNDED_KEY, "Prefer": "wait=10"},
        body={"amount": 500, "currency": "EUR", "payment_method": "tok_approve"},
        status=201,
        answer={**OWN_EXAMPLE, "id": REFUNDED_KEY},
    ),
    Example(
        name="accepted",
        text="A payment that is not waited for",
        headers={"Idempotency-Key": _RUNNING_KEY},
        body={"amount": 1999, "currency": "USD", "payment_method": "tok_slow_500"},
        status=202,
        answer=_RUNNING,
    ),
    Example(
        name="key_reused",
        text="Another request under a key that was used",
        headers={"Idempotency-Key": KEY},
        body={**REQUEST, "amount": 2999},
        status=422,
        answer=problem_answer(
            Problem(
                code=Code.IDEMPOTENCY_KEY_REUSED,
                detail="This key names another request already. Nothing was charged for this one.",
                param="header:Idempotency-Key",
                details={"differs": ["amount"]},
            )
        ),
    ),
)
READ_EXAMPLES = (
    Example(
        name="succeeded",
        text="A payment that succeeded",
        path={"id": KEY},
        status=200,
        answer=PAYMENT_EXAMPLE,
    ),
    Example(
        name="missing",
        text="A key that names no payment",
        path={"id": MISSING_KEY},
        status=404,
        answer=problem_answer(NOT_FOUND),
    ),
)
LIST_EXAMPLES = (
    Example(
        name="by_metadata",
        text="The payments of one cart",
        query={"metadata[cart]": "c-9", "limit": "1"},
        status=200,
        answer={"object": "list", "data": [PAYMENT_EXAMPLE], "has_more": False},
    ),
)
TRANSFER_EXAMPLES = (
    Example(
        name="charge_and_fee",
        text="A charge with its fee",
        path={"id": KEY},
        status=200,
        answer={
            "object": "list",
            "data": [
                {
                    "id": "tr_c_c_c",
                    "object": "transfer",
                    "kind": "charge",
                    "debit_account": "psp_receivable:simulator",
                    "credit_account": "wallet:slr_shoes",
                    "amount": 1999,
                    "currency": "USD",
                    "created_at": "2026-11-01T12:00:00.150Z",
                    "batch": "bt_c_d",
                },
                {
                    "id": "tr_c_c_d",
                    "object": "transfer",
                    "kind": "fee",
                    "debit_account": "wallet:slr_shoes",
                    "credit_account": "fee_income",
                    "amount": 88,
                    "currency": "USD",
                    "created_at": "2026-11-01T12:00:00.150Z",
                    "batch": "bt_c_d",
                },
            ],
            "has_more": False,
        },
    ),
)
