"""What a verdict says to the storefront: an order's answer, or the problem."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.door import Answer
from gateway.idempotency import Verdict
from gateway.open_requests import Decided
from gateway.problems import Problem
from gateway.refusals import BACKPRESSURE, UNDECIDED_KEY, reused, unproven
from gateway.rendering import accepted_response, frozen_response, running_response
from payments import fingerprint
from payments.commands import PaymentCommand
from payments.defects import InvariantViolation
from storage.envelope import accepted_at_ms
from storage.read_ports import StoredOrder
from storage.set_aside_orders import under_key


def verdict_answer(
    decided: Decided, command: PaymentCommand, seller_id: str, splits_json: str | None = None
) -> Answer:
    """Return what a verdict on an order says. ``splits_json``: its splits as they are shown."""
    verdict, order = decided.verdict, decided.order
    match verdict:
        case Verdict.FROZEN | Verdict.RUNNING:
            assert isinstance(order, StoredOrder)
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
                splits_json=splits_json,
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
            return reused(fingerprint.differs(own_fingerprint, first, fields))
        case Verdict.BACKPRESSURE:
            return BACKPRESSURE
        case Verdict.UNPROVEN:
            return unproven(may_run=decided.may_run)
        case Verdict.UNDECIDED_KEY:
            return UNDECIDED_KEY
        case _:
            raise InvariantViolation(f"{decided.verdict.value} is no refusal")
