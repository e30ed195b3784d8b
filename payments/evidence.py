"""Evidence: what somebody who looked at the PSP's side says became of an attempt of unknown outcome.

It is decided by the ladder that decides the PSP's own answers (``payments.next_step``), as the answer
to a question about that attempt's key. So it ends its own attempt, or nothing.
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from payments.attempts import PspAnswer, ResultClass
from payments.commands import PaymentCommand
from payments.next_step import Ended, after_answer
from payments.open_order import CallAnswer, OpenOrder
from payments.psp_terms import PspTerms
from payments.retry_policy import RetryPolicy
from payments.rows import EvidenceResultRow, EvidenceVerdict, TimerKind

# How an order fails on an operator's word; docs/problems.md says what it means.
NOT_CHARGED_CODE = "not_charged"
NOT_CHARGED_MESSAGE = "The payment was found not to have been charged."

# What people may say. Anything else proves nothing.
EVIDENCE_RESULTS = frozenset({ResultClass.APPROVED, ResultClass.DECLINED_FINAL})

TEXT_CHARACTERS_MIN = 10
TEXT_CHARACTERS_MAX = 500


class EvidenceSource(IntEnum):
    """Who says so. Stored; never renumber."""

    OPERATOR = 1
    SETTLEMENT_REPORT = 2


class Evidence(NamedTuple):
    """One row of evidence that no owner has decided yet."""

    evidence_no: int
    partition_index: int
    order_no: int
    attempt_no: int
    source: int
    result: int
    reference: str | None
    captured_minor: int
    currency: str | None
    effective_at: datetime | None
    """When the money moved, where the source tells; None otherwise."""

    def answer(self) -> CallAnswer:
        """Return it as an answer to a question about the attempt's key."""
        is_operators_no = (
            self.source == EvidenceSource.OPERATOR and self.result == ResultClass.DECLINED_FINAL
        )
        said = PspAnswer(
            result=ResultClass(self.result),
            reference=self.reference,
            captured_minor=self.captured_minor,
            currency=self.currency,
            effective_at=self.effective_at,
        )
        if self.source == EvidenceSource.OPERATOR:
            # People say that it ran, and of how much; whether that was a charge or a hold, its order knows.
            said = said._replace(authorized_minor=self.captured_minor)
        if is_operators_no:
            said = said._replace(failure_code=NOT_CHARGED_CODE, message=NOT_CHARGED_MESSAGE)
        return CallAnswer(
            partition_index=self.partition_index,
            order_no=self.order_no,
            step=TimerKind.QUERY,
            attempt_no=self.attempt_no,
            answer=said,
            evidence_no=self.evidence_no,
        )


def after_evidence(
    order: OpenOrder | None,
    said: CallAnswer,
    *,
    now: datetime,
    epoch: int,
    terms: PspTerms,
    policy: RetryPolicy,
) -> Ended | str:
    """Return how the order ends by it, or why it is refused: then nothing of the order changes.

    What the PSP itself told by a webhook may also say that the key is canceled, and may end an order
    whose outcome is not unknown: when, is decided before (``payments.event_judging``).
    """
    answer = said.answer
    is_psps_word = said.event is not None
    if order is None:
        return "the order is not open: it has ended, or is parked"
    if said.attempt_no != order.attempt.attempt_no:
        return f"it is about attempt {said.attempt_no}; the order's is {order.attempt.attempt_no}"
    if order.is_outcome_known and not is_psps_word:
        return "the outcome is not unknown"
    if answer.result not in EVIDENCE_RESULTS and not (is_psps_word and answer.result.is_definitive):
        return "it does not tell what became of the charge"
    verdict = after_answer(
        order, said.step, _of_kind(order, answer), now=now, epoch=epoch, terms=terms, policy=policy
    )
    if isinstance(verdict, Ended):
        return verdict
    command = order.command
    return (
        f"it names {answer.captured_minor} {answer.currency} in minor units;"
        f" the order is of {command.amount_minor} {command.currency}"
    )


def _of_kind(order: OpenOrder, answer: PspAnswer) -> PspAnswer:
    """What people said of an order that ran, in the terms of what it asked for."""
    if answer.captured_minor == 0 or answer.authorized_minor == 0:
        return answer
    command = order.command
    if isinstance(command, PaymentCommand) and command.captures_manually:
        return answer._replace(captured_minor=0)
    return answer._replace(authorized_minor=0)


def result_row(said: CallAnswer, batch_seq: int, verdict: Ended | str) -> EvidenceResultRow:
    """Return what became of it, as the books keep it."""
    is_refused = isinstance(verdict, str)
    return EvidenceResultRow(
        evidence_no=said.evidence_no or 0,
        partition_index=said.partition_index,
        batch_seq=batch_seq,
        result=EvidenceVerdict.REFUSED if is_refused else EvidenceVerdict.ACCEPTED,
        detail=verdict if isinstance(verdict, str) else "",
    )
