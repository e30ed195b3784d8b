"""What a PSP tells of a dispute, in a decision: its transfers and events, once each, in whatever order it comes."""

from __future__ import annotations

from payments import transfers
from payments.disputes import Dispute, DisputeEvent, DisputeRow, DisputeState
from payments.event_judging import EventEnd
from payments.event_rows import EventVerdict
from payments.psp_events import EventFound, PspEvent
from payments.splits import after_dispute, after_won, dispute_shares_minor
from payments.standing import PaymentStanding
from payments.writing import Writing


def take_dispute(
    writing: Writing, found: EventFound, payment: PaymentStanding | None
) -> PaymentStanding | None:
    """Take an event of a dispute in, and return its payment as it stands then; None: nothing changed.

    Its result goes into the decision; one whose payment is not there yet, or has not ended, or of which less was
    captured so far as we know, has none and is looked at again.
    """
    event = found.event
    refusal = _refusal(found, payment)
    if refusal is not None:
        writing.decided.end_event(event.event_uuid, found.order_no, *refusal)
        return None
    if payment is None or payment.psp is None:
        return None
    if not _is_captured(found, payment):
        return None
    known = next((each for each in payment.disputes if each.reference == event.dispute_id), None)
    told = DisputeState(event.dispute_state)
    if known is not None and (told is DisputeState.OPENED or told is known.state):
        # Told again, or late: what followed it is known already.
        writing.decided.end_event(
            event.event_uuid, found.order_no, EventVerdict.AGREES, "it is known already"
        )
        return None
    if known is None:
        known, payment = _opened(writing, event, payment)
    if told is not DisputeState.OPENED:
        payment = _ended(writing, known, told, payment)
    writing.decided.end_event(event.event_uuid, found.order_no, EventVerdict.APPLIED, "")
    return payment


def _refusal(found: EventFound, payment: PaymentStanding | None) -> EventEnd | None:
    """Why an event changes nothing for good; None where it changes something, or has to wait."""
    event = found.event
    if found.order_no is None:
        reason = "no order of ours has its key"
        return EventEnd(EventVerdict.UNMATCHED, reason) if found.is_overdue else None
    if payment is None:
        # A capture, void or refund has its key. A provider's slip must not stop the partition.
        return EventEnd(EventVerdict.CONTRADICTS, "its key is no charge's")
    if payment.psp is None:
        reason = "its payment was charged nowhere"
        return EventEnd(EventVerdict.CONTRADICTS, reason) if found.is_overdue else None
    if event.psp != payment.psp:
        return EventEnd(EventVerdict.CONTRADICTS, "the attempt is at another PSP")
    known = next((each for each in payment.disputes if each.reference == event.dispute_id), None)
    if known is None:
        # A capture may have run, and nobody has heard of it yet.
        is_soon = not found.is_overdue and event.disputed_minor <= payment.amount_minor
        is_possible = event.disputed_minor > 0 and (is_soon or _is_captured(found, payment))
        if event.currency == payment.currency and is_possible:
            return None
        return EventEnd(
            EventVerdict.CONTRADICTS,
            f"it disputes {event.disputed_minor} {event.currency};"
            f" {payment.captured_minor} {payment.currency} were captured",
        )
    is_over = known.state is not DisputeState.OPENED
    if is_over and event.dispute_state not in (DisputeState.OPENED, known.state):
        return EventEnd(EventVerdict.CONTRADICTS, f"the dispute was {known.state.wire}")
    return None


def _is_captured(found: EventFound, payment: PaymentStanding) -> bool:
    """Whether as much was captured as is disputed; of a dispute that we know, it was."""
    event = found.event
    if any(each.reference == event.dispute_id for each in payment.disputes):
        return True
    return event.disputed_minor <= payment.captured_minor


def _opened(
    writing: Writing, event: PspEvent, payment: PaymentStanding
) -> tuple[Dispute, PaymentStanding]:
    dispute = Dispute(
        order_no=writing.next_order_no(),
        reference=event.dispute_id or "",
        state=DisputeState.OPENED,
        amount_minor=event.disputed_minor,
        event_sequence=1,
        shares_minor=tuple(dispute_shares_minor(payment.splits, event.disputed_minor)),
    )
    writing.event(dispute.order_no, 1, DisputeEvent.OPENED, of=payment)
    writing.posting.move(dispute.order_no, transfers.of_dispute(dispute, payment))
    payment = payment._replace(
        disputed_minor=payment.disputed_minor + dispute.amount_minor,
        splits=after_dispute(payment.splits, dispute.shares_minor),
    )
    return dispute, _with(writing, dispute, payment)


def _ended(
    writing: Writing, dispute: Dispute, state: DisputeState, payment: PaymentStanding
) -> PaymentStanding:
    dispute = dispute._replace(state=state, event_sequence=dispute.event_sequence + 1)
    writing.event(dispute.order_no, dispute.event_sequence, DisputeEvent.of(state), of=payment)
    writing.posting.move(dispute.order_no, transfers.of_dispute(dispute, payment))
    if state is DisputeState.WON:
        payment = payment._replace(
            disputed_minor=payment.disputed_minor - dispute.amount_minor,
            splits=after_won(payment.splits, dispute.shares_minor),
        )
    return _with(writing, dispute, payment)


def _with(writing: Writing, dispute: Dispute, payment: PaymentStanding) -> PaymentStanding:
    """Note how a dispute stands, in its row and among its payment's."""
    writing.decided.disputes[dispute.order_no] = DisputeRow(
        partition_index=writing.partition_index,
        order_no=dispute.order_no,
        payment_no=payment.order_no,
        psp=payment.psp or "",
        reference=dispute.reference,
        status=dispute.state,
        amount_minor=dispute.amount_minor,
        currency=payment.currency,
        event_sequence=dispute.event_sequence,
        merchant_no=payment.merchant_no,
        mode=payment.mode,
    )
    others = tuple(each for each in payment.disputes if each.order_no != dispute.order_no)
    return payment._replace(disputes=(*others, dispute))
