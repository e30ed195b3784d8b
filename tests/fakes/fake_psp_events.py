"""PSPs' events in memory: what Postgres keeps of them, of those that wait, and of what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from payments.event_rows import EventVerdict, PspEventResultRow, PspEventRow
from payments.psp_events import EndedOrder, EventFound, PspEvent
from payments.rows import AttemptRow, OutcomeRow
from storage.ports import PSP_EVENTS_WAITING_MAX, Flush

EventKey = tuple[int, UUID]

WAIT_S_MAX = 900
WAIT_S_MAX_WITH_ORDER = 4


@dataclass
class FakePspEvents:
    """Rows by partition and the event's own name."""

    rows: dict[EventKey, tuple[PspEventRow, datetime]] = field(default_factory=dict)
    waiting: dict[EventKey, tuple[datetime, int]] = field(default_factory=dict)
    """When each is to be looked at next, and how often it was."""
    results: dict[EventKey, PspEventResultRow] = field(default_factory=dict)
    waiting_max: int = PSP_EVENTS_WAITING_MAX

    def copy(self) -> FakePspEvents:
        """Return these as they stand, to go on apart from them."""
        return FakePspEvents(
            dict(self.rows), dict(self.waiting), dict(self.results), self.waiting_max
        )

    def write(self, flush: Flush, at: datetime, order_keys: Mapping[UUID, tuple[int, int]]) -> None:
        """Keep the first row and the first result of each event."""
        fresh = {row[:2] for row in flush.psp_events} - self.rows.keys()
        results = [
            row
            for row in flush.psp_event_results
            if row.result != EventVerdict.IGNORED or row[:2] in fresh
        ]
        ended = {row[:2] for row in results}
        counts: dict[int, int] = {}
        for index, _ in self.waiting:
            counts[index] = counts.get(index, 0) + 1
        for row in flush.psp_events:
            key = row[:2]
            if key in self.rows:
                continue
            self.rows[key] = (row, at)
            if key in ended:
                continue
            places = self.waiting_max * (2 if row.order_uuid in order_keys else 1)
            if counts.get(key[0], 0) < places:
                self.waiting[key] = (at, 0)
            else:
                full = "too many events wait already"
                self.results[key] = PspEventResultRow(*key, 0, None, EventVerdict.UNMATCHED, full)
        for result in results:
            self.results.setdefault(result[:2], result)
            self.waiting.pop(result[:2], None)

    def due(
        self,
        partition_indexes: Sequence[int],
        now: datetime,
        *,
        count_max: int,
        wait_s_max: float,
        order_keys: Mapping[UUID, tuple[int, int]],
        attempts: Mapping[tuple[int, int, int], tuple[AttemptRow, datetime]],
        outcomes: Mapping[tuple[int, int], tuple[OutcomeRow, datetime]],
    ) -> list[EventFound]:
        """Those whose turn it is; they are postponed."""
        due = sorted(
            (due_at, key)
            for key, (due_at, _) in self.waiting.items()
            if key[0] in partition_indexes and due_at <= now
        )
        found: list[EventFound] = []
        for _, key in due[:count_max]:
            row, recorded_at = self.rows[key]
            order = order_keys.get(row.order_uuid)
            if order is not None and order[0] != row.partition_index:
                order = None
            tried = None if order is None else attempts.get((*order, row.attempt_no))
            ended = None if order is None else outcomes.get(order)
            found.append(
                EventFound(
                    partition_index=key[0],
                    event=PspEvent(*row[1:]),
                    order_no=None if order is None else order[1],
                    attempt_psp=None if tried is None else tried[0].psp,
                    ended=None if ended is None else _ended(ended[0]),
                    is_overdue=recorded_at + timedelta(seconds=wait_s_max) < now,
                )
            )
            look_count = self.waiting[key][1]
            longest_s = WAIT_S_MAX if order is None else WAIT_S_MAX_WITH_ORDER
            wait_s = min(2**look_count, longest_s)
            self.waiting[key] = (now + timedelta(seconds=wait_s), min(look_count + 1, 10))
        return sorted(found, key=lambda each: (each.event.accepted_at, each.event.event_uuid))


def _ended(outcome: OutcomeRow) -> EndedOrder:
    return EndedOrder(
        status=outcome.status,
        attempt_no=outcome.attempt_no,
        captured_minor=outcome.amount_captured_minor,
        currency=outcome.currency,
        psp_reference=outcome.psp_reference,
    )
