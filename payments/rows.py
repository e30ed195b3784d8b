"""What one flush writes, row by row. Each tuple's fields are in the order of its staging table.

NamedTuples, because the driver copies tuples as they are: nothing is converted on the hot path.
All amounts are minor units. All times are aware UTC datetimes.
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID


class TransferKind(IntEnum):
    """Why a transfer was made. Stored; never renumber."""

    CHARGE = 1
    FEE = 2
    AUTHORIZATION = 3
    """Pending: held at the PSP, nobody's yet."""
    CAPTURE = 4
    """Posts what was pending, or a part of it."""
    RELEASE = 5
    """What is still pending is given back: nothing is posted."""
    REFUND = 6
    DISPUTE = 7
    """A disputed amount is held until the dispute ends."""
    DISPUTE_LOST = 8
    DISPUTE_WON = 9


class TimerKind(IntEnum):
    """What to do with an open order when its time has come. Stored; never renumber."""

    SEND = 1
    """Send the attempt (again), under its own key."""
    QUERY = 2
    """Ask the PSP what became of the attempt's key."""
    CANCEL = 3
    """Have the PSP cancel the key: the buyer did not act in time."""
    RESUME = 4
    """Go on with a parked order. Its owner brings it up, in turn with others; no reader of timers does."""
    EXPIRE = 5
    """Give back what is left of an authorization: the payment is not open, nothing of it is in memory."""


class PersonalPart(IntEnum):
    """Which personal data a row of ``personal_data`` holds.

    The request of attempt n is REQUEST_BASE + n. The first attempt's is in the order's detail.
    """

    DETAIL = 0
    REQUEST_BASE = 100


class OrderRow(NamedTuple):
    """One order at intake. Never changed afterwards."""

    partition_index: int
    order_no: int
    order_uuid: UUID
    idempotency_key: UUID
    merchant_no: int
    mode: int
    seller_no: int
    amount_minor: int
    currency: str
    fee_minor: int
    fingerprint: bytes
    metadata_json: str | None
    """Canonical JSON text of the storefront's metadata, or None for none."""
    api_version: str
    accepted_at: datetime
    """When a gateway accepted it first (the envelope's ``t``)."""
    captures_manually: bool = False


class PersonalRow(NamedTuple):
    """Personal data, apart from the books: a versioned envelope (storage.envelope) as bytes."""

    partition_index: int
    order_no: int
    part: int
    envelope: bytes


class AttemptRow(NamedTuple):
    """One attempt, committed before its call starts. Its request bytes are personal data (PersonalPart)."""

    partition_index: int
    order_no: int
    attempt_no: int
    psp: str
    psp_account: str
    psp_key: str
    epoch: int


class ProgressRow(NamedTuple):
    """How an order that is still open stands now: replaces the row of ``open_order``."""

    partition_index: int
    order_no: int
    status: int
    is_outcome_known: bool
    attempt_no: int
    try_count: int
    psp_reference: str | None
    next_action_url: str | None
    action_expires_at: datetime | None
    next_retry_at: datetime | None
    """Shown to the storefront; None when a call is about to start or the buyer's turn has come."""
    parked_reason: int | None
    """Why it rests (payments.parking); None where it does not."""


class TimerRow(NamedTuple):
    """The one next step of an open order; replaces any earlier timer of it."""

    partition_index: int
    order_no: int
    kind: int
    delay_ms: int
    """From the database's present: timers live on its clock alone."""


class OutcomeRow(NamedTuple):
    """How an order ended: the columns from which its frozen answer is rendered, for ever."""

    partition_index: int
    order_no: int
    batch_seq: int
    status: int
    amount_captured_minor: int
    fee_minor: int
    currency: str
    attempt_no: int
    psp: str | None
    psp_reference: str | None
    failure_code: str | None
    decline_code: str | None
    failure_message: str | None
    effective_at: datetime | None
    event_sequence: int


class TransferRow(NamedTuple):
    """One movement of money, both halves in one row."""

    partition_index: int
    order_no: int
    step: int
    batch_seq: int
    kind: int
    debit_account_no: int
    credit_account_no: int
    amount_minor: int
    currency: str


class AccountRow(NamedTuple):
    """A new account in this partition; its slice starts at zero and version 0."""

    partition_index: int
    account_no: int
    merchant_no: int
    mode: int
    kind: int
    holder: str
    currency: str


class SliceDeltaRow(NamedTuple):
    """What a batch adds to one slice. ``version_before`` must be the stored one, else it is a defect."""

    partition_index: int
    account_no: int
    version_before: int
    transfer_count: int
    debits_posted_minor: int
    credits_posted_minor: int
    debits_pending_minor: int = 0
    """Below zero where what was pending is posted or released."""
    credits_pending_minor: int = 0


class EventRow(NamedTuple):
    """One event of an order; ``sequence`` is gapless per order, from 1. Merchant and mode have its feed."""

    partition_index: int
    order_no: int
    sequence: int
    batch_seq: int
    type: int
    merchant_no: int
    mode: int


class RefusedRequestRow(NamedTuple):
    """A late request under a key that another body had taken: kept once per (order_uuid, fingerprint)."""

    partition_index: int
    order_uuid: UUID
    fingerprint: bytes
    accepted_at: datetime


class DeadLetterRow(NamedTuple):
    """A message that could not be taken in: its raw fields in the versioned envelope, and why."""

    partition_index: int
    stream_id: str
    order_uuid: UUID | None
    merchant_no: int | None
    mode: int | None
    reason: str
    """A word from a short list, for counting."""
    detail: str
    attempt_count: int
    raw_envelope: bytes
    is_order: bool
    """Whether the header tells which order it is: then the order is kept as set aside."""
    fingerprint: bytes | None
    api_version: str
    accepted_at: datetime | None


class LetterActionKind(IntEnum):
    """What an operator may want done with a dead letter. Stored; never renumber."""

    REPLAY = 1
    DISCARD = 2


class LetterResult(IntEnum):
    """What became of an operator's action on a dead letter. Stored; never renumber."""

    REPLAYED = 1
    DISCARDED = 2
    REFUSED = 3


class LetterResultRow(NamedTuple):
    """The end of one action. Kept once per action."""

    action_no: int
    dead_letter_no: int
    partition_index: int
    batch_seq: int
    result: int
    detail: str


class EvidenceVerdict(IntEnum):
    """What became of evidence (payments.evidence). Stored; never renumber."""

    ACCEPTED = 1
    REFUSED = 2


class EvidenceResultRow(NamedTuple):
    """The end of one piece of evidence. Kept once each."""

    evidence_no: int
    partition_index: int
    batch_seq: int
    result: int
    detail: str
    """Why it was refused; empty when it was not."""


class HeadRow(NamedTuple):
    """A partition's head after the batch. ``epoch`` and ``batch_seq_before`` are its fence."""

    partition_index: int
    epoch: int
    batch_seq_before: int
    order_no_last: int
    account_no_last: int
    chain_hash: bytes
    outcome_count: int
    transfer_count: int
