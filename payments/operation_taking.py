"""Operations in a decision: their intake, their turn, their end, and what that changes of their payment."""

from __future__ import annotations

from collections.abc import Sequence

from payments import operations, transfers
from payments.attempts import Attempt
from payments.commands import OperationCommand
from payments.decided import Batch, Held
from payments.defects import InvariantViolation
from payments.dispute_taking import take_dispute
from payments.identity import operation_uuid
from payments.lifecycle import PaymentEvent, PaymentState, next_state
from payments.next_step import Ended
from payments.open_order import OpenOrder
from payments.operation_kinds import OperationEvent, OperationKind
from payments.operations import Operation, Refusal
from payments.psp_events import EventFound
from payments.rows import TimerKind
from payments.standing import PaymentStanding
from payments.writing import Writing

# An expiry under way is looked after again: its timer stays until nothing is held any more.
EXPIRY_LOOK_MS = 3_600_000
# The PSP refused to give a hold back: it is asked once more, under a new key.
EXPIRY_AGAIN_MS = 86_400_000


class OperationTaking:
    """What one decision does about operations. One that takes turns begins when those before it have ended."""

    def __init__(self, writing: Writing, held: Held, batch: Batch) -> None:
        self._writing = writing
        self._held = held
        self._loaded = {payment.order_no: payment for payment in batch.standings}
        self._numbers = {payment.order_uuid: payment.order_no for payment in batch.standings}
        self._open: dict[int, tuple[int, ...]] = {}
        """Of payments that this decision touches: their open operations, in the order of intake."""

    def take_in(self, command: OperationCommand) -> None:
        """Take in an operation that is new. Raises InvariantViolation where its payment was not loaded."""
        payment_no = self._numbers.get(command.payment_uuid)
        if payment_no is None:
            raise InvariantViolation("an operation on a payment that is not in the books")
        payment = self._payment(payment_no)
        # Before anything is looked at that grows with what is open already.
        exhausted = operations.exhausted(payment)
        in_flight = () if exhausted is not None else self._in_flight(payment_no)
        amount_minor = operations.amount_of(command, payment, in_flight)
        self._take_in(
            payment,
            Operation(
                operation_uuid=command.operation_uuid,
                kind=command.kind,
                payment_no=payment_no,
                idempotency_key=command.idempotency_key,
                merchant_no=command.merchant_no,
                mode=command.mode,
                amount_minor=amount_minor,
                currency=payment.currency,
                psp=payment.psp or "",
                psp_account=payment.psp_account,
                charge_reference=payment.psp_reference or "",
                fingerprint=command.fingerprint,
                accepted_at=command.accepted_at,
                api_version=command.api_version,
                reply_to=command.reply_to,
            ),
            command.reason,
            in_flight,
            exhausted,
        )

    def authorized(self, order: OpenOrder, expires_in_ms: int) -> None:
        """Note a payment whose charge is only held: nothing of it stays in memory but its timer in the books."""
        command = order.payment
        standing = PaymentStanding(
            order_no=order.order_no,
            order_uuid=command.order_uuid,
            idempotency_key=command.idempotency_key,
            merchant_no=command.merchant_no,
            mode=command.mode,
            seller_no=command.seller_no,
            amount_minor=command.amount_minor,
            currency=command.currency,
            fee_minor=command.fee_minor,
            captures_manually=True,
            psp=order.attempt.psp,
            psp_account=order.attempt.psp_account,
            psp_reference=order.psp_reference,
            status=PaymentState.REQUIRES_CAPTURE,
            captured_minor=0,
            refunded_minor=0,
            fee_taken_minor=0,
            disputed_minor=0,
            event_sequence=order.event_sequence,
            operation_count=0,
            splits=command.parts,
        )
        self._change(standing)
        self._writing.decided.hold_timers[order.order_no] = expires_in_ms

    def expire(self, payment_no: int) -> None:
        """Give back what is left of an authorization whose time is over."""
        payment = self._payment(payment_no)
        in_flight = self._in_flight(payment_no)
        # What is parked may be an expiry, too; nothing would begin before it goes on in any case.
        waits = payment.is_turn_parked or any(o.kind is OperationKind.EXPIRY for o in in_flight)
        if payment.held_minor > 0 and payment.psp is not None and not waits:
            # One a try: a key of its own for each.
            name = operation_uuid(payment.order_uuid, "expiry", payment.order_uuid)
            key = operation_uuid(name, str(payment.operation_count), payment.idempotency_key)
            operation = Operation(
                operation_uuid=operation_uuid(payment.order_uuid, OperationKind.EXPIRY.wire, key),
                kind=OperationKind.EXPIRY,
                payment_no=payment_no,
                idempotency_key=key,
                merchant_no=payment.merchant_no,
                mode=payment.mode,
                amount_minor=payment.held_minor,
                currency=payment.currency,
                psp=payment.psp,
                psp_account=payment.psp_account,
                charge_reference=payment.psp_reference or "",
                fingerprint=b"",
                accepted_at=self._writing.now,
                api_version=operations.OWN_API_VERSION,
                reply_to="",
            )
            self._take_in(payment, operation, None, in_flight)
            payment = self._payment(payment_no)
        # Written in any case: that moves the timer on, or takes it away where nothing is held.
        self._change(payment)
        self._writing.decided.hold_timers[payment_no] = EXPIRY_LOOK_MS

    def dispute(self, found: EventFound) -> None:
        """Take in what a PSP tells of a dispute."""
        # What was not loaded is no payment, but an operation.
        payment = self._payment(found.order_no) if found.order_no in self._loaded else None
        if (changed := take_dispute(self._writing, found, payment)) is not None:
            self._change(changed)

    def end(self, order: OpenOrder, ended: Ended) -> None:
        """Write how an operation ended, what that changes, and let the next one begin."""
        self.next_turn(self._close(order, ended))

    def next_turn(self, payment_no: int) -> None:
        """Let the operation begin whose turn it is, if none is under way.

        Those that the books refuse by now end on the way to it.
        """
        if self._payment(payment_no).is_turn_parked:
            return
        for order_no in self._open_of(payment_no):
            order = self._writing.order(order_no)
            if order is None or not self._operation(order).kind.takes_turns:
                continue
            if order.status is not PaymentState.CREATED:
                return
            operation = self._operation(order)
            refusal = operations.refusal_of(
                operation.kind, operation.amount_minor, self._payment(payment_no), ()
            )
            if refusal is None:
                order = self._begun(order)
                self._writing.change(order)
                self._writing.call(order, TimerKind.SEND)
                return
            self._close(order._replace(status=PaymentState.PROCESSING), _refused(refusal))

    # --- parts of it --------------------------------------------------------------------------------

    def _take_in(
        self,
        payment: PaymentStanding,
        operation: Operation,
        reason: str | None,
        in_flight: Sequence[Operation],
        refusal: Refusal | None = None,
    ) -> None:
        writing = self._writing
        payment_no, kind = payment.order_no, operation.kind
        is_turns_other = payment.is_turn_parked or any(o.kind.takes_turns for o in in_flight)
        waits = kind.takes_turns and is_turns_other
        if refusal is None and not waits:
            refusal = operations.refusal_of(kind, operation.amount_minor, payment, in_flight)
        order = writing.with_event(
            self._waiting(writing.next_order_no(), operation), OperationEvent.created(kind)
        )
        self._change(payment._replace(operation_count=payment.operation_count + 1))
        if refusal is not None:
            self._refuse(order, refusal)
        else:
            if not waits:
                order = self._begun(order)
                writing.call(order, TimerKind.SEND)
            writing.decided.changed[order.order_no] = order
            self._open[payment_no] = (*self._open_of(payment_no), order.order_no)
        attempt_no = order.attempt.attempt_no
        row = operation.row(
            writing.partition_index, order.order_no, attempt_no=attempt_no, is_open=refusal is None
        )
        writing.decided.operations.append(row)
        if reason is not None:
            writing.decided.reasons.append((order.order_no, reason))

    def _close(self, order: OpenOrder, ended: Ended) -> int:
        operation = self._operation(order)
        payment = self._payment(payment_no := operation.payment_no)
        status = next_state(order.status, ended.event)
        is_done = status is PaymentState.SUCCEEDED
        writing = self._writing
        order = writing.with_event(order, OperationEvent.ended(operation.kind, is_done=is_done))
        fee_minor = moved_minor = 0
        if is_done:
            movements = transfers.of_operation(operation, payment)
            writing.posting.move(order.order_no, movements)
            after = operations.done(operation, payment)
            if (event := operations.after_done(operation, payment)) is not None:
                writing.event(payment_no, after.event_sequence, event, of=after)
            fee_minor = after.fee_taken_minor - payment.fee_taken_minor
            moved_minor = transfers.gross_minor(movements)
            self._change(after)
        elif operation.kind is OperationKind.EXPIRY and payment.held_minor > 0:
            self._change(payment)
            writing.decided.hold_timers[payment_no] = EXPIRY_AGAIN_MS
        writing.close(order, status, ended._replace(captured_minor=moved_minor), fee_minor)
        self._open[payment_no] = tuple(
            number for number in self._open_of(payment_no) if number != order.order_no
        )
        return payment_no

    def _refuse(self, order: OpenOrder, refusal: Refusal) -> None:
        kind = self._operation(order).kind
        order = self._writing.with_event(order, OperationEvent.ended(kind, is_done=False))
        self._writing.outcome(order, PaymentState.FAILED, _refused(refusal), 0)
        self._writing.decided.ended_at_once.append(order)

    def _waiting(self, order_no: int, operation: Operation) -> OpenOrder:
        """The operation before its turn: its attempt is a stand-in, of which no row is written."""
        return OpenOrder(
            order_no=order_no,
            command=operation,
            attempt=Attempt(
                attempt_no=0,
                psp=operation.psp,
                psp_account=operation.psp_account,
                psp_key="",
                request=b"",
                epoch=self._writing.epoch,
                created_at=self._writing.now,
                is_tainted=False,
            ),
            status=PaymentState.CREATED,
            is_outcome_known=True,
            psp_reference=None,
            next_action_url=None,
            action_expires_at=None,
            next_retry_at=None,
            event_sequence=0,
            tried_since=self._writing.now,
        )

    def _begun(self, order: OpenOrder) -> OpenOrder:
        operation = self._operation(order)
        return order._replace(
            attempt=self._writing.new_attempt(order.order_no, operation, 1, operation.psp),
            status=next_state(PaymentState.CREATED, PaymentEvent.CREATED),
            tried_since=self._writing.now,
        )

    def _payment(self, payment_no: int) -> PaymentStanding:
        for standings in (self._writing.decided.standings, self._held.standings, self._loaded):
            if (payment := standings.get(payment_no)) is not None:
                return payment
        raise InvariantViolation(f"payment {payment_no} was not loaded for its operation")

    def _change(self, payment: PaymentStanding) -> None:
        self._writing.decided.standings[payment.order_no] = payment

    def _open_of(self, payment_no: int) -> tuple[int, ...]:
        found = self._open.get(payment_no)
        return self._held.operations_of.get(payment_no, ()) if found is None else found

    def _in_flight(self, payment_no: int) -> Sequence[Operation]:
        orders = (self._writing.order(order_no) for order_no in self._open_of(payment_no))
        return [self._operation(order) for order in orders if order is not None]

    @staticmethod
    def _operation(order: OpenOrder) -> Operation:
        if order.operation is None:
            raise InvariantViolation(f"order {order.order_no} is no operation")
        return order.operation


def _refused(refusal: Refusal) -> Ended:
    return Ended(
        event=PaymentEvent.DECLINED, failure_code=refusal.code, failure_message=refusal.message
    )
