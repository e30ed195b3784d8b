"""Problems (RFC 9457): one table of codes, one way to answer them.

A code is stable and has one HTTP status. Every code has a section in ``docs/problems.md``, and the
``type`` of a problem leads there. Codes of failed payments (402) come from ``payments.answer``:
they are part of the frozen answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import msgspec
from aiohttp import web

PROBLEM_TYPE_BASE = "/docs/problems#"
PROBLEM_CONTENT_TYPE = "application/problem+json"


class ProblemKind(NamedTuple):
    """What is fixed about a code. ``is_retryable``: the very same request may succeed later."""

    status: int
    title: str
    is_retryable: bool


def _final(status: int, title: str) -> ProblemKind:
    return ProblemKind(status, title, False)


def _retryable(status: int, title: str) -> ProblemKind:
    return ProblemKind(status, title, True)


class Code(Enum):
    """Every problem the gateway answers by itself. The member's name in lower case is the code."""

    # 400: can't be read
    REQUEST_MALFORMED = _final(400, "The request is not valid HTTP")
    JSON_INVALID = _final(400, "The body is not valid JSON")
    JSON_MEMBER_REPEATED = _final(400, "A JSON object names a member twice")
    FIELD_UNKNOWN = _final(400, "A field is not known")
    FIELD_MISSING = _final(400, "A required field is missing")
    FIELD_TYPE_INVALID = _final(400, "A field has the wrong type")
    PARAMETER_UNKNOWN = _final(400, "A query parameter is not known")
    PARAMETER_INVALID = _final(400, "A query parameter has an invalid value")
    IDEMPOTENCY_KEY_MISSING = _final(400, "The Idempotency-Key header is missing")
    IDEMPOTENCY_KEY_INVALID = _final(400, "The Idempotency-Key is not a UUID")
    VERSION_UNKNOWN = _final(400, "The API version is not known")
    WEBHOOK_INVALID = _final(400, "The webhook can't be read")
    # 401, 403: who is asking
    API_KEY_MISSING = _final(401, "An API key is needed")
    API_KEY_INVALID = _final(401, "The API key is not valid")
    MERCHANT_KEY_REQUIRED = _final(403, "This needs a merchant's API key")
    OPERATOR_KEY_REQUIRED = _final(403, "This needs an operator's API key")
    WEBHOOK_SIGNATURE_INVALID = _final(403, "The webhook is not signed by its PSP")
    WEBHOOK_TIMESTAMP_INVALID = _final(403, "The webhook was signed too long ago")
    # 404 to 417: wrong place, wrong form
    NOT_FOUND = _final(404, "There is no such route")
    PAYMENT_NOT_FOUND = _final(404, "There is no such payment")
    CHECKOUT_NOT_FOUND = _final(404, "There is no such checkout")
    WALLET_NOT_FOUND = _final(404, "There is no such wallet")
    DEAD_LETTER_NOT_FOUND = _final(404, "There is no such dead letter")
    REFUND_NOT_FOUND = _final(404, "There is no such refund")
    DISPUTE_NOT_FOUND = _final(404, "There is no such dispute")
    EVENT_NOT_FOUND = _final(404, "There is no such event")
    WEBHOOK_ENDPOINT_NOT_FOUND = _final(404, "There is no such webhook endpoint")
    WEBHOOK_DELIVERY_NOT_FOUND = _final(404, "There is no such delivery")
    PSP_NOT_FOUND = _final(404, "No PSP of that name sends webhooks")
    METHOD_NOT_ALLOWED = _final(405, "The method is not allowed here")
    REQUEST_TIMEOUT = _retryable(408, "The request did not arrive in time")
    PAYMENT_IN_PROGRESS = _retryable(409, "The payment has not ended yet")
    SELLER_EXISTS = _final(409, "A seller of that id exists already")
    DEAD_LETTER_CLOSED = _final(409, "The dead letter was dealt with otherwise")
    TOO_MANY_ENDPOINTS = _final(409, "There are as many webhook endpoints as there may be")
    BODY_TOO_LARGE = _final(413, "The body is too large")
    CONTENT_TYPE_UNSUPPORTED = _final(415, "The content type is not supported")
    EXPECTATION_FAILED = _final(417, "The Expect header can't be met")
    # 422: understood but refused
    AMOUNT_TOO_SMALL = _final(422, "The amount is too small")
    AMOUNT_TOO_LARGE = _final(422, "The amount is too large")
    CURRENCY_NOT_SUPPORTED = _final(422, "The currency is not supported")
    SELLER_UNKNOWN = _final(422, "The seller is not known")
    SELLER_INVALID = _final(422, "The seller can't be created so")
    FEE_INVALID = _final(422, "The fee is not valid")
    PAYMENT_METHOD_INVALID = _final(422, "The payment method can't be used")
    SANDBOX_TOKEN_REFUSED = _final(422, "A sandbox token can't be used with a live key")
    CAPTURE_INVALID = _final(422, "The capture mode is not known")
    SPLITS_INVALID = _final(422, "The charge can't be shared so")
    OPERATIONS_EXHAUSTED = _final(422, "Too much was done to the payment already")
    CHECKOUT_INVALID = _final(422, "The checkout can't be made so")
    RETURN_URL_INVALID = _final(422, "The buyer can't be sent back to this URL")
    ORDER_ID_REUSED = _final(422, "An order's id was used with another request")
    DESCRIPTION_TOO_LONG = _final(422, "The description is too long")
    REASON_INVALID = _final(422, "The reason can't be kept")
    METADATA_INVALID = _final(422, "The metadata is over its limits")
    BUYER_INVALID = _final(422, "The buyer's data is over its limits")
    WEBHOOK_URL_INVALID = _final(422, "The URL can't receive webhooks")
    WEBHOOK_TYPES_INVALID = _final(422, "The types of events are not known")
    WEBHOOK_OVERLAP_INVALID = _final(422, "Two secrets can't be valid for so long")
    RESEND_RANGE_INVALID = _final(422, "The range of deliveries is not valid")
    TEXT_INVALID = _final(422, "A text holds a character that can't be stored")
    PAN_NOT_ACCEPTED = _final(422, "Card numbers are not accepted")
    IDEMPOTENCY_KEY_REUSED = _final(422, "The key was used with another request")
    # 429: too much at once
    TOO_MANY_STREAMS = _retryable(429, "Too many streams are open")
    # 5xx: ours
    INTERNAL_ERROR = _retryable(500, "Something went wrong on our side")
    QUEUE_BACKPRESSURE = _retryable(503, "Too much is waiting; try again soon")
    STORE_UNAVAILABLE = _retryable(503, "A store can't be reached; try again soon")

    @property
    def wire(self) -> str:
        """The code in the API, such as ``amount_too_small``."""
        return self._name_.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One refusal, ready to be answered.

    ``param`` is where it lies: a JSON path (``$.amount``), ``header:<name>`` or ``query:<name>``.
    ``detail`` and ``details`` never repeat what the client sent, but for names of ours.
    """

    code: Code
    detail: str
    param: str | None = None
    details: Mapping[str, object] | None = None
    retry_after_s: int | None = None


# A queue drains, and a store restarts, within seconds; retrying sooner only adds to the crowd.
RETRY_AFTER_S = 1

_encoder = msgspec.json.Encoder()


def problem_body(problem: Problem, request_id: str) -> bytes:
    """Return the problem as JSON."""
    kind: ProblemKind = problem.code.value
    document: dict[str, object] = {
        "type": PROBLEM_TYPE_BASE + problem.code.wire,
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "instance": f"urn:tallystick:request:{request_id}",
        "code": problem.code.wire,
        "retryable": kind.is_retryable,
        "request_id": request_id,
    }
    if problem.param is not None:
        document["param"] = problem.param
    if problem.details is not None:
        document["details"] = problem.details
    return _encoder.encode(document)


def problem_response(problem: Problem, request_id: str) -> web.Response:
    """Return the answer of a problem. The caller adds the headers that every answer has."""
    kind: ProblemKind = problem.code.value
    response = web.Response(
        status=kind.status,
        body=problem_body(problem, request_id),
        headers={"Content-Type": PROBLEM_CONTENT_TYPE, "Cache-Control": "no-store"},
    )
    if kind.status in (429, 503):
        response.headers["Retry-After"] = str(problem.retry_after_s or RETRY_AFTER_S)
    elif kind.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="tallystick"'
    return response


def store_unavailable(detail: str, *, may_run: bool) -> Problem:
    """Return the 503 of a store out of reach. ``may_run``: the order may have been kept and run."""
    return Problem(
        code=Code.STORE_UNAVAILABLE,
        detail=detail,
        details={"may_run": may_run},
    )
