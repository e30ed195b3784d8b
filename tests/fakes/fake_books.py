"""The books of one shard in memory: what Postgres would hold, and which rows it would refuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Hashable, Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from payments.accounts import AccountKey, AccountKind
from payments.attempts import Attempt
from payments.chain import GENESIS
from payments.checkouts import CheckoutOrderRow, CheckoutRow
from payments.commands import PaymentCommand
from payments.defects import ContentDefect, InvariantViolation
from payments.disputes import DisputeRow
from payments.fingerprint import canonical_json
from payments.lifecycle import PaymentState
from payments.mode import Mode
from payments.money import AMOUNT_MINOR_MAX
from payments.operation_rows import OperationRow, StandingRow
from payments.rows import (
    AccountRow,
    AttemptRow,
    EventRow,
    HeadRow,
    OrderRow,
    OutcomeRow,
    PersonalPart,
    ProgressRow,
    RefusedRequestRow,
    TransferRow,
)
from payments.splits import Split, SplitRow
from payments.state import AccountHead, OpenOrderRecord, PartitionHead
from storage.ports import Flush, LeaseView
from storage.sealing import decode_detail, open_sealed
from tests.fakes.fake_evidence import FakeEvidence
from tests.fakes.fake_letters import FakeLetters
from tests.fakes.fake_operations import open_operation, write_operations
from tests.fakes.fake_psp_events import FakePspEvents

OrderKey = tuple[int, int]
"""(partition_index, order_no)."""


@dataclass(slots=True)
class FakePartition:
    """One row of ``partition``. ``backend`` is the lane connection that its claim recorded."""

    head: PartitionHead
    owner: UUID | None = None
    backend: object | None = None
    stall_count: int = 0
    batch_seq_claimed: int = 0


@dataclass(frozen=True, slots=True)
class FakeTimer:
    kind: int
    due_at: datetime


@dataclass
class FakeBooks:
    """All rows, by their primary keys. ``now`` is the database's clock."""

    now: Callable[[], datetime]
    partitions: dict[int, FakePartition]
    leases: dict[UUID, LeaseView] = field(default_factory=dict)
    orders: dict[OrderKey, OrderRow] = field(default_factory=dict)
    order_keys: dict[UUID, OrderKey] = field(default_factory=dict)
    splits: dict[tuple[int, int, int], SplitRow] = field(default_factory=dict)
    personal: dict[tuple[int, int, int], bytes] = field(default_factory=dict)
    attempts: dict[tuple[int, int, int], tuple[AttemptRow, datetime]] = field(default_factory=dict)
    open_orders: dict[OrderKey, ProgressRow] = field(default_factory=dict)
    timers: dict[OrderKey, FakeTimer] = field(default_factory=dict)
    outcomes: dict[OrderKey, tuple[OutcomeRow, datetime]] = field(default_factory=dict)
    transfers: dict[tuple[int, int, int], tuple[TransferRow, datetime]] = field(
        default_factory=dict
    )
    accounts: dict[tuple[int, AccountKey], int] = field(default_factory=dict)
    slices: dict[tuple[int, int], AccountHead] = field(default_factory=dict)
    events: dict[tuple[int, int, int], EventRow] = field(default_factory=dict)
    refused: dict[tuple[int, UUID, bytes], RefusedRequestRow] = field(default_factory=dict)
    batches: dict[tuple[int, int], HeadRow] = field(default_factory=dict)
    """The heads that wrote outcomes or transfers, by partition and batch, in the order of the commits."""
    letters: FakeLetters = field(default_factory=FakeLetters)
    evidence: FakeEvidence = field(default_factory=FakeEvidence)
    psp_events: FakePspEvents = field(default_factory=FakePspEvents)
    operations: dict[OrderKey, tuple[OperationRow, datetime]] = field(default_factory=dict)
    operation_keys: dict[UUID, OrderKey] = field(default_factory=dict)
    standings: dict[OrderKey, StandingRow] = field(default_factory=dict)
    checkouts: dict[tuple[int, UUID], tuple[CheckoutRow, list[CheckoutOrderRow]]] = field(
        default_factory=dict
    )
    disputes: dict[OrderKey, DisputeRow] = field(default_factory=dict)
    parked: dict[OrderKey, tuple[str, str]] = field(default_factory=dict)
    refused_orders: set[UUID] = field(default_factory=set)
    """Orders with a value that no column holds."""
    in_doubt: list[tuple[frozenset[int], Flush]] = field(default_factory=list)
    """Flushes whose COMMIT waits for a standby: not visible, and decided before the next claim."""

    @classmethod
    def empty(cls, partition_count: int, now: Callable[[], datetime]) -> FakeBooks:
        """Return new books of one shard that holds all partitions."""
        heads = (
            PartitionHead(
                partition_index=index,
                epoch=0,
                batch_seq=0,
                order_no_last=0,
                account_no_last=0,
                chain_hash=GENESIS,
            )
            for index in range(partition_count)
        )
        partitions = {head.partition_index: FakePartition(head) for head in heads}
        return cls(now=now, partitions=partitions)

    def take_over(
        self, partition_index: int, owner: UUID, backend: object, *, has_waiting: bool
    ) -> None:
        """Note a claim: the next epoch is the owner's."""
        held = self.partitions[partition_index]
        is_open = any(
            key[0] == partition_index and key not in self.parked for key in self.open_orders
        )
        if held.head.batch_seq > held.batch_seq_claimed:
            held.stall_count = 0
        elif held.owner not in (None, owner) and (has_waiting or is_open):
            held.stall_count += 1
        held.batch_seq_claimed = held.head.batch_seq
        held.head = held.head._replace(epoch=held.head.epoch + 1)
        held.owner, held.backend = owner, backend

    def decide_in_doubt(self, partition_index: int) -> None:
        """What a claim waits for: every COMMIT in doubt that holds the partition's row is decided."""
        for held, flush in list(self.in_doubt):
            if partition_index in held:
                self.in_doubt.remove((held, flush))
                self.write(flush)

    def fenced_out(self, flush: Flush) -> frozenset[int]:
        """Return the partitions of a flush whose epoch or batch_seq is not the one it names."""
        return frozenset(
            row.partition_index
            for row in flush.heads
            if (head := self.partitions[row.partition_index].head).epoch != row.epoch
            or head.batch_seq != row.batch_seq_before
        )

    def write(self, flush: Flush, *, at: datetime | None = None) -> datetime:
        """Write all rows or none. Raises InvariantViolation where Postgres refuses a row.

        ``at`` is the time of the transaction, where it began earlier than now.
        """
        self.check(flush)
        at = at or self.now()
        for row in flush.heads:
            held = self.partitions[row.partition_index]
            if row.outcome_count or row.transfer_count:
                self.batches[row.partition_index, row.batch_seq_before + 1] = row
            held.head = PartitionHead(
                partition_index=row.partition_index,
                epoch=row.epoch,
                batch_seq=row.batch_seq_before + 1,
                order_no_last=row.order_no_last,
                account_no_last=row.account_no_last,
                chain_hash=row.chain_hash,
            )
        for order in flush.orders:
            key = (order.partition_index, order.order_no)
            self.orders[key] = order
            self.order_keys[order.order_uuid] = key
            self.open_orders[key] = ProgressRow(
                *key, PaymentState.PROCESSING, True, 1, 0, None, None, None, None, None
            )
        for personal in flush.personal:
            self.personal[personal[:3]] = personal.envelope
        for attempt in flush.attempts:
            self.attempts[attempt[:3]] = (attempt, at)
        for event in flush.events:
            self.events[event[:3]] = event
        for refused in flush.refused:
            self.refused.setdefault(refused[:3], refused)
        self.letters.write(flush, self.order_keys.keys() | self.operation_keys.keys())
        self.evidence.write(flush)
        self.psp_events.write(flush, at, self.order_keys)
        self.splits.update((row[:3], row) for row in flush.splits)
        self._write_checkouts(flush)
        for progress in flush.progress:
            self.open_orders[progress[:2]] = progress
        for timer in flush.timers:
            due_at = at + timedelta(milliseconds=timer.delay_ms)
            self.timers[timer[:2]] = FakeTimer(timer.kind, due_at)
        self._write_money(flush, at)
        write_operations(self, flush, at)
        return at

    def account_head(self, partition_index: int, key: AccountKey) -> AccountHead | None:
        """Return the slice of an account in a partition, or None when there is none."""
        account_no = self.accounts.get((partition_index, key))
        return None if account_no is None else self.slices[partition_index, account_no]

    def open_order_records(self, partition_index: int) -> list[OpenOrderRecord]:
        """Return what a new owner of the partition finds, in the order of the numbers."""
        keys = sorted(
            key for key in self.open_orders if key[0] == partition_index and key not in self.parked
        )
        return [
            open_operation(self, key, self.open_orders[key])
            if key in self.operations
            else self._record(key, self.open_orders[key])
            for key in keys
        ]

    def copy(self) -> FakeBooks:
        """Return the rows as they stand, to go on apart from these."""
        tables: dict[str, Any] = {
            each.name: dict(getattr(self, each.name))
            for each in fields(self)
            if isinstance(getattr(self, each.name), dict)
        }
        copied = replace(self, **tables, in_doubt=list(self.in_doubt))
        copied.letters = self.letters.copy()
        copied.psp_events = self.psp_events.copy()
        copied.partitions = {index: replace(held) for index, held in self.partitions.items()}
        return copied

    def check(self, flush: Flush) -> None:
        """Raise InvariantViolation for rows that Postgres refuses, whoever sends them."""
        _refuse_known("order", self.orders, (row[:2] for row in flush.orders))
        _refuse_known("order_uuid", self.order_keys, (row.order_uuid for row in flush.orders))
        _refuse_known("split", self.splits, (row[:3] for row in flush.splits))
        _refuse_known("personal data", self.personal, (row[:3] for row in flush.personal))
        _refuse_known("attempt", self.attempts, (row[:3] for row in flush.attempts))
        _refuse_known("event", self.events, (row[:3] for row in flush.events))
        _refuse_known("outcome", self.outcomes, (row[:2] for row in flush.outcomes))
        _refuse_known("transfer", self.transfers, (row[:3] for row in flush.transfers))
        _refuse_known("account number", self.slices, (row[:2] for row in flush.accounts))
        _refuse_known("account", self.accounts, (_account_key(row) for row in flush.accounts))
        if not self.refused_orders.isdisjoint(row.order_uuid for row in flush.orders):
            raise ContentDefect("an order holds a value that can't be stored")
        if any(not 1 <= row.amount_minor <= AMOUNT_MINOR_MAX for row in flush.orders):
            raise ContentDefect("an order's amount is out of range")
        if any(
            row.amount_minor <= 0 or row.debit_account_no == row.credit_account_no
            for row in flush.transfers
        ):
            raise ContentDefect("a transfer moves nothing")
        _refuse_known(
            "number",
            self.orders.keys() | self.operations.keys(),
            (row[:2] for row in (*flush.orders, *flush.operations)),
        )
        _refuse_known(
            "operation", self.operation_keys, (row.operation_uuid for row in flush.operations)
        )
        is_open = self.open_orders.keys() | {row[:2] for row in flush.orders}
        never_open = {row[:2] for row in flush.operations if not row.is_open}
        ended = {row[:2] for row in flush.outcomes} - never_open
        changed = {row[:2] for row in flush.progress} - ended
        if not ended | changed <= is_open:
            raise InvariantViolation("an order that is not open moved or ended")
        opened = {row[:2] for row in flush.accounts}
        for row in flush.slices:
            stored = self.slices.get(row[:2])
            version = stored.version if stored else (0 if row[:2] in opened else None)
            if version != row.version_before:
                raise InvariantViolation(f"slice {row[:2]} is at {version}")

    def _write_checkouts(self, flush: Flush) -> None:
        """Keep the first row of each name; a late one with another body is kept as refused."""
        for row in flush.checkouts:
            key = row[:2]
            if key not in self.checkouts:
                placed = [each for each in flush.checkout_orders if each[:2] == key]
                self.checkouts[key] = (row, placed)
            elif self.checkouts[key][0].fingerprint != row.fingerprint:
                refused = RefusedRequestRow(*key, row.fingerprint, row.accepted_at)
                self.refused.setdefault(refused[:3], refused)

    def _write_money(self, flush: Flush, at: datetime) -> None:
        for account in flush.accounts:
            self.accounts[_account_key(account)] = account.account_no
            self.slices[account[:2]] = AccountHead(
                account_no=account.account_no,
                version=0,
                debits_posted_minor=0,
                credits_posted_minor=0,
            )
        for delta in flush.slices:
            stored = self.slices[delta[:2]]
            self.slices[delta[:2]] = stored._replace(
                version=stored.version + delta.transfer_count,
                debits_posted_minor=stored.debits_posted_minor + delta.debits_posted_minor,
                credits_posted_minor=stored.credits_posted_minor + delta.credits_posted_minor,
                debits_pending_minor=stored.debits_pending_minor + delta.debits_pending_minor,
                credits_pending_minor=stored.credits_pending_minor + delta.credits_pending_minor,
            )
        for transfer in flush.transfers:
            self.transfers[transfer[:3]] = (transfer, at)
        for outcome in flush.outcomes:
            self.outcomes[outcome[:2]] = (outcome, at)
            self.open_orders.pop(outcome[:2], None)
            self.timers.pop(outcome[:2], None)

    def splits_of(self, key: OrderKey) -> tuple[Split, ...]:
        """Return an order's splits, in their order; empty where it has none."""
        return tuple(Split(*row[3:]) for at, row in sorted(self.splits.items()) if at[:2] == key)

    def _record(self, key: OrderKey, progress: ProgressRow) -> OpenOrderRecord:
        row = self.orders[key]
        attempt, created_at = self.attempts[*key, progress.attempt_no]
        detail = decode_detail(self.personal[*key, PersonalPart.DETAIL])
        sealed = self.personal.get((*key, PersonalPart.REQUEST_BASE + progress.attempt_no))
        request = detail.first_request if sealed is None else open_sealed(sealed)
        assert request is not None
        metadata = None if row.metadata_json is None else json.loads(row.metadata_json)
        command = PaymentCommand(
            order_uuid=row.order_uuid,
            idempotency_key=row.idempotency_key,
            merchant_no=row.merchant_no,
            merchant_id=detail.merchant_id,
            mode=Mode(row.mode),
            seller_no=row.seller_no,
            amount_minor=row.amount_minor,
            currency=row.currency,
            fee_minor=row.fee_minor,
            payment_method=detail.payment_method,
            description=detail.description,
            buyer_json=detail.buyer_json,
            metadata_json=None if metadata is None else canonical_json(metadata),
            fingerprint=row.fingerprint,
            accepted_at=row.accepted_at,
            api_version=row.api_version,
            reply_to="",
            captures_manually=row.captures_manually,
            hosted=detail.hosted,
            splits=self.splits_of(key) or None,
        )
        inherited = Attempt.inherited(
            attempt_no=attempt.attempt_no,
            psp=attempt.psp,
            psp_account=attempt.psp_account,
            psp_key=attempt.psp_key,
            request=request,
            epoch=attempt.epoch,
            created_at=created_at,
        )
        return OpenOrderRecord(
            order_no=row.order_no,
            command=command,
            attempt=inherited._replace(try_count=progress.try_count),
            status=progress.status,
            is_outcome_known=progress.is_outcome_known,
            psp_reference=progress.psp_reference,
            next_action_url=progress.next_action_url,
            action_expires_at=progress.action_expires_at,
            next_retry_at=progress.next_retry_at,
            tried_since=self.attempts[*key, 1][1],
            parked_reason=progress.parked_reason,
            event_sequence=max(event[2] for event in self.events if event[:2] == key),
            has_timer=key in self.timers,
        )


def _account_key(row: AccountRow) -> tuple[int, AccountKey]:
    key = AccountKey(
        row.merchant_no, Mode(row.mode), AccountKind(row.kind), row.holder, row.currency
    )
    return row.partition_index, key


def _refuse_known(what: str, stored: Container[object], keys: Iterable[Hashable]) -> None:
    seen: set[Hashable] = set()
    for key in keys:
        if key in stored or key in seen:
            raise InvariantViolation(f"{what} {key} is in the books already")
        seen.add(key)
