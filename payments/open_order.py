"""An order that has not ended, as its owner holds it in memory, and the PSP call it may be waiting for.

An operation on a payment (payments.operations) is held and run as an order is.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from payments.attempts import Attempt, PspAnswer
from payments.commands import PaymentCommand
from payments.defects import InvariantViolation
from payments.lifecycle import PaymentState
from payments.operations import Operation
from payments.parking import ParkReason
from payments.psp_events import EventFound
from payments.rows import TimerKind
from payments.state import OpenOrderRecord


class OpenOrder(NamedTuple):
    """Replaced as a whole by each decision; never changed in place."""

    order_no: int
    command: PaymentCommand | Operation
    attempt: Attempt
    """Of an operation that waits for its turn (status CREATED) a stand-in, number 0."""
    status: PaymentState
    is_outcome_known: bool
    psp_reference: str | None
    next_action_url: str | None
    action_expires_at: datetime | None
    next_retry_at: datetime | None
    event_sequence: int
    tried_since: datetime
    """The ledger's time of its first attempt: how old its tries are."""
    parked: ParkReason | None = None
    """Why nothing is tried for it at present; None where the next step only waits for its time."""

    @property
    def operation(self) -> Operation | None:
        """The operation that this is; None: it is a payment."""
        return self.command if isinstance(self.command, Operation) else None

    @property
    def payment(self) -> PaymentCommand:
        """The payment that this is. Raises InvariantViolation for an operation."""
        if isinstance(self.command, Operation):
            raise InvariantViolation(f"order {self.order_no} is an operation, not a payment")
        return self.command

    @classmethod
    def from_record(cls, record: OpenOrderRecord) -> OpenOrder:
        """Rebuild an order from the books."""
        return cls(
            order_no=record.order_no,
            command=record.command,
            attempt=record.attempt,
            status=PaymentState(record.status),
            is_outcome_known=record.is_outcome_known,
            psp_reference=record.psp_reference,
            next_action_url=record.next_action_url,
            action_expires_at=record.action_expires_at,
            next_retry_at=record.next_retry_at,
            event_sequence=record.event_sequence,
            tried_since=record.tried_since,
            parked=None if record.parked_reason is None else ParkReason(record.parked_reason),
        )


class PspCall(NamedTuple):
    """A call to start once its attempt row is committed."""

    partition_index: int
    order_no: int
    step: TimerKind
    attempt: Attempt
    psp_reference: str | None
    send_before: datetime | None
    """For a SEND: the ledger's time from which on the PSP may have forgotten the key. Looked at again
    right before the first byte, since a call may have waited for a store or a standby."""
    operation: Operation | None = None
    """What a SEND asks for; None: the charge or authorization that the attempt's request is."""


class CallAnswer(NamedTuple):
    """What came of a PspCall."""

    partition_index: int
    order_no: int
    step: TimerKind
    attempt_no: int
    answer: PspAnswer
    parked: ParkReason | None = None
    """Not None: the call was not made, and the order is to rest for this reason."""
    evidence_no: int | None = None
    """Not None: no call was made; somebody gives evidence of what became of the key (payments.evidence)."""
    event: EventFound | None = None
    """Not None: no call was made; the PSP told it by a webhook (payments.psp_events)."""

    @property
    def is_evidence(self) -> bool:
        """Whether no call was made: nothing waits for it, and it waits for every call."""
        return self.evidence_no is not None or self.event is not None


def disputed_payments(answers: Iterable[CallAnswer]) -> set[int]:
    """Return the payments of which PSPs' events tell a dispute."""
    return {
        answer.order_no
        for answer in answers
        if answer.event is not None
        and answer.event.event.dispute_id is not None
        and answer.event.order_no is not None
    }
