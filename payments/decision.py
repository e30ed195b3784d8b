"""One decision in the making: what each answer, timer and command adds to it.

Works on what the book holds and changes none of it; everything goes into a ``Decided``.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from payments import chain, fingerprint, transfers
from payments import row_making as making
from payments.attempts import ResultClass
from payments.commands import OperationCommand, PaymentCommand
from payments.decided import Batch, Decided, Held, Planner
from payments.defects import InvariantViolation
from payments.evidence_taking import evidence_ends
from payments.fallback import may_fall_back, may_leave
from payments.lifecycle import PaymentEvent, PaymentState, next_state
from payments.next_step import (
    SEND_UNSEEN_MS,
    Ended,
    Waiting,
    after_answer,
    after_refusal,
    may_send,
)
from payments.open_order import CallAnswer, OpenOrder
from payments.operation_taking import OperationTaking
from payments.psp_choice import PspChoice
from payments.retry_policy import RetryPolicy
from payments.rows import TimerKind
from payments.splits import split_rows
from payments.writing import Writing

# Where every payment stands at first.
_TAKEN_IN = next_state(PaymentState.CREATED, PaymentEvent.CREATED)


class Decision:
    """Decides one batch, part by part, in the order of the methods."""

    def __init__(self, held: Held, planner: Planner, policy: RetryPolicy, batch: Batch) -> None:
        self._held = held
        self._planner = planner
        self._policy = policy
        self._now = batch.now
        self._choice = PspChoice(planner, batch.availability)
        self._writing = Writing(held, planner, batch)
        self._decided = self._writing.decided
        self._operations = OperationTaking(self._writing, held, batch)

    # --- what the PSPs said -------------------------------------------------------------------------

    def take_answer(self, answered: CallAnswer) -> None:
        """Decide what an answer means. One to an attempt that is over, or to an order that ended, is dropped."""
        order = self._writing.order(answered.order_no)
        if answered.is_evidence:
            self._take_evidence(order, answered)
            return
        if order is None or answered.attempt_no != order.attempt.attempt_no:
            return
        epoch, policy = self._held.head.epoch, self._policy
        if answered.parked is not None and order.status is PaymentState.PROCESSING:
            if not self._left(order):
                asked_s = answered.answer.retry_after_s or 0.0
                self._follow(
                    order,
                    after_refusal(
                        order,
                        answered.parked,
                        wait_ms=int(asked_s * 1000),
                        now=self._now,
                        epoch=epoch,
                        policy=policy,
                    ),
                )
            return
        terms = self._planner.terms(order.attempt.psp)
        step, answer = answered.step, answered.answer
        now = self._now
        if may_fall_back(order, step, answer, now=now, epoch=epoch, terms=terms, policy=policy):
            # Where a key is spent, the order may run under another one where it is.
            stays = order.attempt.psp if answer.is_key_spent else None
            other = self._choice.other_than(order.attempt.psp, order.payment) or stays
            if other is not None:
                is_declined = answer.result is ResultClass.DECLINED_FINAL
                wait_ms = policy.soft_decline.wait_ms(order) if is_declined else 0
                self._move(order, other, wait_ms=wait_ms)
                return
        self._follow(
            order,
            after_answer(order, step, answer, now=now, epoch=epoch, terms=terms, policy=policy),
        )

    def _take_evidence(self, order: OpenOrder | None, said: CallAnswer) -> None:
        """End the order by evidence, or note why not. It never leads to another attempt or call."""
        if said.event is not None and said.event.event.dispute_id is not None:
            self._operations.dispute(said.event)
            return
        ended = evidence_ends(
            self._decided,
            order,
            said,
            now=self._now,
            terms=self._planner.terms(order.attempt.psp if order is not None else ""),
            policy=self._policy,
        )
        if order is not None and ended is not None:
            self._end(order, ended)

    def _follow(self, order: OpenOrder, verdict: Ended | Waiting) -> None:
        if isinstance(verdict, Waiting):
            self._wait(order, verdict)
        else:
            self._end(order, verdict)

    def _wait(self, before: OpenOrder, waiting: Waiting) -> None:
        order = waiting.order
        if waiting.event is not None:
            if next_state(before.status, waiting.event) is not order.status:
                raise InvariantViolation(
                    f"{waiting.event.name} does not lead to {order.status.name}"
                )
            order = self._writing.with_event(order, waiting.event)
        self._writing.change(order)
        self._writing.set_timer(order.order_no, waiting.step, waiting.delay_ms)
        if waiting.is_called_at_once:
            self._writing.call(order, waiting.step)

    def _end(self, order: OpenOrder, ended: Ended) -> None:
        if order.operation is not None:
            self._operations.end(order, ended)
            return
        command, psp = order.payment, order.attempt.psp
        status = next_state(order.status, ended.event)
        order = self._writing.with_event(order, ended.event)
        if status is PaymentState.SUCCEEDED:
            self._writing.posting.move(order.order_no, transfers.of_success(command, psp))
        elif status is PaymentState.REQUIRES_CAPTURE:
            order = order._replace(psp_reference=ended.psp_reference)
            self._writing.posting.move(order.order_no, transfers.of_authorization(command, psp))
            self._operations.authorized(order, self._policy.authorization_s_max * 1_000)
        self._writing.close(order, status, ended, command.fee_minor)

    # --- timers -------------------------------------------------------------------------------------

    def take_due(self, order_no: int, step: TimerKind) -> None:
        """Start the step whose time has come. No call for this order may be on its way."""
        if step is TimerKind.EXPIRE:
            self._operations.expire(order_no)
            return
        order = self._writing.order(order_no)
        if order is None:
            return
        if order.operation is not None and order.status is PaymentState.CREATED:
            self._operations.next_turn(order.operation.payment_no)
            return
        if step is TimerKind.RESUME:
            if order.parked is None:
                return
            step = TimerKind.SEND if order.is_outcome_known else TimerKind.QUERY
        if step is TimerKind.SEND:
            psp = order.attempt.psp
            if self._choice.is_refusing(psp) and self._left(order):
                return
            lifetime_s = self._planner.terms(psp).key_lifetime_s
            if not may_send(order, now=self._now, key_lifetime_s=lifetime_s):
                if order.attempt.is_clean_for(self._held.head.epoch):
                    # The PSP may have forgotten the key, and surely never ran it.
                    self._move(order, psp)
                    return
                step = TimerKind.QUERY
        self._writing.call(order, step)

    # --- from attempt to attempt --------------------------------------------------------------------

    def _left(self, order: OpenOrder) -> bool:
        """Move an order that never ran to another PSP, if it may and there is one."""
        if not may_leave(order, epoch=self._held.head.epoch, policy=self._policy):
            return False
        other = self._choice.other_than(order.attempt.psp, order.payment)
        if other is None:
            return False
        self._move(order, other)
        return True

    def _move(self, order: OpenOrder, psp: str, *, wait_ms: int = 0) -> None:
        """Give the order a new attempt, at the same PSP or another: the one before surely never charges.

        It is sent at once, or by its timer: that replaces the one of the attempt before in any case.
        """
        attempt_no = order.attempt.attempt_no + 1
        attempt = self._writing.new_attempt(order.order_no, order.command, attempt_no, psp)
        moved = order._replace(
            attempt=attempt,
            is_outcome_known=True,
            psp_reference=None,
            next_retry_at=self._now + timedelta(milliseconds=wait_ms) if wait_ms else None,
            parked=None,
        )
        self._writing.change(moved)
        delay_ms = wait_ms or SEND_UNSEEN_MS
        self._writing.set_timer(order.order_no, TimerKind.SEND, delay_ms)
        if not wait_ms:
            self._writing.call(moved, TimerKind.SEND)

    # --- intake -------------------------------------------------------------------------------------

    def take_commands(self, batch: Batch) -> None:
        """Take in orders that are new; keep what comes late under a key with another body."""
        self._decided.dead_letter_count = batch.dead_letter_count
        written = self._held.psp_events
        events = [event for event in batch.psp_events if event.event_uuid not in written]
        self._decided.note_events(events)
        self._decided.note_checkouts(batch.checkouts)
        taken: dict[UUID, bytes] = {}
        for command in batch.commands:
            if self._is_new(command, command.order_uuid, batch, taken):
                self._take_in(command)
        for operation in batch.operations:
            if self._is_new(operation, operation.operation_uuid, batch, taken):
                self._operations.take_in(operation)

    def _is_new(
        self,
        command: PaymentCommand | OperationCommand,
        identity: UUID,
        batch: Batch,
        taken: dict[UUID, bytes],
    ) -> bool:
        """Whether nothing was taken in under that identity; what comes late with another body is kept."""
        stored = batch.known.get(identity) or taken.get(identity)
        if stored is None and (order_no := self._held.order_nos.get(identity)) is not None:
            stored = self._held.open_orders[order_no].command.fingerprint
        if stored is None:
            taken[identity] = command.fingerprint
            return True
        if not fingerprint.same(stored, command.fingerprint):
            row = making.refused_row(self._writing.partition_index, command)
            self._decided.refused.append(row)
        return False

    def _take_in(self, command: PaymentCommand) -> None:
        decided = self._decided
        order_no = self._writing.next_order_no()
        decided.orders.append(making.order_row(self._writing.partition_index, order_no, command))
        if command.splits is not None:
            rows = split_rows(self._writing.partition_index, order_no, command.splits)
            decided.splits.extend(rows)
        order = OpenOrder.__new__(
            OpenOrder,
            order_no=order_no,
            command=command,
            attempt=self._writing.new_attempt(order_no, command, 1, self._choice.first(command)),
            status=_TAKEN_IN,
            is_outcome_known=True,
            psp_reference=None,
            next_action_url=None,
            action_expires_at=None,
            next_retry_at=None,
            event_sequence=1,
            tried_since=self._now,
        )
        self._writing.event(order_no, 1, PaymentEvent.CREATED, of=command)
        decided.opened.append(order)
        self._writing.call(order, TimerKind.SEND)

    # --- the end ------------------------------------------------------------------------------------

    def finish(self) -> Decided:
        """Fold the slices, extend the chain, and return the whole."""
        decided, head = self._decided, self._held.head
        self._writing.posting.finish()
        decided.chain_hash = head.chain_hash
        if decided.outcomes or decided.transfers:
            decided.chain_hash = chain.extend(
                head.chain_hash,
                self._writing.partition_index,
                self._writing.batch_seq,
                decided.outcomes,
                decided.transfers,
            )
        return decided
