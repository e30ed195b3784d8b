"""One payment order on its way to a verdict: what was asked, and what is known so far."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from gateway.idempotency import (
    TO_BE_PROVEN,
    AppendState,
    BooksState,
    Evidence,
    Verdict,
    decide,
    is_unproven,
)
from payments import fingerprint
from payments.defects import InvariantViolation
from runtime.faults import StorageUnavailable
from storage.queue_ports import AppendResult, AppendStatus, QueueEntry
from storage.read_ports import Stored

# That the books held no order counts for so long. Appends take milliseconds; one that took longer stood
# in line while the queue was away, and came back to another copy of it perhaps.
LOOKUP_STALE_S = 0.25


class Decided(NamedTuple):
    """A verdict and what belongs to it."""

    verdict: Verdict
    order: Stored | None
    """The order in the books, where there is one."""
    first_fingerprint: bytes | None
    """The queue's fingerprint of the key's first request, where the queue knows one."""
    first_accepted_at_ms: int | None
    """When the queue's first request under the key was accepted."""
    may_run: bool
    """Whether the append may have happened."""


class OpenRequest:
    """Mutable, and owned by ``Accepting``: lanes and look-ups tell it what they learn."""

    __slots__ = (
        "append",
        "books",
        "deadline_s",
        "entry",
        "first_accepted_at_ms",
        "first_fingerprint",
        "future",
        "is_durable",
        "is_looked_up",
        "is_started",
        "is_taken_in",
        "lookup_at_s",
        "order",
    )

    def __init__(
        self, entry: QueueEntry, *, deadline_s: float, future: asyncio.Future[Decided]
    ) -> None:
        self.entry = entry
        self.deadline_s = deadline_s
        self.future = future
        self.append = AppendState.NONE
        self.is_started = False
        self.is_durable = False
        self.is_taken_in = False
        """Whether an owner has reported it meanwhile, and no further report is to come."""
        self.first_fingerprint: bytes | None = None
        self.first_accepted_at_ms: int | None = None
        self.books = BooksState.NONE
        self.order: Stored | None = None
        self.is_looked_up = False
        """Whether an answer of the books is still to come."""
        self.lookup_at_s = 0.0

    @property
    def is_decided(self) -> bool:
        return self.future.done()

    @property
    def is_proof_wanted(self) -> bool:
        """Whether waiting for the copies can still change the verdict."""
        return not self.future.done() and not self.is_durable and self.append in TO_BE_PROVEN

    @property
    def is_lookup_wanted(self) -> bool:
        """See ``gateway.lookups.Asker``."""
        return not self.future.done()

    def found(self, order: Stored | None) -> None:
        """See ``gateway.lookups.Asker``."""
        self.is_looked_up = False
        self.order = order
        self.books = BooksState.ABSENT if order is None else BooksState.HELD
        self.settle(is_past_deadline=False)

    def taken_in(self) -> None:
        """End as accepted: an owner wrote it, which is more than any copy of the queue could promise.

        Only of what has no other body under its name, so that nothing is left to compare.
        """
        self.is_taken_in = True
        if not self.future.done():
            first = self.first_fingerprint, self.first_accepted_at_ms
            decided = Decided(Verdict.ACCEPTED, None, *first, may_run=self.is_started)
            self.future.set_result(decided)

    def not_found_out(self, fault: Exception, *, is_away: bool) -> None:
        """See ``gateway.lookups.Asker``."""
        self.is_looked_up = False
        if not isinstance(fault, StorageUnavailable):
            self.fail(fault)
            return
        if is_away and self.books is BooksState.NONE:
            self.books = BooksState.UNAVAILABLE
        self.settle(is_past_deadline=False)

    def fail(self, defect: Exception) -> None:
        """End with a defect: of this request alone, its neighbours go on."""
        if not self.future.done():
            self.future.set_exception(defect)

    def appended(self, result: AppendResult, now_s: float) -> None:
        """Note what the script said, now or again."""
        if self.entry.is_event and result.is_removed:
            self._note(result)
            self.taken_in()
            return
        was_there = self.append in (AppendState.NEW, AppendState.SAME)
        if self.books is BooksState.ABSENT and (
            was_there or now_s - self.lookup_at_s > LOOKUP_STALE_S
        ):
            # Meanwhile an owner may have taken in what the queue then lost: ask the books again.
            self.books = BooksState.NONE
        self._note(result)
        if was_there and self.append is AppendState.OTHER:
            self.append = AppendState.LOST

    def _note(self, result: AppendResult) -> None:
        self.first_fingerprint = result.fingerprint
        self.first_accepted_at_ms = result.accepted_at_ms
        if result.status is AppendStatus.FULL:
            self.append = AppendState.FULL
        elif result.status is AppendStatus.NEW:
            self.append = AppendState.NEW
        else:
            self.append = self._compared(result.fingerprint)

    def settle(self, *, is_past_deadline: bool) -> bool:
        """Resolve the future if what is known is enough. Returns whether it is resolved now."""
        if self.future.done():
            return True
        if (
            self.order is None
            and not is_past_deadline
            and is_unproven(self.append, is_durable=self.is_durable)
        ):
            # Nearly every request comes here twice before its proof: no evidence is gathered for that.
            return False
        evidence = Evidence(
            fingerprint=self.entry.fingerprint,
            append=self.append,
            is_durable=self.is_durable,
            books=self.books,
            order=self.order,
            is_past_deadline=is_past_deadline,
        )
        try:
            verdict = decide(evidence)
        except InvariantViolation as defect:
            self.fail(defect)
            return True
        if verdict is None:
            return False
        self.future.set_result(
            Decided(
                verdict,
                self.order,
                self.first_fingerprint,
                self.first_accepted_at_ms,
                self.is_started,
            )
        )
        return True

    def _compared(self, first_fingerprint: bytes) -> AppendState:
        try:
            is_same = fingerprint.same(first_fingerprint, self.entry.fingerprint)
        except InvariantViolation as defect:
            self.fail(defect)
            return AppendState.UNAVAILABLE
        return AppendState.SAME if is_same else AppendState.OTHER
