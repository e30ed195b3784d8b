"""What must hold after a run: the shared checker's invariants, and what only a simulation can see.

Numbers are those of ``loadtest.checker.invariants``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from gateway.idempotency import Verdict
from loadtest.checker.checking import check_records
from payments.operation_kinds import OperationKind
from tests.fakes.fake_books import FakeBooks
from tests.simulation.clients import TAKEN_IN
from tests.simulation.records import Evidence, records_of

# What could not be looked at is wrong in a simulation, which has everything; but it violates nothing.
UNKNOWN = "unknown: "
# Too short a run proves nothing of some invariant, which is no violation.
_EMPTY = "there was nothing to look at"


class Violation(NamedTuple):
    """One thing that does not hold."""

    invariant: str
    detail: str


def check(evidence: Evidence) -> list[Violation]:
    """Return what does not hold. Empty is what every run must end with."""
    return [
        *_shared(evidence),
        *_answers(evidence),
        *_operations(evidence),
        *_epochs(evidence),
        *_no_end(evidence),
    ]


def _shared(evidence: Evidence) -> Iterator[Violation]:
    for result in check_records(records_of(evidence)).invariants:
        if result.first is not None:
            yield Violation(result.invariant, result.first.what)
        elif result.unknown and result.unknown != _EMPTY:
            yield Violation(result.invariant, f"{UNKNOWN}{result.unknown}")


def _answers(evidence: Evidence) -> Iterator[Violation]:
    """I13: nobody's own body is ever refused for another one's, whatever was answered before."""
    books = evidence.books
    for reply in evidence.history.replies:
        key = books.order_keys.get(reply.order_uuid)
        is_same = key is not None and books.orders[key].fingerprint == reply.fingerprint
        if reply.verdict is Verdict.REUSED and is_same:
            yield Violation("I13", f"{reply.order_uuid}: its own body was refused as another")


def _operations(evidence: Evidence) -> Iterator[Violation]:
    """I1 and I13 of captures, voids and refunds: what was accepted is in the books, each has one answer,
    and none is there that nobody asked for.
    """
    books, history = evidence.books, evidence.history
    frozen: dict[UUID, bytes] = {}
    for reply in history.operation_replies:
        identity = reply.order_uuid
        key = books.operation_keys.get(identity)
        if reply.verdict in TAKEN_IN and key is None:
            yield Violation("I1", f"operation {identity} was accepted, and is not in the books")
        is_same = key is not None and books.operations[key][0].fingerprint == reply.fingerprint
        if reply.verdict is Verdict.REUSED and is_same:
            yield Violation("I13", f"operation {identity}: its own body was refused as another")
        if reply.body is not None and frozen.setdefault(identity, reply.body) != reply.body:
            yield Violation("I13", f"operation {identity} was answered in two ways")
    for key, (row, _) in books.operations.items():
        if row.kind != OperationKind.EXPIRY and row.operation_uuid not in history.operations:
            yield Violation("I3", f"operation {key} was asked for by nobody")


def _epochs(evidence: Evidence) -> Iterator[Violation]:
    """I20: no commit at all goes back to an earlier epoch, and an epoch has one owner."""
    present: dict[int, int] = defaultdict(int)
    owners: dict[tuple[int, int], UUID] = {}
    for at_s, partition_index, epoch, owner in evidence.fences:
        if epoch < present[partition_index]:
            yield Violation("I20", f"partition {partition_index} back to {epoch} at {at_s:.3f}")
        present[partition_index] = max(epoch, present[partition_index])
        if owner is not None and owners.setdefault((partition_index, epoch), owner) != owner:
            yield Violation("I20", f"epoch {epoch} of partition {partition_index} has two owners")


def unjudged(books: FakeBooks) -> list[tuple[int, UUID]]:
    """Return PSPs' events that wait though they are of an order of ours."""
    told = books.psp_events
    ours = books.order_keys.keys() | books.operation_keys.keys()
    return [key for key in told.waiting if told.rows[key][0].order_uuid in ours]


def _no_end(evidence: Evidence) -> Iterator[Violation]:
    """I26: nothing here is for a person to decide, so every order has ended, and every event was judged."""
    books = evidence.books
    for told in unjudged(books):
        yield Violation("I26", f"what a PSP told was not judged: {books.psp_events.rows[told][0]}")
    for key in sorted(books.orders.keys() - books.outcomes.keys()):
        yield Violation("I26", f"order {key} has not ended: {books.open_orders.get(key)}")
