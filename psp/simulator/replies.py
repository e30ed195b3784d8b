"""Replies of the sandbox PSP before they are bytes, and those that always read the same. Pure."""

from __future__ import annotations

import msgspec

from psp.simulator.behaviour import RETRY_AFTER_RATE_LIMITED_S
from psp.simulator.wire import AnswerBody


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP answer before it is bytes."""

    status: int
    body: AnswerBody


def problem(status: int, code: str, message: str, *, retry_after_s: float | None = None) -> Reply:
    """Return a reply that says why there is no charge to show."""
    return Reply(
        status=status, body=AnswerBody(code=code, message=message, retry_after_s=retry_after_s)
    )


def named(reply: Reply, key: str) -> Reply:
    """Return a reply that says that a request did not run with the key of that request.

    Without it, one that strays into another request's place would be proof that the other did not run.
    """
    if reply.status not in _DID_NOT_RUN:
        return reply
    return Reply(status=reply.status, body=msgspec.structs.replace(reply.body, key=key))


_DID_NOT_RUN = frozenset({429, 503})

DID_NOT_RUN = problem(
    503, "did_not_run", "Not available; the request did not run.", retry_after_s=1
)
IN_PROGRESS = problem(409, "key_in_progress", "Another request with this key is running.")
LOCKED = problem(
    429,
    "lock_timeout",
    "Another request changes this charge; this one did not run.",
    retry_after_s=0.1,
)
KEY_REUSED = problem(409, "idempotency_key_reused", "This key was used with other parameters.")
NOT_FOUND = problem(404, "not_found", "No such charge.")
NOT_DISPUTABLE = problem(409, "not_disputable", "The charge can't be disputed so.")
FAILED = problem(500, "internal", "Something went wrong.")
RATE_LIMITED = problem(
    429, "rate_limited", "Too many requests.", retry_after_s=RETRY_AFTER_RATE_LIMITED_S
)
