"""What there is to say of the routes of captures, voids and refunds; their handlers are in ``gateway.operations``."""

from __future__ import annotations

from gateway.finding import NOT_FOUND
from gateway.openapi.common import APPLIED, IDEMPOTENCY_KEY, KEY_CHECK, LIMIT, PREFER, REPLAYED
from gateway.openapi.declarations import (
    Answered,
    Body,
    Declaration,
    Example,
    Header,
    Link,
    Parameter,
    Tag,
    problem_answer,
)
from gateway.operation_requests import CaptureRequest, RefundRequest, VoidRequest
from gateway.payment_declarations import PAYMENT_ID
from gateway.payment_examples import MISSING_KEY, REFUNDED_KEY
from gateway.problems import PROBLEM_CONTENT_TYPE, Code
from payments.operation_answer import ID_PREFIXES, REFUND_PATH_BASE
from payments.operation_kinds import OperationKind
from payments.operation_schema import FAILED, OPERATIONS, REFUND_LIST

_LOCATION = Header(
    name="Location",
    text="Where to read the refund.",
    schema={"type": "string", "pattern": f"^{REFUND_PATH_BASE}rf_"},
    is_required=True,
)
_REFUND_LINKS = (
    Link(name="refund", operation="read_refund", parameters={"id": "$response.body#/id"}),
)
_FROZEN = {
    402: "The provider refused. Frozen.",
    409: "The payment stands otherwise. Frozen.",
    422: "It asks for more than there is. Frozen.",
}


def _answers(kind: OperationKind) -> tuple[Answered, ...]:
    is_refund = kind is OperationKind.REFUND
    own = (_LOCATION,) if is_refund else ()
    links = _REFUND_LINKS if is_refund else ()
    done = Answered(
        status=201,
        text="It is done. Frozen.",
        schema=OPERATIONS[kind],
        headers=(*own, REPLAYED, APPLIED),
        links=links,
    )
    runs = Answered(
        status=202,
        text="It is stored on every copy promised, and runs.",
        schema=OPERATIONS[kind],
        headers=(*own, REPLAYED, KEY_CHECK, APPLIED),
        links=links,
    )
    failed = (
        Answered(
            status=status,
            text=text,
            schema=FAILED[kind],
            content_type=PROBLEM_CONTENT_TYPE,
            headers=(REPLAYED, APPLIED),
        )
        for status, text in _FROZEN.items()
    )
    return (done, runs, *failed)


_PROBLEMS = (
    Code.PAYMENT_NOT_FOUND,
    Code.PAYMENT_IN_PROGRESS,
    Code.OPERATIONS_EXHAUSTED,
    Code.IDEMPOTENCY_KEY_REUSED,
    Code.QUEUE_BACKPRESSURE,
)
_OF_AMOUNTS = (Code.AMOUNT_TOO_SMALL, Code.AMOUNT_TOO_LARGE)
_KEYS = "Its key is unique within its payment."

CAPTURE = Declaration(
    name="capture_payment",
    tag=Tag.PAYMENTS,
    summary="Capture an authorized payment",
    text=f"All that is left of the authorization, or a part. {_KEYS}",
    parameters=(PAYMENT_ID, IDEMPOTENCY_KEY, PREFER),
    body=Body(of=CaptureRequest, text="How much; all that is left without it.", is_required=False),
    answers=_answers(OperationKind.CAPTURE),
    problems=(*_PROBLEMS, *_OF_AMOUNTS),
    examples=(
        Example(
            name="missing",
            text="A payment that there is not",
            path={"id": MISSING_KEY},
            headers={"Idempotency-Key": "2d5c1a7e-7a3b-4f0e-8d1c-5b6f2e9a0c31"},
            body={"amount": 1200},
            status=404,
            answer=problem_answer(NOT_FOUND),
        ),
    ),
)
VOID = Declaration(
    name="void_payment",
    tag=Tag.PAYMENTS,
    summary="Give an authorization back",
    text=f"As long as nothing of it was captured. {_KEYS}",
    parameters=(PAYMENT_ID, IDEMPOTENCY_KEY, PREFER),
    body=Body(of=VoidRequest, text="Nothing, or an empty object.", is_required=False),
    answers=_answers(OperationKind.VOID),
    problems=_PROBLEMS,
    examples=(
        Example(
            name="missing",
            text="A payment that there is not",
            path={"id": MISSING_KEY},
            headers={"Idempotency-Key": "91e3b0d4-0c5f-4a6b-b7d2-8f1a4c3e5d62"},
            status=404,
            answer=problem_answer(NOT_FOUND),
        ),
    ),
)
REFUND = Declaration(
    name="refund_payment",
    tag=Tag.PAYMENTS,
    summary="Refund a payment",
    text=f"All that is left of what was captured, or a part. {_KEYS}",
    parameters=(PAYMENT_ID, IDEMPOTENCY_KEY, PREFER),
    body=Body(
        of=RefundRequest,
        text="How much, and why; all that is left without it. The reason is kept, and not shown.",
        is_required=False,
    ),
    answers=_answers(OperationKind.REFUND),
    problems=(*_PROBLEMS, *_OF_AMOUNTS, Code.REASON_INVALID, Code.TEXT_INVALID),
    examples=(
        Example(
            name="part",
            text="A part of what was captured",
            path={"id": REFUNDED_KEY},
            headers={
                "Idempotency-Key": "a7b0c9e2-6f0b-4b0d-9c1d-3d5e7f901b23",
                "Prefer": "wait=10",
            },
            body={"amount": 200, "reason": "one pair came back"},
            status=201,
            answer={
                "id": "rf_b_bcdfghjkmnpqrstvbcdfghjkmnpqrstv",
                "object": "refund",
                "payment": REFUNDED_KEY,
                "status": "succeeded",
                "outcome": "known",
                "amount": 200,
                "currency": "EUR",
                "failure": None,
                "next_retry_at": None,
                "created_at": "2026-11-01T12:05:00.000Z",
                "effective_at": "2026-11-01T12:05:00.120Z",
                "ledger_updated_at": "2026-11-01T12:05:00.150Z",
            },
        ),
    ),
)
LIST_REFUNDS = Declaration(
    name="list_refunds",
    tag=Tag.PAYMENTS,
    summary="List a payment's refunds",
    text="Newest first.",
    parameters=(
        PAYMENT_ID,
        LIMIT,
        Parameter(
            name="starting_after",
            place="query",
            text="The page after this refund of the payment, which has to exist.",
            schema={"type": "string", "pattern": f"^{ID_PREFIXES[OperationKind.REFUND]}_"},
        ),
    ),
    answers=(Answered(status=200, text="One page.", schema=REFUND_LIST),),
    problems=(Code.PAYMENT_NOT_FOUND,),
)
READ_REFUND = Declaration(
    name="read_refund",
    tag=Tag.PAYMENTS,
    summary="Read a refund",
    parameters=(
        Parameter(
            name="id",
            place="path",
            text="The refund's id.",
            schema={"type": "string", "minLength": 1},
        ),
    ),
    answers=(
        Answered(status=200, text="As it stands now.", schema=OPERATIONS[OperationKind.REFUND]),
    ),
    problems=(Code.REFUND_NOT_FOUND,),
)
