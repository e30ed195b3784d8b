"""PSPs' events on Postgres, for the command line: those that a person may have to look at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import NamedTuple
from uuid import UUID

from payments.event_rows import EventVerdict
from storage.read_pool import ReadPool
from storage.sql_files import load_statements

_SQL = load_statements("psp_events.sql")

EVENTS_PAGE_MAX = 500


class OddState(Enum):
    """What a person may have to look at. The values are what the command line calls them."""

    WAITING = "waiting"
    CONTRADICTS = "contradicts"
    UNMATCHED = "unmatched"


_STORED = {
    OddState.WAITING: 0,
    OddState.CONTRADICTS: int(EventVerdict.CONTRADICTS),
    OddState.UNMATCHED: int(EventVerdict.UNMATCHED),
}
_STATES = {stored: state for state, stored in _STORED.items()}


class OddEvent(NamedTuple):
    """One of them; amounts in minor units. Nothing of it is personal."""

    state: OddState
    psp: str
    event_id: str
    order_uuid: UUID
    payment_id: UUID | None
    """The order's idempotency key; None when the order is not in the books."""
    merchant_id: str | None
    partition_index: int
    attempt_no: int
    result: int
    """What it tells, as a ResultClass."""
    reference: str | None
    captured_minor: int
    currency: str | None
    detail: str
    """Why it is not as it should be; empty while it waits."""
    accepted_at: datetime


class PostgresPspEvents:
    """Events of one shard."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def odd(self, state: OddState | None, *, count_max: int) -> Sequence[OddEvent]:
        """Return the newest of a state, or of all. Raises StorageUnavailable."""
        wanted = None if state is None else _STORED[state]
        rows = await self._pool.fetch(_SQL["odd"], wanted, count_max)
        return [
            OddEvent(
                state=_STATES[row["judged"]],
                psp=row["psp"],
                event_id=row["event_id"],
                order_uuid=row["order_uuid"],
                payment_id=row["idempotency_key"],
                merchant_id=row["merchant_id"],
                partition_index=row["partition_index"],
                attempt_no=row["attempt_no"],
                result=row["told"],
                reference=row["reference"],
                captured_minor=row["captured_minor"],
                currency=row["currency"],
                detail=row["detail"],
                accepted_at=row["accepted_at"],
            )
            for row in rows
        ]
