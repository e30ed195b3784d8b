"""What the checker is fed: plain values, whether files, servers or a simulation told them.

Shares no type with the product. Amounts are minor units. Names that end in ``_ns`` are
CLOCK_MONOTONIC nanoseconds of the one machine (or of the simulation); ``_unix_ns`` are nanoseconds
since 1970 by the ledger's clock. Hashes and fingerprints are lower-case hexadecimal text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from loadtest.checker.book_records import (
    AccountRecord,
    AttemptRecord,
    BatchRecord,
    CheckoutOrderRecord,
    CheckoutRecord,
    DeadLetterRecord,
    DisputeRecord,
    EventRecord,
    OpenOrderRecord,
    OperationRecord,
    OrderId,
    OrderRecord,
    OutcomeRecord,
    PartitionRecord,
    RefusedRecord,
    SliceRecord,
    SnapshotRecord,
    SplitRecord,
    TransferRecord,
)

__all__ = [
    "AccountRecord",
    "AttemptRecord",
    "BatchRecord",
    "ChargeRecord",
    "CheckoutOrderRecord",
    "CheckoutRecord",
    "ClientEvent",
    "ClientKey",
    "DeadLetterRecord",
    "DisputeRecord",
    "EventRecord",
    "EventType",
    "FaultPhase",
    "FaultRecord",
    "Input",
    "LeakRecord",
    "OpKind",
    "OpenOrderRecord",
    "OperationRecord",
    "OrderId",
    "OrderRecord",
    "OutcomeRecord",
    "PartitionRecord",
    "PoisonRecord",
    "QueueLeft",
    "Records",
    "RefusedRecord",
    "RunRecord",
    "SliceRecord",
    "SnapshotRecord",
    "SplitRecord",
    "TransferRecord",
]

ClientKey = tuple[str, str, str]
"""(merchant id, mode, idempotency key): what names one payment order for its storefront."""


class Input(StrEnum):
    """An independent record of a run."""

    HISTORY = "history"
    BOOKS = "books"
    ORACLE = "oracle"
    QUEUE = "queue"
    FAULTS = "faults"
    LEAKS = "leaks"
    SNAPSHOTS = "snapshots"
    WEBHOOKS = "webhooks"


class EventType(StrEnum):
    """What a line of the client's history says of an operation."""

    INVOKE = "invoke"
    OK = "ok"
    """Answered: 2xx, or 402 (the order was taken in, and failed), or a problem that shows the operation
    which was taken in, and refused by the books.
    """
    FAIL = "fail"
    """Answered, and certainly without effect: 4xx, a 503 that says that nothing may run."""
    INFO = "info"
    """Unknown: time-out, reset, 500, or a 503 that may run."""


class OpKind(StrEnum):
    """What a client did."""

    POST = "post"
    GET = "get"
    WALLET = "wallet"
    LIST = "list"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    REFUNDS = "refunds"
    """A list of a payment's refunds."""
    GET_REFUND = "get_refund"
    CHECKOUT = "checkout"
    GET_CHECKOUT = "get_checkout"


OPERATIONS = frozenset({OpKind.CAPTURE, OpKind.VOID, OpKind.REFUND})


class AskedOrder(NamedTuple):
    """One order of a checkout, as its client asked for it. ``fingerprint`` is the order's own."""

    key: str
    amount_minor: int
    currency: str
    fingerprint: str


class ClientEvent(NamedTuple):
    """One line of the history H. Ends repeat what their invocation said."""

    op: int
    """Number of the operation; its invocation and its end share it."""
    type: EventType
    at_ns: int
    kind: OpKind
    merchant: str
    mode: str
    key: str = ""
    """The idempotency key; for a wallet its owner's id."""
    fingerprint: str = ""
    """Of a POST's body, in the deployment's own form (payments.fingerprint)."""
    amount_minor: int = 0
    currency: str = ""
    seller: str = ""
    token: str = ""
    metadata: str = "{}"
    """Canonical JSON."""
    # Of ends alone, from here on.
    status: int = 0
    body_sha256: str = ""
    body: str = ""
    """The text answered. May be empty where the same key answered the same bytes before."""
    is_replayed: bool = False
    """The answer says ``Idempotent-Replayed: true``."""
    is_deferred: bool = False
    """The answer says ``Tallystick-Key-Check: deferred``."""
    error: str = ""
    """Why there was no answer."""
    # Of invocations again.
    payment: str = ""
    """Of an operation: the key of its payment."""
    orders: tuple[AskedOrder, ...] = ()
    """Of a checkout: what it asks for."""


class PoisonRecord(NamedTuple):
    """A message that a fault put into a stream, and that nobody can decode or survive."""

    at_ns: int
    partition_index: int
    stream_id: str
    cell: str


class ChargeRecord(NamedTuple):
    """A line of a PSP's own record, the oracle."""

    psp: str
    reference: str
    psp_key: str
    merchant: str
    order_key: str
    """The storefront's key, from our metadata; empty where there is none."""
    amount_minor: int
    currency: str
    status: str
    """``captured``, ``authorized``, ``declined``, ``voided``, ``requires_action``, ``canceled``."""
    captured_minor: int
    refunded_minor: int
    at_unix_ns: int
    charged_back_minor: int = 0
    """What disputes that were lost took."""


class QueueLeft(NamedTuple):
    """What a partition's stream holds after quiescence."""

    partition_index: int
    message_count: int
    entries_added: int | None = None
    """How many were ever added, where the server can tell (it counts on across restarts)."""


class FaultPhase(StrEnum):
    """What a line of the faults says."""

    BEGIN = "begin"
    END = "end"
    SKIPPED = "skipped"


class FaultRecord(NamedTuple):
    """A fault began, ended, or was skipped. ``cell`` is ``<fault>/<target>/<step>``."""

    at_ns: int
    cell: str
    phase: FaultPhase
    reason: str = ""
    """Why it was skipped."""


class LeakRecord(NamedTuple):
    """A secret that was found where none may be."""

    place: str
    what: str


class RunRecord(NamedTuple):
    """The run itself. Times that are not known are 0."""

    seed: int = 0
    mix: str = ""
    revision: str = ""
    started_ns: int = 0
    healed_ns: int = 0
    quiesced_ns: int = 0
    ended_ns: int = 0
    unix_less_monotonic_ns: int = 0
    """Add it to a ``_ns`` time to compare it with a ``_unix_ns`` one."""
    planned_cells: tuple[str, ...] = ()
    """Cells that have to be hit at least once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Everything about one run. What is missing entirely goes into ``unreadable``: never leave it out
    silently, because an empty input proves nothing.
    """

    run: RunRecord = field(default_factory=RunRecord)
    history: list[ClientEvent] = field(default_factory=list)
    """In the order of ``at_ns``."""
    orders: list[OrderRecord] = field(default_factory=list)
    splits: list[SplitRecord] = field(default_factory=list)
    attempts: list[AttemptRecord] = field(default_factory=list)
    outcomes: list[OutcomeRecord] = field(default_factory=list)
    open_orders: list[OpenOrderRecord] = field(default_factory=list)
    operations: list[OperationRecord] = field(default_factory=list)
    disputes: list[DisputeRecord] = field(default_factory=list)
    checkouts: list[CheckoutRecord] = field(default_factory=list)
    checkout_orders: list[CheckoutOrderRecord] = field(default_factory=list)
    accounts: list[AccountRecord] = field(default_factory=list)
    transfers: list[TransferRecord] = field(default_factory=list)
    slices: list[SliceRecord] = field(default_factory=list)
    events: list[EventRecord] = field(default_factory=list)
    batches: list[BatchRecord] = field(default_factory=list)
    """In the order of ``ledger_batch_no``."""
    partitions: list[PartitionRecord] = field(default_factory=list)
    refused: list[RefusedRecord] = field(default_factory=list)
    dead_letters: list[DeadLetterRecord] = field(default_factory=list)
    poison: list[PoisonRecord] = field(default_factory=list)
    snapshots: list[SnapshotRecord] = field(default_factory=list)
    charges: list[ChargeRecord] = field(default_factory=list)
    """Of all PSPs, in the order in which each made them."""
    psps: tuple[str, ...] = ()
    """The PSPs whose whole record is in ``charges``."""
    queue: list[QueueLeft] = field(default_factory=list)
    faults: list[FaultRecord] = field(default_factory=list)
    documented: Mapping[str, int] = field(default_factory=dict)
    """HTTP status by problem code, as the deployment's documentation lists them."""
    webhooks: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    """By merchant and mode of each endpoint, the ids of the events that it got."""
    leaks: list[LeakRecord] = field(default_factory=list)
    leak_bytes_scanned: int = 0
    is_final_complete: bool = False
    """Whether every key that was ever sent was read to its end after quiescence."""
    unread: tuple[str, ...] = ()
    """Keys of which that is not so."""
    unreadable: tuple[str, ...] = ()
    """Inputs that could not be read: with any of them the verdict is unknown."""
    unread_inputs: frozenset[Input] = frozenset()
    """Which of the inputs these are: what needs them says nothing at all."""
    not_shown: Mapping[str, str] = field(default_factory=dict)
    """Invariants that a run of this kind can't show, and why: they neither passed nor failed."""
