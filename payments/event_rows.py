"""What a flush writes of PSPs' events, row by row (see payments.rows)."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID


class PspEventRow(NamedTuple):
    """An event of a PSP (payments.psp_events), kept once."""

    partition_index: int
    event_uuid: UUID
    psp: str
    event_id: str
    order_uuid: UUID
    attempt_no: int
    result: int
    reference: str | None
    captured_minor: int
    currency: str | None
    failure_code: str | None
    decline_code: str | None
    message: str
    effective_at: datetime | None
    accepted_at: datetime
    dispute_id: str | None = None
    dispute_state: int = 0
    disputed_minor: int = 0


class EventVerdict(IntEnum):
    """What became of a PSP's event. Stored; never renumber."""

    APPLIED = 1
    """It ended the order."""
    AGREES = 2
    """The books say the same, or have left the attempt behind."""
    IGNORED = 3
    """It tells no end."""
    CONTRADICTS = 4
    """The books say otherwise, and stay as they are: a person has to look."""
    UNMATCHED = 5
    """Its order did not come in time."""


class PspEventResultRow(NamedTuple):
    """The end of one event. Kept once each."""

    partition_index: int
    event_uuid: UUID
    batch_seq: int
    order_no: int | None
    result: int
    detail: str
    """Why, where it did not end the order; never what the PSP wrote."""
