"""The hand that writes one decision: rows, calls and the orders as the decision leaves them."""

from __future__ import annotations

from payments import row_making as making
from payments.attempts import Attempt
from payments.commands import PaymentCommand
from payments.decided import AttemptPlan, Batch, Decided, Held, Planner
from payments.disputes import DisputeEvent
from payments.identity import psp_key
from payments.lifecycle import PaymentEvent, PaymentState
from payments.next_step import Ended, send_before
from payments.open_order import OpenOrder, PspCall
from payments.operation_kinds import OperationEvent
from payments.operations import Operation
from payments.posting import Posting
from payments.rows import EventRow, TimerKind, TimerRow
from payments.standing import PaymentStanding


class Writing:
    """Works on what the book holds and changes none of it; everything goes into ``decided``."""

    def __init__(self, held: Held, planner: Planner, batch: Batch) -> None:
        head = held.head
        self._held = held
        self._planner = planner
        self.now = batch.now
        self.partition_index = head.partition_index
        self.batch_seq = head.batch_seq + 1
        self.epoch = head.epoch
        self.decided = Decided(
            head.partition_index,
            head,
            order_no_last=head.order_no_last,
            account_no_last=head.account_no_last,
        )
        self.posting = Posting(self.decided, held.accounts, self.batch_seq)

    def next_order_no(self) -> int:
        """Give a new order or operation its number."""
        self.decided.order_no_last += 1
        return self.decided.order_no_last

    def order(self, order_no: int) -> OpenOrder | None:
        """The open order as this decision leaves it so far, or None when it is not open (any more)."""
        if order_no in self.decided.closed:
            return None
        return self.decided.changed.get(order_no) or self._held.open_orders.get(order_no)

    def change(self, order: OpenOrder) -> None:
        """Leave the order so: in memory, and in its row."""
        self.decided.changed[order.order_no] = order
        self.decided.progress.append(making.progress_row(self.partition_index, order))

    def set_timer(self, order_no: int, step: TimerKind, delay_ms: int) -> None:
        """Have the order's next step come up by itself; replaces its timer."""
        self.decided.timers.append(TimerRow(self.partition_index, order_no, step, delay_ms))

    def call(self, order: OpenOrder, step: TimerKind) -> None:
        """Ask the PSP once this is written."""
        lifetime_s = self._planner.terms(order.attempt.psp).key_lifetime_s
        is_send = step is TimerKind.SEND
        self.decided.calls.append(
            PspCall.__new__(
                PspCall,
                partition_index=self.partition_index,
                order_no=order.order_no,
                step=step,
                attempt=order.attempt,
                psp_reference=order.psp_reference,
                send_before=send_before(order.attempt, lifetime_s) if is_send else None,
                operation=order.operation,
            )
        )

    def new_attempt(
        self, order_no: int, command: PaymentCommand | Operation, attempt_no: int, psp: str
    ) -> Attempt:
        """Fix one more attempt: it is a row before anything of it is sent."""
        is_operation = isinstance(command, Operation)
        plan = (
            _operation_plan(command, attempt_no)
            if isinstance(command, Operation)
            else self._planner.plan(command, attempt_no, psp)
        )
        attempt = making.attempt_of(plan, attempt_no, self.epoch, self.now)
        self.decided.attempts.append(making.attempt_row(self.partition_index, order_no, attempt))
        if not is_operation:
            self.decided.planned.append((order_no, attempt))
        return attempt

    def with_event(self, order: OpenOrder, event: PaymentEvent | OperationEvent) -> OpenOrder:
        """Note what happened to an order; returns it with the event counted."""
        order = order._replace(event_sequence=order.event_sequence + 1)
        self.event(order.order_no, order.event_sequence, event, of=order.command)
        return order

    def event(
        self,
        order_no: int,
        sequence: int,
        event: PaymentEvent | OperationEvent | DisputeEvent,
        *,
        of: PaymentCommand | Operation | PaymentStanding,
    ) -> None:
        """Note what happened, in the feed of the merchant and mode ``of`` whom it is.

        ``sequence`` is gapless per order, from 1.
        """
        row = EventRow.__new__(
            EventRow,
            partition_index=self.partition_index,
            order_no=order_no,
            sequence=sequence,
            batch_seq=self.batch_seq,
            type=event,
            merchant_no=of.merchant_no,
            mode=of.mode,
        )
        self.decided.events.append(row)

    def close(self, order: OpenOrder, status: PaymentState, ended: Ended, fee_minor: int) -> None:
        """Write how an open order ended; it has its last event counted."""
        self.outcome(order, status, ended, fee_minor)
        self.decided.closed[order.order_no] = order
        self.decided.changed.pop(order.order_no, None)

    def outcome(self, order: OpenOrder, status: PaymentState, ended: Ended, fee_minor: int) -> None:
        """Write the row of an end."""
        self.decided.outcomes.append(
            making.outcome_row(
                self.partition_index, self.batch_seq, order, status, ended, fee_minor
            )
        )


def _operation_plan(operation: Operation, attempt_no: int) -> AttemptPlan:
    """What an operation's attempt fixes: all that it says follows from the operation, so it keeps no request."""
    return AttemptPlan(
        psp=operation.psp,
        psp_account=operation.psp_account,
        psp_key=psp_key(operation.operation_uuid, attempt_no),
        request=b"",
    )
