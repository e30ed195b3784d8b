"""Captures, voids, refunds and expiries: what the books refuse, and what an operation that was done changes.

An operation is run as an order is: an attempt before each call, the same rules for what is clean and
what is unknown, its own outcome. It has no fallback: it is bound to the PSP and the account of its
payment's charge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from payments.commands import OperationCommand
from payments.defects import InvariantViolation
from payments.lifecycle import PaymentEvent, PaymentState, next_state
from payments.mode import Mode
from payments.operation_kinds import OperationKind
from payments.operation_rows import OperationRow
from payments.splits import after_capture, after_refund
from payments.standing import PaymentStanding


class Operation(NamedTuple):
    """One operation as its owner holds it: the command, held against its payment."""

    operation_uuid: UUID
    kind: OperationKind
    payment_no: int
    idempotency_key: UUID
    merchant_no: int
    mode: Mode
    amount_minor: int
    currency: str
    psp: str
    psp_account: str
    charge_reference: str
    """The PSP's own id of the charge."""
    fingerprint: bytes
    accepted_at: datetime
    api_version: str
    reply_to: str

    @property
    def order_uuid(self) -> UUID:
        """What the queue, replies and PSP keys know it by, as they know an order by its own."""
        return self.operation_uuid

    def row(
        self, partition_index: int, order_no: int, *, attempt_no: int, is_open: bool
    ) -> OperationRow:
        """Return it as a flush writes it."""
        return OperationRow(
            partition_index=partition_index,
            order_no=order_no,
            operation_uuid=self.operation_uuid,
            kind=self.kind,
            payment_no=self.payment_no,
            idempotency_key=self.idempotency_key,
            merchant_no=self.merchant_no,
            mode=self.mode,
            amount_minor=self.amount_minor,
            currency=self.currency,
            fingerprint=self.fingerprint,
            api_version=self.api_version,
            accepted_at=self.accepted_at,
            attempt_no=attempt_no,
            is_open=is_open,
        )


class Refusal(NamedTuple):
    """Why the books refuse an operation: no PSP is asked."""

    code: str
    message: str


# Expiries are nobody's request: they are shown by the rules of the version that brought them.
OWN_API_VERSION = "2026-11-01"

PAYMENT_NOT_AUTHORIZED = "payment_not_authorized"
PAYMENT_NOT_CAPTURED = "payment_not_captured"
CAPTURE_EXCEEDS_AUTHORIZED = "capture_exceeds_authorized"
REFUND_EXCEEDS_CAPTURED = "refund_exceeds_captured"
OPERATIONS_EXHAUSTED = "operations_exhausted"

# Each is a row for ever, also a refused one. A payment that is captured and refunded in a hundred parts
# each is still a storefront's own slip of a loop. Gateways refuse what is above it and keep nothing; what
# comes at once passes them, and is refused by the payment's owner, who walks over the open ones at each
# step: at twice the limit that takes four times as long.
OPERATIONS_MAX = 200
EXHAUSTED_MESSAGE = (
    f"At most {OPERATIONS_MAX} captures, voids and refunds are taken for one payment."
)

REFUSAL_STATUSES: Mapping[str, int] = {
    PAYMENT_NOT_AUTHORIZED: 409,
    PAYMENT_NOT_CAPTURED: 409,
    CAPTURE_EXCEEDS_AUTHORIZED: 422,
    REFUND_EXCEEDS_CAPTURED: 422,
    OPERATIONS_EXHAUSTED: 422,
}
"""The HTTP status of each, which is frozen with it."""


def exhausted(payment: PaymentStanding) -> Refusal | None:
    """Return the refusal of one more operation where a payment had as many as one may have, or None."""
    if payment.operation_count < OPERATIONS_MAX:
        return None
    return Refusal(OPERATIONS_EXHAUSTED, EXHAUSTED_MESSAGE)


def amount_of(
    command: OperationCommand, payment: PaymentStanding, in_flight: Iterable[Operation]
) -> int:
    """Return what an operation is to move, where its command leaves that to the books.

    That is all that is left, once what is in flight is done. Of a void it is what is held.
    """
    if command.amount_minor is not None and command.kind is not OperationKind.VOID:
        return command.amount_minor
    if command.kind is OperationKind.REFUND:
        return max(0, payment.refundable_minor - sum_of(in_flight, OperationKind.REFUND))
    taken_minor = sum_of(in_flight, OperationKind.CAPTURE) + payment.parked_capture_minor
    return max(0, payment.held_minor - taken_minor)


def refusal_of(
    kind: OperationKind,
    amount_minor: int,
    payment: PaymentStanding,
    in_flight: Iterable[Operation],
) -> Refusal | None:
    """Return the first reason to refuse an operation, in order of precedence, or None.

    ``in_flight`` are the operations on the same payment that were taken in before and have not ended.
    For one that takes turns, those before it have ended when this is asked for the last time.
    """
    if payment.psp is None or payment.psp_reference is None:
        code = PAYMENT_NOT_CAPTURED if kind is OperationKind.REFUND else PAYMENT_NOT_AUTHORIZED
        return Refusal(code, f"The payment is {payment.status.wire}.")
    match kind:
        case OperationKind.REFUND:
            return _refund_refusal(amount_minor, payment, in_flight)
        case OperationKind.CAPTURE:
            if payment.held_minor == 0:
                return Refusal(PAYMENT_NOT_AUTHORIZED, f"The payment is {payment.status.wire}.")
            if amount_minor > payment.held_minor or amount_minor == 0:
                return Refusal(
                    CAPTURE_EXCEEDS_AUTHORIZED,
                    f"{payment.held_minor} of the authorized amount are left to be captured.",
                )
        case OperationKind.VOID:
            if payment.status is not PaymentState.REQUIRES_CAPTURE:
                return Refusal(PAYMENT_NOT_AUTHORIZED, f"The payment is {payment.status.wire}.")
        case OperationKind.EXPIRY:
            if payment.held_minor == 0:
                return Refusal(PAYMENT_NOT_AUTHORIZED, f"The payment is {payment.status.wire}.")
    return None


def _refund_refusal(
    amount_minor: int, payment: PaymentStanding, in_flight: Iterable[Operation]
) -> Refusal | None:
    if payment.captured_minor == 0:
        return Refusal(PAYMENT_NOT_CAPTURED, f"The payment is {payment.status.wire}.")
    left_minor = payment.refundable_minor - sum_of(in_flight, OperationKind.REFUND)
    if amount_minor > left_minor or amount_minor == 0:
        return Refusal(
            REFUND_EXCEEDS_CAPTURED,
            f"{max(0, left_minor)} of the captured amount are left to be refunded.",
        )
    return None


def sum_of(in_flight: Iterable[Operation], kind: OperationKind) -> int:
    """What the open operations of a kind are to move, in minor units."""
    return sum(operation.amount_minor for operation in in_flight if operation.kind is kind)


def after_done(operation: Operation, payment: PaymentStanding) -> PaymentEvent | None:
    """Return what an operation that was done makes happen to its payment; None: its state stays."""
    match operation.kind:
        case OperationKind.CAPTURE:
            is_all = operation.amount_minor == payment.held_minor
            return PaymentEvent.SUCCEEDED if is_all else PaymentEvent.PARTIALLY_CAPTURED
        case OperationKind.VOID:
            return PaymentEvent.CANCELED
        case OperationKind.EXPIRY:
            is_none_captured = payment.captured_minor == 0
            return PaymentEvent.EXPIRED if is_none_captured else PaymentEvent.SUCCEEDED
        case OperationKind.REFUND:
            return None


def done(operation: Operation, payment: PaymentStanding) -> PaymentStanding:
    """Return the payment as it stands after the operation. Raises InvariantViolation for what the books refuse."""
    event = after_done(operation, payment)
    amount_minor = operation.amount_minor
    if operation.kind is OperationKind.REFUND:
        payment = payment._replace(
            refunded_minor=payment.refunded_minor + amount_minor,
            splits=after_refund(payment.splits, amount_minor) if payment.splits else (),
        )
    elif operation.kind is OperationKind.CAPTURE:
        fee_minor = payment.fee_due_minor(amount_minor)
        payment = payment._replace(
            captured_minor=payment.captured_minor + amount_minor,
            fee_taken_minor=payment.fee_taken_minor + fee_minor,
            splits=after_capture(payment.splits, amount_minor) if payment.splits else (),
        )
    if payment.captured_minor > payment.amount_minor:
        raise InvariantViolation("more was captured than authorized")
    if payment.refunded_minor > payment.captured_minor:
        raise InvariantViolation("more was refunded than captured")
    if event is None:
        return payment
    return payment._replace(
        status=next_state(payment.status, event), event_sequence=payment.event_sequence + 1
    )
