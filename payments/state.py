"""A partition's state as its books tell it: what a new owner starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from payments.attempts import Attempt
from payments.commands import PaymentCommand
from payments.operations import Operation
from payments.standing import PaymentStanding


class PartitionHead(NamedTuple):
    """Where a partition's books stand. ``epoch`` and ``batch_seq`` are the owner's fence."""

    partition_index: int
    epoch: int
    batch_seq: int
    order_no_last: int
    account_no_last: int
    chain_hash: bytes


class AccountHead(NamedTuple):
    """A slice: its account's number here, its balances (minor units), and how many transfers made them."""

    account_no: int
    version: int
    debits_posted_minor: int
    credits_posted_minor: int
    debits_pending_minor: int = 0
    credits_pending_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrderRecord:
    """One order or operation that has not ended, as a new owner finds it. Its attempt is inherited, so tainted."""

    order_no: int
    command: PaymentCommand | Operation
    """Rebuilt from the order and its personal data; ``reply_to`` is empty."""
    attempt: Attempt
    status: int
    is_outcome_known: bool
    psp_reference: str | None
    next_action_url: str | None
    action_expires_at: datetime | None
    next_retry_at: datetime | None
    event_sequence: int
    tried_since: datetime
    """When its first attempt was written."""
    parked_reason: int | None
    """Why it rests (payments.parking); None where it does not."""
    has_timer: bool
    """Whether a timer row will bring it up again; else the owner must act at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionState:
    """Everything a new owner needs to carry on."""

    head: PartitionHead
    open_orders: list[OpenOrderRecord]
    recorded_at: datetime
    """The ledger's time of the claim: a new host's own clock decides nothing."""
    standings: Sequence[PaymentStanding] = ()
    """The payments that the open operations among ``open_orders`` belong to."""
    stall_count: int = 0
    """How many hosts in a row died here before their first flush, with work waiting."""
