"""Disputes: a buyer's bank takes a captured amount back, until it is decided whose it is.

The PSP tells of them by webhook. A dispute has a number of its own among its partition's orders, by which its
transfers and events go; it never has an attempt, since nothing is asked of the PSP.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class DisputeState(IntEnum):
    """Stored; never renumber. The last two end it."""

    OPENED = 1
    WON = 2
    """The amount is the seller's again."""
    LOST = 3
    """The amount is gone, back to the buyer."""

    @property
    def wire(self) -> str:
        return self.name.lower()


class DisputeEvent(IntEnum):
    """What can happen to a dispute. Stored as the type of its events, beside those of payments and operations."""

    OPENED = 51
    WON = 52
    LOST = 53

    @classmethod
    def of(cls, state: DisputeState) -> DisputeEvent:
        return cls(50 + state)

    @property
    def wire(self) -> str:
        """The event type in the API, such as ``dispute.opened``."""
        return f"dispute.{self.name.lower()}"


class Dispute(NamedTuple):
    """One dispute of a payment, as the books hold it."""

    order_no: int
    reference: str
    """The PSP's own id of it."""
    state: DisputeState
    amount_minor: int
    event_sequence: int
    shares_minor: tuple[int, ...] = ()
    """What it took of each part of a payment with splits, in their order: a won one gives back just these."""


class DisputeRow(NamedTuple):
    """How a dispute stands: replaces the row before."""

    partition_index: int
    order_no: int
    payment_no: int
    psp: str
    reference: str
    status: int
    amount_minor: int
    currency: str
    event_sequence: int
    merchant_no: int
    mode: int
