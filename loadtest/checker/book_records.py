"""Rows of the books, as plain values. Units and forms are those of ``loadtest.checker.records``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

OrderId = tuple[int, int]
"""(partition_index, order_no)."""


class OrderRecord(NamedTuple):
    """A row of the ledger's orders."""

    partition_index: int
    order_no: int
    order_uuid: str
    merchant: str
    mode: str
    key: str
    seller: str
    amount_minor: int
    currency: str
    fee_minor: int
    fingerprint: str
    metadata: str
    """Canonical JSON; "{}" for none."""
    taken_in_unix_ns: int
    """When the transaction that took it in began."""


class SplitRecord(NamedTuple):
    """One seller's part of an order, as it was accepted."""

    partition_index: int
    order_no: int
    position: int
    seller: str
    amount_minor: int
    fee_minor: int


class AttemptRecord(NamedTuple):
    """A row that was committed before its call to a PSP."""

    partition_index: int
    order_no: int
    attempt_no: int
    psp: str
    psp_account: str
    psp_key: str
    epoch: int


class OutcomeRecord(NamedTuple):
    """How an order ended. ``status`` is a wire name, such as ``succeeded``."""

    partition_index: int
    order_no: int
    batch_seq: int
    status: str
    amount_captured_minor: int
    fee_minor: int
    currency: str
    attempt_no: int
    psp: str | None
    psp_reference: str | None
    failure_code: str | None
    decline_code: str | None
    failure_message: str | None
    effective_unix_us: int | None
    """Microseconds: what the hash chain covers."""
    event_sequence: int
    recorded_unix_ns: int


class OperationRecord(NamedTuple):
    """A capture, void, refund or expiry. It is numbered among the orders of its partition."""

    partition_index: int
    order_no: int
    operation_uuid: str
    kind: str
    """A name such as ``refund``."""
    payment_no: int
    """The order_no of its payment."""
    amount_minor: int
    key: str = ""
    """The storefront's; empty where the books are not told of it."""
    fingerprint: str = ""


class CheckoutRecord(NamedTuple):
    """A checkout as it was accepted."""

    checkout_uuid: str
    merchant: str
    mode: str
    key: str
    fingerprint: str


class CheckoutOrderRecord(NamedTuple):
    """One order of a checkout, in the order of the checkout's own."""

    checkout_uuid: str
    key: str
    amount_minor: int
    currency: str
    fingerprint: str


class DisputeRecord(NamedTuple):
    """A dispute of a payment, numbered among the orders of its partition. ``status``: opened, won, lost."""

    partition_index: int
    order_no: int
    payment_no: int
    status: str
    amount_minor: int


class OpenOrderRecord(NamedTuple):
    """An order that has not ended. ``reason`` is why it waits for a person; empty when it does not."""

    partition_index: int
    order_no: int
    status: str
    is_outcome_known: bool
    attempt_no: int
    has_timer: bool
    reason: str = ""


class AccountRecord(NamedTuple):
    """A partition's account. ``kind`` is a name such as ``wallet``; ``holder`` a seller's id for a
    wallet, a PSP's name for a receivable, else empty.
    """

    partition_index: int
    account_no: int
    merchant: str
    mode: str
    kind: str
    holder: str
    currency: str


class TransferRecord(NamedTuple):
    """One movement of money. ``kind`` is a name such as ``charge`` or ``fee``."""

    partition_index: int
    order_no: int
    step: int
    batch_seq: int
    kind: str
    debit_account_no: int
    credit_account_no: int
    amount_minor: int
    currency: str


class SliceRecord(NamedTuple):
    """A partition's part of an account."""

    partition_index: int
    account_no: int
    version: int
    debits_minor: int
    credits_minor: int
    debits_pending_minor: int = 0
    credits_pending_minor: int = 0


class EventRecord(NamedTuple):
    """An outbox event. ``type`` is a wire name, such as ``payment_order.succeeded``."""

    partition_index: int
    order_no: int
    sequence: int
    batch_seq: int
    type: str


class BatchRecord(NamedTuple):
    """One partition's line of one flush that wrote outcomes or transfers."""

    ledger_batch_no: int
    partition_index: int
    epoch: int
    batch_seq: int
    outcome_count: int
    transfer_count: int
    chain_hash: str


class PartitionRecord(NamedTuple):
    """Where a partition stands. ``owner`` is the host's incarnation, empty for none."""

    partition_index: int
    epoch: int
    batch_seq: int
    order_no_last: int
    chain_hash: str
    owner: str


class RefusedRecord(NamedTuple):
    """A late request under a key that another body had taken."""

    order_uuid: str
    fingerprint: str


class DeadLetterRecord(NamedTuple):
    """A stream message that was set aside."""

    partition_index: int
    stream_id: str
    order_uuid: str
    """Empty where it could not be read."""
    reason: str
    raw_sha256: str


class SnapshotRecord(NamedTuple):
    """The books in one read-only transaction on the primary, while the load ran."""

    at_ns: int
    partitions: tuple[PartitionRecord, ...]
    slices: tuple[SliceRecord, ...]
    wallets_minor: Mapping[str, int]
    """By currency: the sum over all wallets' slices."""
    entries_minor: Mapping[str, int]
    """By currency: credits less debits of the transfers on wallets."""
