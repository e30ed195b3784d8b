"""What must be true when a run is over, from independent records: history, PSP's record, books, queue."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from uuid import UUID

from gateway.idempotency import Verdict
from payments import chain
from payments.chain import GENESIS
from payments.defects import InvariantViolation
from payments.identity import parse_psp_key
from payments.lifecycle import PaymentEvent, PaymentState, next_state
from payments.rows import EventRow, OutcomeRow, TransferKind, TransferRow
from psp.simulator.wire import ChargeStatus, OracleRow
from tests.fakes.fake_books import FakeBooks
from tests.simulation.clients import History


class Violation(NamedTuple):
    """A broken invariant, by its number, and the first counter-example."""

    invariant: str
    detail: str


class Evidence(NamedTuple):
    """The records of one run."""

    history: History
    oracle: list[OracleRow]
    books: FakeBooks
    queued: list[tuple[int, str]]
    """Messages left in the streams."""
    fences: list[tuple[float, int, int, UUID | None]]
    poison_count: int


def check(evidence: Evidence) -> list[Violation]:
    """Return what does not hold. Empty is what every run must end with."""
    checks = (
        _acknowledged_once,
        _ended_once,
        _answers,
        _no_phantoms,
        _charged_once,
        _charges_are_booked,
        _slices,
        _events,
        _epochs,
        _chains,
        _queue,
    )
    return [violation for each in checks for violation in each(evidence)]


def _acknowledged_once(evidence: Evidence) -> Iterator[Violation]:
    """I1: what was acknowledged is in the books with the same body, or was refused late."""
    books = evidence.books
    for reply in evidence.history.replies:
        if reply.verdict not in (Verdict.ACCEPTED, Verdict.ACCEPTED_DEFERRED, Verdict.RUNNING):
            continue
        key = books.order_keys.get(reply.order_uuid)
        if key is None:
            yield Violation("I1", f"{reply.order_uuid} was acknowledged and is in no book")
        elif books.orders[key].fingerprint != reply.fingerprint and not (
            reply.verdict is Verdict.ACCEPTED_DEFERRED
            and (key[0], reply.order_uuid, reply.fingerprint) in books.refused
        ):
            yield Violation(
                "I1", f"{reply.order_uuid} was acknowledged ({reply.verdict.name}), runs otherwise"
            )


def _ended_once(evidence: Evidence) -> Iterator[Violation]:
    """I2, I26: every order has one end, which the path of its events leads to."""
    books = evidence.books
    for key, order in books.orders.items():
        outcome = books.outcomes.get(key)
        if outcome is None:
            stands = books.open_orders.get(key)
            yield Violation("I26", f"{order.order_uuid} {key} has not ended: {stands}")
            continue
        status = _led_to(event for event in books.events.values() if event[:2] == key)
        if status != outcome[0].status:
            yield Violation("I2", f"{order.order_uuid}: its events lead to {status}")
    for key in books.open_orders.keys() & books.outcomes.keys():
        yield Violation("I2", f"order {key} is open and has ended")


def _led_to(events: Iterable[EventRow]) -> PaymentState | None:
    """Return where the events lead, or None when they are no path."""
    status = PaymentState.CREATED
    try:
        for event in sorted(events):
            status = next_state(status, PaymentEvent(event.type))
    except InvariantViolation:
        return None
    return status


def _answers(evidence: Evidence) -> Iterator[Violation]:
    """I13: the final answer has the same bytes every time; another body gets none."""
    books = evidence.books
    bodies: dict[UUID, bytes] = {}
    for reply in evidence.history.replies:
        if reply.body is not None and bodies.setdefault(reply.order_uuid, reply.body) != reply.body:
            yield Violation("I13", f"{reply.order_uuid} has two final answers")
        key = books.order_keys.get(reply.order_uuid)
        is_same = key is not None and books.orders[key].fingerprint == reply.fingerprint
        if reply.verdict is Verdict.FROZEN and not is_same:
            yield Violation("I13", f"{reply.order_uuid}: another body's answer was given")
        if reply.verdict is Verdict.REUSED and is_same:
            yield Violation("I13", f"{reply.order_uuid}: its own body was refused as another")


def _no_phantoms(evidence: Evidence) -> Iterator[Violation]:
    """I3: every order in the books was asked for."""
    for order in evidence.books.orders.values():
        if order.fingerprint not in evidence.history.sent.get(order.order_uuid, {}):
            yield Violation("I3", f"nobody asked for {order.order_uuid}")


def _charged_once(evidence: Evidence) -> Iterator[Violation]:
    """I4: one successful charge an order, whatever happened."""
    charged = Counter(
        named.order_uuid
        for row in evidence.oracle
        if row.captured > 0 and (named := parse_psp_key(row.key)) is not None
    )
    for order_uuid, count in charged.items():
        if count > 1:
            yield Violation("I4", f"{order_uuid} was charged {count} times")


def _charges_are_booked(evidence: Evidence) -> Iterator[Violation]:
    """I5, I6: the PSP's charges and the books' charges are the same, one by one."""
    books = evidence.books
    at_psp = {
        row.reference: row.captured
        for row in evidence.oracle
        if row.status is ChargeStatus.CAPTURED
    }
    booked: dict[str | None, int] = {}
    for transfer, _ in books.transfers.values():
        if transfer.kind == TransferKind.CHARGE:
            outcome, _ = books.outcomes.get(transfer[:2], (None, None))
            reference = None if outcome is None else outcome.psp_reference
            booked[reference] = transfer.amount_minor
    for reference in at_psp.keys() | booked.keys():
        if at_psp.get(reference or "") != booked.get(reference):
            yield Violation(
                "I6",
                f"{reference}: the PSP has {at_psp.get(reference or '')},"
                f" the books {booked.get(reference)}",
            )


def _slices(evidence: Evidence) -> Iterator[Violation]:
    """I7, I8: balances are the sums of their transfers, versions their count."""
    books = evidence.books
    sums: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
    for transfer, _ in books.transfers.values():
        for column, account_no in ((1, transfer.debit_account_no), (2, transfer.credit_account_no)):
            of_slice = sums[transfer.partition_index, account_no]
            of_slice[0] += 1
            of_slice[column] += transfer.amount_minor
    for key, head in books.slices.items():
        stored = [head.version, head.debits_posted_minor, head.credits_posted_minor]
        if sums.pop(key, [0, 0, 0]) != stored:
            yield Violation("I8", f"slice {key} holds {stored}")
    for key in sums:
        yield Violation("I8", f"slice {key} is missing")


def _events(evidence: Evidence) -> Iterator[Violation]:
    """I19: events of an order are numbered from 1 without a gap."""
    by_order: dict[tuple[int, int], list[int]] = defaultdict(list)
    for partition_index, order_no, sequence in evidence.books.events:
        by_order[partition_index, order_no].append(sequence)
    for key, sequences in by_order.items():
        if sorted(sequences) != list(range(1, len(sequences) + 1)):
            yield Violation("I19", f"events of {key}: {sorted(sequences)}")


def _epochs(evidence: Evidence) -> Iterator[Violation]:
    """I20: commits never go back to an earlier epoch, and an epoch has one owner."""
    present: dict[int, int] = defaultdict(int)
    owners: dict[tuple[int, int], UUID] = {}
    for at_s, partition_index, epoch, owner in evidence.fences:
        if epoch < present[partition_index]:
            yield Violation("I20", f"partition {partition_index} back to {epoch} at {at_s:.3f}")
        present[partition_index] = max(epoch, present[partition_index])
        if owner is not None and owners.setdefault((partition_index, epoch), owner) != owner:
            yield Violation("I20", f"epoch {epoch} of partition {partition_index} has two owners")


def _chains(evidence: Evidence) -> Iterator[Violation]:
    """I12: the chain over all outcomes and transfers leads to the stored hash."""
    books = evidence.books
    batches: dict[int, dict[int, tuple[list[OutcomeRow], list[TransferRow]]]] = defaultdict(dict)
    for outcome, _ in books.outcomes.values():
        of_batch = batches[outcome.partition_index].setdefault(outcome.batch_seq, ([], []))
        of_batch[0].append(outcome)
    for transfer, _ in books.transfers.values():
        of_batch = batches[transfer.partition_index].setdefault(transfer.batch_seq, ([], []))
        of_batch[1].append(transfer)
    for index, held in books.partitions.items():
        digest = GENESIS
        for batch_seq, (outcomes, transfers) in sorted(batches[index].items()):
            digest = chain.extend(digest, index, batch_seq, outcomes, transfers)
        if digest != held.head.chain_hash:
            yield Violation("I12", f"the chain of partition {index} does not verify")


def _queue(evidence: Evidence) -> Iterator[Violation]:
    """I21, I22: nothing is left in the queue, and what nobody can read is kept once."""
    for partition_index, stream_id in evidence.queued:
        yield Violation("I22", f"message {stream_id} of partition {partition_index} is left")
    letters = Counter(key[2] for key in evidence.books.dead_letters)
    if len(letters) != evidence.poison_count or any(count > 1 for count in letters.values()):
        yield Violation(
            "I21", f"{evidence.poison_count} bad messages, kept {list(letters.values())}"
        )
