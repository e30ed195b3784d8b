"""What a verdict says to the storefront: an order's answer, or the problem."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.door import Answer
from gateway.idempotency import Verdict
from gateway.open_requests import Decided
from gateway.problems import Code, Problem, store_unavailable
from gateway.rendering import accepted_response, frozen_response, running_response
from payments import fingerprint
from payments.commands import PaymentCommand
from payments.defects import InvariantViolation
from storage.envelope import accepted_at_ms
from storage.set_aside_orders import under_key

BACKPRESSURE = Problem(
    code=Code.QUEUE_BACKPRESSURE,
    detail="The queue is full. Nothing was kept; send the same request again soon.",
    details={"may_run": False},
)
UNDECIDED_KEY = store_unavailable(
    "The queue knows this key with another request, and the books can't be asked which was first."
    " Send the same request again soon.",
    may_run=True,
)


def verdict_answer(decided: Decided, command: PaymentCommand, seller_id: str) -> Answer:
    """Return what a verdict on an order says."""
    verdict, order = decided.verdict, decided.order
    match verdict:
        case Verdict.FROZEN | Verdict.RUNNING:
            assert order is not None
            view = under_key(order, command.idempotency_key)
            is_replay = view.created_at != command.accepted_at
            if verdict is Verdict.FROZEN:
                return frozen_response(view, is_replay=is_replay)
            return running_response(view, is_replay=is_replay, is_deferred=False)
        case Verdict.ACCEPTED | Verdict.ACCEPTED_DEFERRED:
            first_ms = decided.first_accepted_at_ms
            assert first_ms is not None
            return accepted_response(
                command,
                seller_id,
                first_ms,
                is_replay=first_ms != accepted_at_ms(command.accepted_at),
                is_deferred=verdict is Verdict.ACCEPTED_DEFERRED,
            )
        case _:
            return refusal(decided, command.fingerprint)


def refusal(
    decided: Decided, own_fingerprint: bytes, fields: Sequence[str] = fingerprint.FIELDS
) -> Problem:
    """Return the problem of a verdict that is one. ``fields`` are those that the fingerprint covers."""
    match decided.verdict:
        case Verdict.REUSED:
            order = decided.order
            first = order.fingerprint if order is not None else decided.first_fingerprint
            assert first is not None
            return reused(own_fingerprint, first, fields)
        case Verdict.BACKPRESSURE:
            return BACKPRESSURE
        case Verdict.UNPROVEN:
            return _unproven(may_run=decided.may_run)
        case Verdict.UNDECIDED_KEY:
            return UNDECIDED_KEY
        case _:
            raise InvariantViolation(f"{decided.verdict.value} is no refusal")


def reused(
    own_fingerprint: bytes, first_fingerprint: bytes, fields: Sequence[str] = fingerprint.FIELDS
) -> Problem:
    """Return the problem of a key that another request has taken."""
    return Problem(
        code=Code.IDEMPOTENCY_KEY_REUSED,
        detail="This key names another request already. Nothing was charged for this one.",
        param="header:Idempotency-Key",
        details={"differs": fingerprint.differs(own_fingerprint, first_fingerprint, fields)},
    )


def _unproven(*, may_run: bool) -> Problem:
    if may_run:
        detail = (
            "The order is not safely stored yet, and may run all the same. Send the same request"
            " again with the same Idempotency-Key: it is never charged twice."
        )
    else:
        detail = "The order was not stored. Send the same request again soon."
    return store_unavailable(detail, may_run=may_run)
