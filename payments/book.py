"""The book of one partition: decides a batch in memory, and changes only after it was written.

``decide`` is pure: it returns the rows to write, the PSP calls to start afterwards, and the memory as it
will be. ``apply`` makes that memory present; it is called only after COMMIT, so a crash between the
two loses nothing: a new owner reads the same from the ledger.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from payments import chain, fingerprint, transfers
from payments import row_making as making
from payments.accounts import AccountKey
from payments.attempts import Attempt, ResultClass
from payments.commands import PaymentCommand
from payments.decided import Batch, Decided, Planner
from payments.defects import InvariantViolation
from payments.lifecycle import PaymentEvent, PaymentState, next_state
from payments.next_step import Ended, StepPolicy, Waiting, after_answer, may_send
from payments.open_order import CallAnswer, OpenOrder, PspCall
from payments.posting import Posting
from payments.rows import (
    EventRow,
    RefusedRequestRow,
    TimerKind,
    TimerRow,
)
from payments.state import AccountHead, PartitionHead, PartitionState

# An account head is about 300 bytes with its key, so a partition's cache stays under 2 MB however
# many sellers there are; a miss costs one indexed read a batch.
ACCOUNTS_CACHED_MAX = 5_000


class PartitionBook:
    """The books of one partition under one epoch, in the memory of the owner that writes them alone."""

    def __init__(self, state: PartitionState, planner: Planner, policy: StepPolicy) -> None:
        self._head = state.head
        self._planner = planner
        self._policy = policy
        self._open = {
            record.order_no: OpenOrder.from_record(record) for record in state.open_orders
        }
        self._open_by_uuid = {order.command.order_uuid: order for order in self._open.values()}
        self._accounts: OrderedDict[AccountKey, AccountHead] = OrderedDict()

    @property
    def head(self) -> PartitionHead:
        return self._head

    @property
    def open_count(self) -> int:
        return len(self._open)

    def open_orders(self) -> Iterable[OpenOrder]:
        return self._open.values()

    def call_for(self, order_no: int, step: TimerKind) -> PspCall:
        """The call that carries out ``step`` for an open order."""
        order = self._open[order_no]
        return PspCall(
            partition_index=self._head.partition_index,
            order_no=order_no,
            step=step,
            attempt=order.attempt,
            psp_reference=order.psp_reference,
        )

    def accounts_missing(self, answers: Iterable[CallAnswer]) -> set[AccountKey]:
        """Return the accounts that deciding these answers needs and memory does not hold."""
        needed: set[AccountKey] = set()
        for answer in answers:
            order = self._open.get(answer.order_no)
            if order is None or answer.answer.result is not ResultClass.APPROVED:
                continue
            for movement in transfers.of_success(order.command, order.attempt.psp):
                needed.update((movement.debit, movement.credit))
        return needed - self._accounts.keys()

    def remember_accounts(self, loaded: Mapping[AccountKey, AccountHead]) -> None:
        """Take stored slices into memory. Raises InvariantViolation for one that memory holds."""
        for key, head in loaded.items():
            if key in self._accounts:
                raise InvariantViolation(f"slice {key} was loaded over the one in memory")
            self._accounts[key] = head

    def decide(self, batch: Batch) -> Decided:
        """Decide one batch. Changes nothing here; nothing of it is true before it is written."""
        decided = Decided(
            self._head.partition_index,
            self._head,
            order_no_last=self._head.order_no_last,
            account_no_last=self._head.account_no_last,
            dead_letter_count=batch.dead_letter_count,
        )
        for answer in batch.answers:
            self._decide_answer(decided, answer, batch.now)
        for order_no, step in batch.due:
            self._decide_due(decided, order_no, step, batch.now)
        self._decide_commands(decided, batch)
        decided.slices.extend(self._posting(decided).slice_rows())
        decided.chain_hash = self._head.chain_hash
        if decided.outcomes or decided.transfers:
            decided.chain_hash = chain.extend(
                self._head.chain_hash,
                self._head.partition_index,
                self._batch_seq,
                decided.outcomes,
                decided.transfers,
            )
        return decided

    def apply(self, decided: Decided) -> None:
        """Make a written decision the present. Raises InvariantViolation when it was decided on another head."""
        if decided.head_before is not self._head:
            raise InvariantViolation("a decision was applied to another head than it was made on")
        if not decided.has_rows:
            return
        self._head = replace(
            self._head,
            batch_seq=self._batch_seq,
            order_no_last=decided.order_no_last,
            account_no_last=decided.account_no_last,
            chain_hash=decided.chain_hash,
        )
        for order in (*decided.opened, *decided.changed.values()):
            self._open[order.order_no] = order
            self._open_by_uuid[order.command.order_uuid] = order
        for order in decided.closed.values():
            del self._open[order.order_no]
            del self._open_by_uuid[order.command.order_uuid]
        for key, head in decided.slice_heads.items():
            self._accounts[key] = head
            self._accounts.move_to_end(key)
        while len(self._accounts) > ACCOUNTS_CACHED_MAX:
            self._accounts.popitem(last=False)

    @property
    def _batch_seq(self) -> int:
        return self._head.batch_seq + 1

    def _posting(self, decided: Decided) -> Posting:
        return Posting(decided, self._accounts, self._batch_seq)

    # --- intake -----------------------------------------------------------------------------------

    def _decide_commands(self, decided: Decided, batch: Batch) -> None:
        taken: dict[UUID, bytes] = {}
        for command in batch.commands:
            order_uuid = command.order_uuid
            stored = batch.known.get(order_uuid) or taken.get(order_uuid)
            if stored is None and (order := self._open_by_uuid.get(order_uuid)) is not None:
                stored = order.command.fingerprint
            if stored is None:
                taken[order_uuid] = command.fingerprint
                self._take_in(decided, command, batch.now)
            elif not fingerprint.same(stored, command.fingerprint):
                decided.refused.append(
                    RefusedRequestRow(
                        partition_index=self._head.partition_index,
                        order_uuid=order_uuid,
                        fingerprint=command.fingerprint,
                        accepted_at=command.accepted_at,
                    )
                )

    def _take_in(self, decided: Decided, command: PaymentCommand, now: datetime) -> None:
        decided.order_no_last += 1
        order_no = decided.order_no_last
        partition_index = self._head.partition_index
        decided.orders.append(making.order_row(partition_index, order_no, command))
        attempt = self._new_attempt(decided, order_no, command, 1, now)
        order = OpenOrder(
            order_no=order_no,
            command=command,
            attempt=attempt,
            status=next_state(PaymentState.CREATED, PaymentEvent.CREATED),
            is_outcome_known=True,
            psp_reference=None,
            next_action_url=None,
            action_expires_at=None,
            next_retry_at=None,
            event_sequence=0,
        )
        decided.opened.append(self._with_event(decided, order, PaymentEvent.CREATED))
        decided.calls.append(
            PspCall(
                partition_index=partition_index,
                order_no=order_no,
                step=TimerKind.SEND,
                attempt=attempt,
                psp_reference=None,
            )
        )

    def _new_attempt(
        self,
        decided: Decided,
        order_no: int,
        command: PaymentCommand,
        attempt_no: int,
        now: datetime,
    ) -> Attempt:
        plan = self._planner.plan(command, attempt_no)
        attempt = Attempt(
            attempt_no=attempt_no,
            psp=plan.psp,
            psp_account=plan.psp_account,
            psp_key=plan.psp_key,
            request=plan.request,
            epoch=self._head.epoch,
            created_at=now,
            is_tainted=False,
        )
        decided.attempts.append(making.attempt_row(self._head.partition_index, order_no, attempt))
        decided.planned.append((order_no, attempt))
        return attempt

    # --- what the PSPs said -------------------------------------------------------------------------

    def _decide_answer(self, decided: Decided, answered: CallAnswer, now: datetime) -> None:
        order = self._open.get(answered.order_no)
        is_stale = (
            order is None
            or answered.order_no in decided.closed
            or answered.attempt_no != order.attempt.attempt_no
        )
        if order is None or is_stale:
            return
        order = decided.changed.get(answered.order_no, order)
        verdict = after_answer(
            order,
            answered.step,
            answered.answer,
            now=now,
            epoch=self._head.epoch,
            key_lifetime_s=self._planner.key_lifetime_s(order.attempt.psp),
            policy=self._policy,
        )
        if isinstance(verdict, Waiting):
            self._wait(decided, verdict)
        else:
            self._end(decided, order, verdict)

    def _wait(self, decided: Decided, waiting: Waiting) -> None:
        order = waiting.order
        if waiting.event is not None:
            before = decided.changed.get(order.order_no) or self._open[order.order_no]
            if next_state(before.status, waiting.event) is not order.status:
                raise InvariantViolation(
                    f"{waiting.event.name} does not lead to {order.status.name}"
                )
            order = self._with_event(decided, order, waiting.event)
        partition_index = self._head.partition_index
        decided.changed[order.order_no] = order
        decided.progress.append(making.progress_row(partition_index, order))
        decided.timers.append(
            TimerRow(partition_index, order.order_no, waiting.step, waiting.delay_ms)
        )

    def _end(self, decided: Decided, order: OpenOrder, ended: Ended) -> None:
        status = next_state(order.status, ended.event)
        order = self._with_event(decided, order, ended.event)
        if status is PaymentState.SUCCEEDED:
            self._posting(decided).move(
                order.order_no, transfers.of_success(order.command, order.attempt.psp)
            )
        decided.outcomes.append(
            making.outcome_row(self._head.partition_index, self._batch_seq, order, status, ended)
        )
        decided.closed[order.order_no] = order
        decided.changed.pop(order.order_no, None)

    def _with_event(self, decided: Decided, order: OpenOrder, event: PaymentEvent) -> OpenOrder:
        sequence = order.event_sequence + 1
        decided.events.append(
            EventRow(
                partition_index=self._head.partition_index,
                order_no=order.order_no,
                sequence=sequence,
                batch_seq=self._batch_seq,
                type=event,
            )
        )
        return replace(order, event_sequence=sequence)

    # --- timers -------------------------------------------------------------------------------------

    def _decide_due(self, decided: Decided, order_no: int, step: TimerKind, now: datetime) -> None:
        order = decided.changed.get(order_no) or self._open.get(order_no)
        if order is None or order_no in decided.closed:
            return
        key_lifetime_s = self._planner.key_lifetime_s(order.attempt.psp)
        if step is TimerKind.SEND and not may_send(order, now=now, key_lifetime_s=key_lifetime_s):
            if order.attempt.is_clean_for(self._head.epoch):
                # The PSP may have forgotten the key, and surely never ran it: a new attempt is safe.
                order = self._renew(decided, order, now)
            else:
                step = TimerKind.QUERY
        decided.calls.append(
            PspCall(
                partition_index=self._head.partition_index,
                order_no=order_no,
                step=step,
                attempt=order.attempt,
                psp_reference=order.psp_reference,
            )
        )

    def _renew(self, decided: Decided, order: OpenOrder, now: datetime) -> OpenOrder:
        attempt = self._new_attempt(
            decided, order.order_no, order.command, order.attempt.attempt_no + 1, now
        )
        renewed = replace(order, attempt=attempt, psp_reference=None, next_retry_at=None)
        decided.changed[order.order_no] = renewed
        decided.progress.append(making.progress_row(self._head.partition_index, renewed))
        return renewed
