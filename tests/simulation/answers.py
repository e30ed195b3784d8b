"""What a verdict says over HTTP, by the gateway's own rendering: status, bytes, and the two headers."""

from __future__ import annotations

from typing import NamedTuple

from aiohttp import web

from gateway.idempotency import Verdict
from gateway.open_requests import Decided
from gateway.problems import Problem, problem_response
from gateway.rendering import HEADER_KEY_CHECK, HEADER_REPLAYED
from gateway.verdicts import verdict_answer
from payments.answer import splits_text
from payments.commands import PaymentCommand
from tests.simulation.records import seller_id_of

# The request ids of problems are of no interest here.
_REQUEST_ID = "simulated"


class Answered(NamedTuple):
    """One answer as a storefront gets it."""

    verdict: Verdict
    status: int
    body: bytes
    is_replayed: bool
    is_deferred: bool
    may_run: bool
    """False: the answer says that the order was certainly not taken in."""


def answered(decided: Decided, command: PaymentCommand, seller_id: str) -> Answered:
    """Return what the storefront hears of a verdict on its request."""
    splits = command.splits or ()
    shown = splits_text(splits, [seller_id_of(split.seller_no) for split in splits])
    answer = verdict_answer(decided, command, seller_id, shown if splits else None)
    may_run = True
    if isinstance(answer, Problem):
        details = answer.details or {}
        may_run = bool(details.get("may_run", False))
        answer = problem_response(answer, _REQUEST_ID)
    assert isinstance(answer, web.Response)
    body = answer.body
    assert isinstance(body, bytes)
    return Answered(
        verdict=decided.verdict,
        status=answer.status,
        body=body,
        is_replayed=HEADER_REPLAYED in answer.headers,
        is_deferred=HEADER_KEY_CHECK in answer.headers,
        may_run=may_run,
    )
