"""The book of one partition: decides a batch in memory, and changes only after it was written.

``decide`` is pure: it returns the rows to write, the PSP calls to start afterwards, and the memory as it
will be. ``apply`` makes that memory present; it is called only after COMMIT, so a crash between the
two loses nothing: a new owner reads the same from the ledger.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from uuid import UUID

from payments import transfers
from payments.accounts import AccountKey
from payments.attempts import ResultClass
from payments.decided import Batch, Decided, Held, Planner
from payments.decision import Decision
from payments.defects import InvariantViolation
from payments.open_order import CallAnswer, OpenOrder, disputed_payments
from payments.retry_policy import RetryPolicy
from payments.standing import PaymentStanding
from payments.state import AccountHead, PartitionHead, PartitionState

# An account head is about 300 bytes with its key, so a partition's cache stays under 2 MB however
# many sellers there are; a miss costs one indexed read a batch.
ACCOUNTS_CACHED_MAX = 5_000

# Names of PSPs' events that this owner wrote: one that is read again, because its removal came too late, costs no
# further flush. More than an inbox holds; about 300 KB, and a miss costs that flush.
EVENTS_REMEMBERED_MAX = 2_000


class PartitionBook:
    """The books of one partition under one epoch, in the memory of the owner that writes them alone."""

    def __init__(self, state: PartitionState, planner: Planner, policy: RetryPolicy) -> None:
        self._head = state.head
        self._planner = planner
        self._policy = policy
        self._open = {
            record.order_no: OpenOrder.from_record(record) for record in state.open_orders
        }
        self._order_nos = {
            order.command.order_uuid: order_no for order_no, order in self._open.items()
        }
        self._parked = {
            order_no for order_no, order in self._open.items() if order.parked is not None
        }
        self._accounts: OrderedDict[AccountKey, AccountHead] = OrderedDict()
        self._events: OrderedDict[UUID, None] = OrderedDict()
        self._standings = {payment.order_no: payment for payment in state.standings}
        self._operations_of: dict[int, tuple[int, ...]] = {}
        for order in self._open.values():
            if order.operation is not None:
                self._note_open(order.operation.payment_no, order.order_no)

    @property
    def head(self) -> PartitionHead:
        return self._head

    @property
    def open_count(self) -> int:
        return len(self._open)

    def open_orders(self) -> Iterable[OpenOrder]:
        return self._open.values()

    def parked_orders(self) -> Iterable[OpenOrder]:
        """Orders that rest until their reason is gone, the oldest first."""
        return [self._open[order_no] for order_no in sorted(self._parked)]

    def is_parked(self, order_no: int) -> bool:
        return order_no in self._parked

    def accounts_missing(
        self, answers: Iterable[CallAnswer], standings: Iterable[PaymentStanding] = ()
    ) -> set[AccountKey]:
        """Return the accounts that deciding these answers needs and memory does not hold.

        ``standings`` are the payments that disputes among them are of.
        """
        needed: set[AccountKey] = set()
        disputed = disputed_payments(answers)
        for standing in standings if disputed else ():
            if standing.order_no in disputed:
                needed |= transfers.accounts_of_dispute(standing)
        approved = ResultClass.APPROVED
        for answer in answers:
            order = self._open.get(answer.order_no)
            if order is None or answer.answer.result is not approved:
                continue
            operation = order.operation
            payment = None if operation is None else self._standings.get(operation.payment_no)
            needed.update(transfers.accounts_of(order.command, order.attempt.psp, payment))
        # Not ``needed - held.keys()``, which walks over all that is held, thousands, at each flush.
        held = self._accounts
        return {key for key in needed if key not in held}

    def remember_accounts(self, loaded: Mapping[AccountKey, AccountHead]) -> None:
        """Take stored slices into memory. Raises InvariantViolation for one that memory holds."""
        for key, head in loaded.items():
            if key in self._accounts:
                raise InvariantViolation(f"slice {key} was loaded over the one in memory")
            self._accounts[key] = head

    def decide(self, batch: Batch) -> Decided:
        """Decide one batch. Changes nothing here; nothing of it is true before it is written."""
        held = Held(
            head=self._head,
            open_orders=self._open,
            order_nos=self._order_nos,
            accounts=self._accounts,
            standings=self._standings,
            operations_of=self._operations_of,
            psp_events=self._events.keys(),
        )
        decision = Decision(held, self._planner, self._policy, batch)
        for answer in batch.answers:
            decision.take_answer(answer)
        for order_no, step in batch.due:
            decision.take_due(order_no, step)
        decision.take_commands(batch)
        return decision.finish()

    def apply(self, decided: Decided) -> None:
        """Make a written decision the present. Raises InvariantViolation when it was decided on another head."""
        if decided.head_before is not self._head:
            raise InvariantViolation("a decision was applied to another head than it was made on")
        if not decided.has_rows:
            return
        self._head = self._head._replace(
            batch_seq=self._head.batch_seq + 1,
            order_no_last=decided.order_no_last,
            account_no_last=decided.account_no_last,
            chain_hash=decided.chain_hash,
        )
        for order in (*decided.opened, *decided.changed.values()):
            self._open[order.order_no] = order
            self._order_nos[order.command.order_uuid] = order.order_no
        for order in decided.closed.values():
            del self._open[order.order_no]
            del self._order_nos[order.command.order_uuid]
        self._note_parked(decided)
        if decided.standings or self._operations_of:
            self._note_operations(decided)
        for key, head in decided.slice_heads.items():
            self._accounts[key] = head
            self._accounts.move_to_end(key)
        while len(self._accounts) > ACCOUNTS_CACHED_MAX:
            self._accounts.popitem(last=False)
        for event in decided.psp_events:
            self._events[event.event_uuid] = None
        while len(self._events) > EVENTS_REMEMBERED_MAX:
            self._events.popitem(last=False)

    def _note_operations(self, decided: Decided) -> None:
        """Hold a payment as long as an operation on it is open."""
        self._standings.update(decided.standings)
        for order in decided.changed.values():
            if order.operation is not None:
                self._note_open(order.operation.payment_no, order.order_no)
        touched = set(decided.standings)
        for order in decided.closed.values():
            if (operation := order.operation) is not None:
                left = self._operations_of.get(operation.payment_no, ())
                self._operations_of[operation.payment_no] = tuple(
                    number for number in left if number != order.order_no
                )
                touched.add(operation.payment_no)
        for payment_no in touched:
            if not self._operations_of.get(payment_no):
                self._operations_of.pop(payment_no, None)
                self._standings.pop(payment_no, None)

    def _note_open(self, payment_no: int, order_no: int) -> None:
        known = self._operations_of.get(payment_no, ())
        if order_no not in known:
            self._operations_of[payment_no] = tuple(sorted((*known, order_no)))

    def _note_parked(self, decided: Decided) -> None:
        for order in decided.changed.values():
            if order.parked is not None:
                self._parked.add(order.order_no)
            else:
                self._parked.discard(order.order_no)
        if self._parked:
            self._parked.difference_update(decided.closed)
