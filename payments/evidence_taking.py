"""Evidence in a decision: whether it ends its order, and the row that says what became of it."""

from __future__ import annotations

from datetime import datetime

from payments.decided import Decided
from payments.event_judging import after_event
from payments.event_rows import EventVerdict
from payments.evidence import after_evidence, result_row
from payments.next_step import Ended
from payments.open_order import CallAnswer, OpenOrder
from payments.psp_terms import PspTerms
from payments.retry_policy import RetryPolicy


def evidence_ends(
    decided: Decided,
    order: OpenOrder | None,
    said: CallAnswer,
    *,
    now: datetime,
    terms: PspTerms,
    policy: RetryPolicy,
) -> Ended | None:
    """Return how the order ends by what people, or a PSP's event, say; None when it does not.

    The result goes into ``decided``. An event that has to wait has none, and is looked at again.
    """
    epoch = decided.head_before.epoch
    if said.event is None:
        verdict = after_evidence(order, said, now=now, epoch=epoch, terms=terms, policy=policy)
        batch_seq = decided.head_before.batch_seq + 1
        decided.evidence.append(result_row(said, batch_seq, verdict))
        return verdict if isinstance(verdict, Ended) else None
    judged = after_event(order, said, now=now, epoch=epoch, terms=terms, policy=policy)
    if judged is None:
        return None
    event_uuid, order_no = said.event.event.event_uuid, said.event.order_no
    if isinstance(judged, Ended):
        decided.end_event(event_uuid, order_no, EventVerdict.APPLIED, "")
        return judged
    decided.end_event(event_uuid, order_no, judged.result, judged.detail)
    return None
