"""The ports of the ledger: what owners write and ask, and which faults they meet.

Two implementations of each pass one contract suite: the real ledger, and the fake of unit tests and
of the simulation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from payments.accounts import AccountKey
from payments.checkouts import CheckoutOrderRow, CheckoutRow
from payments.disputes import DisputeRow
from payments.event_rows import PspEventResultRow, PspEventRow
from payments.evidence import Evidence
from payments.operation_rows import OperationRow, StandingRow
from payments.psp_events import EventFound
from payments.rows import (
    AccountRow,
    AttemptRow,
    DeadLetterRow,
    EventRow,
    EvidenceResultRow,
    HeadRow,
    LetterResultRow,
    OrderRow,
    OutcomeRow,
    PersonalRow,
    ProgressRow,
    RefusedRequestRow,
    SliceDeltaRow,
    TimerRow,
    TransferRow,
)
from payments.splits import SplitRow
from payments.state import AccountHead as AccountHead
from payments.state import OpenOrderRecord as OpenOrderRecord
from payments.state import PartitionHead as PartitionHead
from payments.state import PartitionState as PartitionState
from runtime.faults import Fault
from runtime.faults import StorageUnavailable as StorageUnavailable
from storage.known import KnownOrders as KnownOrders
from storage.known import OperatedPayments as OperatedPayments
from storage.known import OperationKey as OperationKey
from storage.known import SetAside as SetAside
from storage.queue_ports import LetterAction


class PartitionFenced(Fault):
    """Some partitions of a flush belong to another owner or epoch now. Nothing of the flush was written."""

    def __init__(self, partition_indexes: frozenset[int]) -> None:
        super().__init__(f"fenced out of partitions {sorted(partition_indexes)}")
        self.partition_indexes = partition_indexes


class CommitUnknown(Fault):
    """The flush may or may not have been committed. Take the partitions over from yourself, then read."""

    def __init__(self, partition_indexes: frozenset[int], reason: str) -> None:
        super().__init__(f"commit unknown for partitions {sorted(partition_indexes)}: {reason}")
        self.partition_indexes = partition_indexes
        self.reason = reason


class LaneReplaced(Fault):
    """The lane's connection is another one than these partitions' claims recorded. Nothing was written.

    Claim them again: a takeover must know every backend that may still write for a partition.
    """

    def __init__(self, partition_indexes: frozenset[int]) -> None:
        super().__init__(f"the lane was replaced; claim again: {sorted(partition_indexes)}")
        self.partition_indexes = partition_indexes


@dataclass(slots=True, kw_only=True)
class Flush:
    """One transaction of an owner, for several partitions of one shard. ``heads`` is its fence."""

    heads: list[HeadRow] = field(default_factory=list)
    orders: list[OrderRow] = field(default_factory=list)
    splits: list[SplitRow] = field(default_factory=list)
    personal: list[PersonalRow] = field(default_factory=list)
    attempts: list[AttemptRow] = field(default_factory=list)
    progress: list[ProgressRow] = field(default_factory=list)
    timers: list[TimerRow] = field(default_factory=list)
    outcomes: list[OutcomeRow] = field(default_factory=list)
    """An outcome also deletes the order's ``open_order`` row and its timer."""
    transfers: list[TransferRow] = field(default_factory=list)
    accounts: list[AccountRow] = field(default_factory=list)
    slices: list[SliceDeltaRow] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    operations: list[OperationRow] = field(default_factory=list)
    """Those that are open also make their ``open_order`` row."""
    standings: list[StandingRow] = field(default_factory=list)
    """A payment that holds nothing also loses its timer."""
    disputes: list[DisputeRow] = field(default_factory=list)
    refused: list[RefusedRequestRow] = field(default_factory=list)
    dead_letters: list[DeadLetterRow] = field(default_factory=list)
    """A letter of an order that is not in the books also makes its ``set_aside_order`` row."""
    letter_results: list[LetterResultRow] = field(default_factory=list)
    evidence_results: list[EvidenceResultRow] = field(default_factory=list)
    psp_events: list[PspEventRow] = field(default_factory=list)
    """Those that the books hold already are left as they are."""
    psp_event_results: list[PspEventResultRow] = field(default_factory=list)
    checkouts: list[CheckoutRow] = field(default_factory=list)
    """Each name once; one that the books hold is left as it is."""
    checkout_orders: list[CheckoutOrderRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushReceipt:
    """``recorded_at`` is the database's transaction time: the time of everything the flush wrote."""

    recorded_at: datetime
    laps_s: Mapping[str, float] = field(default_factory=dict)
    """How long each part of the flush took (storage.flush_laps); empty where nobody measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTimer:
    """A timer whose time has come by the database's clock."""

    partition_index: int
    order_no: int
    kind: int


# Events of one partition that wait for their orders. Those of our own keys whose order is not here are few,
# unless another deployment has the same account; this many are 5 MB.
# As many more may wait whose order is here.
PSP_EVENTS_WAITING_MAX = 10_000


class Lane(Protocol):
    """One connection on which an owner's flushes follow each other."""

    async def append(self, flush: Flush) -> FlushReceipt:
        """Write one flush, whole or not at all.

        Raises PartitionFenced (nothing written), CommitUnknown, or StorageUnavailable (nothing
        written, surely). Rows that break an invariant raise InvariantViolation. After a fault, or
        after a caller that was cancelled, the connection is opened anew at the next call, which then
        raises LaneReplaced (nothing written): the partitions it names need a claim first.
        """
        ...


class OwnerLedger(Protocol):
    """The ledger of one shard, as a partition host uses it."""

    @property
    def lanes(self) -> Sequence[Lane]: ...

    async def known_orders(self, keys: Sequence[tuple[int, UUID]]) -> KnownOrders:
        """Return which of ``(partition_index, order_uuid)`` the books hold already."""
        ...

    async def operated_payments(
        self, operations: Sequence[OperationKey], payments: Sequence[tuple[int, int]]
    ) -> OperatedPayments:
        """Return which operations the books hold, and how their payments stand.

        ``payments`` are further ones, by partition and number. One that does not exist is left out.
        """
        ...

    async def pending_actions(
        self, partition_indexes: Sequence[int], *, count_max: int
    ) -> Sequence[LetterAction]:
        """Return operators' actions without a result, oldest first, one a letter."""
        ...

    async def pending_evidence(
        self, partition_indexes: Sequence[int], *, count_max: int
    ) -> Sequence[Evidence]:
        """Return evidence without a result, oldest first."""
        ...

    async def due_psp_events(
        self, partition_indexes: Sequence[int], *, count_max: int, wait_s_max: float
    ) -> Sequence[EventFound]:
        """Return PSPs' events without a result whose turn it is, oldest first, and postpone them.

        Those that have waited for longer than ``wait_s_max`` are overdue.
        """
        ...

    async def note_paused(self, partition_indexes: Sequence[int], paused: Sequence[int]) -> None:
        """Tell people which of these partitions take nothing in."""
        ...

    async def letter_overrides(self) -> frozenset[int]:
        """Return partitions for which an operator accepts any share of dead letters now."""
        ...

    async def account_heads(
        self, keys: Sequence[tuple[int, AccountKey]]
    ) -> Mapping[tuple[int, AccountKey], AccountHead]:
        """Return those accounts that exist; a missing key means it has no slice in that partition yet."""
        ...

    async def due_timers(
        self, partition_indexes: Sequence[int], *, count_max: int
    ) -> Sequence[DueTimer]:
        """Return timers that are due, oldest first. They stay until a flush replaces or ends them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseView:
    """One host incarnation's lease as read: alive as long as ``counter`` keeps changing."""

    incarnation: UUID
    host_name: str
    pid: int
    counter: int
    is_released: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionView:
    """Who owns a partition, by the books."""

    partition_index: int
    epoch: int
    owner: UUID | None


# A host may die of anything; one that had written nothing since it claimed a partition where work waited is a
# sign, mostly the second death in a row: under load the first host had written before. Being careful costs
# a partition about a second, and one more death all partitions of a host several.
STALLS_BEFORE_CARE = 1


class Ownership(Protocol):
    """Leases, claims and takeovers in one shard. Leases decide who tries, epochs decide who may."""

    async def register(
        self,
        *,
        incarnation: UUID,
        host_name: str,
        node: str,
        pid: int,
        metrics_address: str | None = None,
    ) -> None: ...

    async def beat(self, incarnation: UUID) -> bool:
        """Raise the lease's counter. False when the lease was released by somebody: stop owning."""
        ...

    async def leases(self) -> Sequence[LeaseView]: ...

    async def partitions(self) -> Sequence[PartitionView]: ...

    async def claim(
        self,
        *,
        partition_index: int,
        epoch_seen: int,
        incarnation: UUID,
        lane_index: int,
        has_waiting: bool = False,
    ) -> PartitionState | None:
        """Take a partition over and read its state, or return None when somebody was faster.

        Terminates the recorded backends of the last owner that are not waiting for the standby, bumps
        the epoch from ``epoch_seen``, commits synchronously, and only then reads. Claiming one's own
        partition resolves an unknown commit. The partition is appended to on the lane ``lane_index``
        from then on, and on no other. A takeover from a host that wrote nothing since its own claim,
        with open orders or ``has_waiting`` messages on the stream, raises the state's stall_count.

        Raises StorageUnavailable (try again: a transaction in doubt may hold it up), or CommitUnknown
        when the claim itself is in doubt: read the epoch again, and claim again.
        """
        ...

    async def note_progress(self, partition_index: int, epoch: int) -> None:
        """Set stall_count to 0: what waited was tried to its end."""
        ...

    async def park(
        self, partition_index: int, epoch: int, order_no: int, *, reason: str, detail: str
    ) -> None:
        """Leave an open order alone from the next claim on, as long as ``epoch`` is the present one."""
        ...

    async def hand_over(self, *, partition_indexes: Sequence[int], incarnation: UUID) -> None:
        """Give partitions up, nothing in flight: any host may claim them at once."""
        ...

    async def release_lease(self, incarnation: UUID) -> None:
        """End a lease now, by its host on a drain or by whoever reaped its process."""
        ...
