"""What a PSP's event means for its order: it ends it, agrees with how it ended, or contradicts it.

An event never starts anything, and never undoes an end: what tells of a state that is past is ignored.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from payments.attempts import PspAnswer, ResultClass
from payments.defects import InvariantViolation
from payments.event_rows import EventVerdict
from payments.evidence import after_evidence
from payments.lifecycle import PaymentState
from payments.next_step import Ended
from payments.open_order import CallAnswer, OpenOrder
from payments.psp_events import EndedOrder, EventFound, PspEvent
from payments.psp_terms import PspTerms
from payments.retry_policy import RetryPolicy
from payments.rows import TimerKind


class EventEnd(NamedTuple):
    """What became of an event that ended no order."""

    result: EventVerdict
    detail: str = ""


def answer_of(found: EventFound) -> CallAnswer:
    """Return an event as an answer to a question about its attempt's key."""
    event = found.event
    said = PspAnswer(
        result=ResultClass(event.result),
        reference=event.reference,
        decline_code=event.decline_code,
        message=event.message,
        captured_minor=event.captured_minor,
        currency=event.currency,
        effective_at=event.effective_at,
    )
    if event.failure_code is not None:
        said = said._replace(failure_code=event.failure_code)
    return CallAnswer(
        partition_index=found.partition_index,
        order_no=found.order_no or 0,
        step=TimerKind.QUERY,
        attempt_no=event.attempt_no,
        answer=said,
        event=found,
    )


def after_event(
    order: OpenOrder | None,
    said: CallAnswer,
    *,
    now: datetime,
    epoch: int,
    terms: PspTerms,
    policy: RetryPolicy,
) -> Ended | EventEnd | None:
    """Return how the order ends by it, what else becomes of it, or None while it has to wait.

    ``order`` is the open order as it is now; None when it is not open, or not to be touched.
    """
    found = said.event
    if found is None:
        raise InvariantViolation("an answer without an event was judged as one")
    event = found.event
    if found.order_no is None:
        return _overdue(found, EventVerdict.UNMATCHED, "no order of ours has its key")
    if found.attempt_psp is None:
        reason = f"the order has no attempt {event.attempt_no}"
        return _overdue(found, EventVerdict.CONTRADICTS, reason)
    if found.attempt_psp != event.psp:
        return EventEnd(EventVerdict.CONTRADICTS, "the attempt is at another PSP")
    if order is None:
        return None if found.ended is None else _of_ended(event, found.ended)
    if event.attempt_no != order.attempt.attempt_no:
        return _of_left(event) if event.attempt_no < order.attempt.attempt_no else None
    if order.is_outcome_known and not _comes_first(order, event):
        # A call is on its way, or about to be: what it is told comes first.
        return None
    verdict = after_evidence(order, said, now=now, epoch=epoch, terms=terms, policy=policy)
    return verdict if isinstance(verdict, Ended) else EventEnd(EventVerdict.CONTRADICTS, verdict)


def _comes_first(order: OpenOrder, event: PspEvent) -> bool:
    """Whether an event may end an order that is asked for, or sent, some time later: between two calls.

    A charge may, also one of an attempt that was refused: the PSP's "it did not run" would let it go to
    another PSP, and be charged twice.
    """
    if order.status is PaymentState.REQUIRES_ACTION:
        return True
    has_paused = order.attempt.try_count > 0 or order.parked is not None
    return has_paused and event.result == ResultClass.APPROVED


def _overdue(found: EventFound, result: EventVerdict, detail: str) -> EventEnd | None:
    return EventEnd(result, detail) if found.is_overdue else None


def _of_left(event: PspEvent) -> EventEnd:
    """An attempt that another one followed: it was given up because it surely never charges."""
    if event.result == ResultClass.APPROVED:
        return EventEnd(EventVerdict.CONTRADICTS, "it tells of a charge by an attempt given up")
    return EventEnd(EventVerdict.AGREES)


def _of_authorized(event: PspEvent, ended: EndedOrder) -> EventEnd:
    """Its charge is held. What is captured, or given back, is the word of operations, under their own keys."""
    if event.result == ResultClass.DECLINED_FINAL:
        return EventEnd(EventVerdict.CONTRADICTS, "the books say that it was authorized")
    if event.result == ResultClass.APPROVED and event.currency != ended.currency:
        return EventEnd(EventVerdict.CONTRADICTS, f"it names {event.currency}")
    return EventEnd(EventVerdict.AGREES)


def _of_ended(event: PspEvent, ended: EndedOrder) -> EventEnd:
    state = PaymentState(ended.status)
    is_of_the_end = event.attempt_no == ended.attempt_no
    if state is PaymentState.REQUIRES_CAPTURE and is_of_the_end:
        return _of_authorized(event, ended)
    if event.result != ResultClass.APPROVED:
        if state is PaymentState.SUCCEEDED and is_of_the_end:
            return EventEnd(EventVerdict.CONTRADICTS, "the books say that it was charged")
        return EventEnd(EventVerdict.AGREES)
    if state is not PaymentState.SUCCEEDED:
        return EventEnd(
            EventVerdict.CONTRADICTS, f"it tells of a charge; the order is {state.wire}"
        )
    if not is_of_the_end:
        return _of_left(event)
    if (event.captured_minor, event.currency) != (ended.captured_minor, ended.currency):
        return EventEnd(
            EventVerdict.CONTRADICTS,
            f"it names {event.captured_minor} {event.currency} in minor units;"
            f" the books hold {ended.captured_minor} {ended.currency}",
        )
    references = {event.reference, ended.psp_reference} - {None}
    if len(references) > 1:
        return EventEnd(EventVerdict.CONTRADICTS, "it names another charge than the books")
    return EventEnd(EventVerdict.AGREES)
