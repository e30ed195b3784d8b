"""What one decision of a partition's book takes in and gives out."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from payments import fingerprint
from payments.accounts import AccountKey
from payments.attempts import Attempt, ResultClass
from payments.checkouts import (
    Checkout,
    CheckoutOrderRow,
    CheckoutRow,
    checkout_order_rows,
    checkout_row,
)
from payments.commands import OperationCommand, PaymentCommand
from payments.disputes import DisputeRow
from payments.event_rows import EventVerdict, PspEventResultRow, PspEventRow
from payments.open_order import CallAnswer, OpenOrder, PspCall
from payments.operation_rows import OperationRow, StandingRow
from payments.psp_events import PspEvent
from payments.psp_terms import PspTerms
from payments.routing import ALL_AVAILABLE, Availability
from payments.rows import (
    AccountRow,
    AttemptRow,
    EventRow,
    EvidenceResultRow,
    HeadRow,
    OrderRow,
    OutcomeRow,
    ProgressRow,
    RefusedRequestRow,
    SliceDeltaRow,
    TimerKind,
    TimerRow,
    TransferRow,
)
from payments.splits import SplitRow
from payments.standing import PaymentStanding
from payments.state import AccountHead, PartitionHead


class AttemptPlan(NamedTuple):
    """Where an attempt goes and what it says: everything that its row will fix."""

    psp: str
    psp_account: str
    psp_key: str
    request: bytes


class Planner(Protocol):
    """Chooses the PSP and builds the request; pure: the same for the same arguments."""

    def home(self, command: PaymentCommand) -> str:
        """The PSP that takes the order when all are well: the first that can use it, else the first."""
        ...

    def route(
        self,
        command: PaymentCommand,
        *,
        avoiding: Container[str],
        success_percents: Mapping[str, int] = ...,
    ) -> str | None:
        """The first PSP that can use the order and is not avoided; None when there is none.

        ``success_percents`` tells how well PSPs have done lately (``Availability``).
        """
        ...

    def plan(self, command: PaymentCommand, attempt_no: int, psp: str) -> AttemptPlan:
        """Fix what attempt ``attempt_no`` says to ``psp``, which is configured."""
        ...

    def terms(self, psp: str) -> PspTerms:
        """What that PSP promises; one that is not configured any more promises nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one decision takes in, for one partition."""

    commands: Sequence[PaymentCommand] = ()
    known: Mapping[UUID, bytes] = field(default_factory=dict)
    """Fingerprint by identity of those of ``commands`` and ``operations`` that the ledger holds already."""
    operations: Sequence[OperationCommand] = ()
    standings: Sequence[PaymentStanding] = ()
    """The payments of ``operations``, and those whose authorization's time is over, as the books hold them."""
    answers: Sequence[CallAnswer] = ()
    psp_events: Sequence[PspEvent] = ()
    """Events of PSPs that came over the queue; the books know which of them are new."""
    checkouts: Sequence[Checkout] = ()
    """Checkouts that came over the queue; the books know which of them are new."""
    due: Sequence[tuple[int, TimerKind]] = ()
    """``(order_no, step)`` of timers whose time has come."""
    dead_letter_count: int = 0
    """Messages of this partition that can't be decoded and go to the dead letters with this batch."""
    now: datetime
    """The ledger's time."""
    availability: Availability = ALL_AVAILABLE
    """Which PSPs take new orders now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a book holds while it decides. Read only."""

    head: PartitionHead
    open_orders: Mapping[int, OpenOrder]
    order_nos: Mapping[UUID, int]
    """The number of each open order."""
    accounts: Mapping[AccountKey, AccountHead]
    standings: Mapping[int, PaymentStanding] = field(default_factory=dict)
    """The payments that have open operations, by their number."""
    operations_of: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Their open operations, in the order of intake."""
    psp_events: Container[UUID] = frozenset()
    """PSPs' events that this owner wrote lately, by their names."""


@dataclass(slots=True)
class Decided:
    """What one decision writes, starts and leaves behind."""

    partition_index: int
    head_before: PartitionHead
    orders: list[OrderRow] = field(default_factory=list)
    splits: list[SplitRow] = field(default_factory=list)
    attempts: list[AttemptRow] = field(default_factory=list)
    progress: list[ProgressRow] = field(default_factory=list)
    timers: list[TimerRow] = field(default_factory=list)
    outcomes: list[OutcomeRow] = field(default_factory=list)
    transfers: list[TransferRow] = field(default_factory=list)
    accounts: list[AccountRow] = field(default_factory=list)
    slices: list[SliceDeltaRow] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    refused: list[RefusedRequestRow] = field(default_factory=list)
    evidence: list[EvidenceResultRow] = field(default_factory=list)
    psp_events: list[PspEventRow] = field(default_factory=list)
    psp_event_results: list[PspEventResultRow] = field(default_factory=list)
    checkouts: list[CheckoutRow] = field(default_factory=list)
    checkout_orders: list[CheckoutOrderRow] = field(default_factory=list)
    opened: list[OpenOrder] = field(default_factory=list)
    planned: list[tuple[int, Attempt]] = field(default_factory=list)
    """``(order_no, attempt)`` for each new attempt: its request is personal data, kept apart."""
    changed: dict[int, OpenOrder] = field(default_factory=dict)
    closed: dict[int, OpenOrder] = field(default_factory=dict)
    operations: list[OperationRow] = field(default_factory=list)
    reasons: list[tuple[int, str]] = field(default_factory=list)
    """``(order_no, reason)`` of operations: personal data perhaps, kept apart."""
    ended_at_once: list[OpenOrder] = field(default_factory=list)
    """Operations that the books refused at intake: they were never open."""
    standings: dict[int, PaymentStanding] = field(default_factory=dict)
    """How payments stand that operations changed, by their number."""
    disputes: dict[int, DisputeRow] = field(default_factory=dict)
    """How disputes stand that events changed, by their number."""
    hold_timers: dict[int, int] = field(default_factory=dict)
    """In how many milliseconds what is left of a payment's authorization is given back."""
    dead_letter_count: int = 0
    calls: list[PspCall] = field(default_factory=list)
    slice_heads: dict[AccountKey, AccountHead] = field(default_factory=dict)
    order_no_last: int = 0
    account_no_last: int = 0
    chain_hash: bytes = b""

    @property
    def has_rows(self) -> bool:
        """Whether anything must be written before the calls may start."""
        return bool(
            self.orders
            or self.progress
            or self.outcomes
            or self.refused
            or self.evidence
            or self.psp_events
            or self.psp_event_results
            or self.checkouts
            or self.attempts
            or self.dead_letter_count
            or self.operations
            or self.standings
        )

    def standing_rows(self) -> list[StandingRow]:
        """How the changed payments stand, each with its timer where that moves."""
        return [
            payment.row(self.partition_index, self.hold_timers.get(order_no))
            for order_no, payment in self.standings.items()
        ]

    def note_events(self, events: Sequence[PspEvent]) -> None:
        """Keep PSPs' events, the first of each name. What tells no end has its result at once, unless the
        books hold that name already; the others are judged later.
        """
        first: dict[UUID, PspEvent] = {}
        for event in events:
            first.setdefault(event.event_uuid, event)
        for event in first.values():
            self.psp_events.append(PspEventRow(self.partition_index, *event[:-1]))
            if event.dispute_id is None and not ResultClass(event.result).is_definitive:
                self.end_event(event.event_uuid, None, EventVerdict.IGNORED, "it tells no end")

    def note_checkouts(self, checkouts: Sequence[Checkout]) -> None:
        """Keep checkouts, the first of each name; a later one with another body is kept as refused."""
        first: dict[UUID, Checkout] = {}
        for checkout in checkouts:
            stands = first.setdefault(checkout.checkout_uuid, checkout)
            if stands is checkout:
                self.checkouts.append(checkout_row(self.partition_index, checkout))
                self.checkout_orders += checkout_order_rows(self.partition_index, checkout)
            elif not fingerprint.same(stands.fingerprint, checkout.fingerprint):
                self.refused.append(
                    RefusedRequestRow(
                        partition_index=self.partition_index,
                        order_uuid=checkout.checkout_uuid,
                        fingerprint=checkout.fingerprint,
                        accepted_at=checkout.accepted_at,
                    )
                )

    def end_event(
        self, event_uuid: UUID, order_no: int | None, result: EventVerdict, detail: str
    ) -> None:
        """Note what became of a PSP's event."""
        self.psp_event_results.append(
            PspEventResultRow(
                self.partition_index,
                event_uuid,
                self.head_before.batch_seq + 1,
                order_no,
                result,
                detail,
            )
        )

    def head_row(self) -> HeadRow:
        """The fence of this partition, and its head after the batch."""
        return HeadRow(
            partition_index=self.partition_index,
            epoch=self.head_before.epoch,
            batch_seq_before=self.head_before.batch_seq,
            order_no_last=self.order_no_last,
            account_no_last=self.account_no_last,
            chain_hash=self.chain_hash,
            outcome_count=len(self.outcomes),
            transfer_count=len(self.transfers),
        )
