"""A run's records as the shared checker is fed them: rows as storage/sql/recount.sql gives them, and more."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from gateway.problems import Code
from loadtest.checker.books_rows import books_records, snapshot_record
from loadtest.checker.records import (
    ChargeRecord,
    FaultPhase,
    FaultRecord,
    PoisonRecord,
    QueueLeft,
    Records,
    RunRecord,
    SnapshotRecord,
)
from payments.accounts import AccountKind
from payments.answer import STATUS_PAYMENT_REQUIRED, TITLES
from payments.rows import TransferKind
from psp.simulator.wire import OracleRow
from storage.letter_envelope import opened_raw
from tests.fakes.fake_books import FakeBooks
from tests.queue_commands import MERCHANT_ID, a_command

if TYPE_CHECKING:
    from tests.simulation.clients import History

SELLER_ID = "slr_simulated"
SELLER_NO = a_command().seller_no
_UNIX_BEGAN = datetime(1970, 1, 1, tzinfo=UTC)

# What this kind of run has no record of.
_NOT_SHOWN = {
    "I15": "nobody reads but by repeating a POST",
    "I18": "no storefront has a webhook endpoint",
    "I24": "nothing is logged or dumped",
}


class PspRecord(NamedTuple):
    """What one PSP knows to have happened."""

    rows: Sequence[OracleRow]
    burned_keys: Sequence[str]


class Evidence(NamedTuple):
    """The independent records of a run: storefronts, PSPs, books, queue, and the fence's own trace."""

    history: History
    oracle: Mapping[str, PspRecord]
    books: FakeBooks
    queued: list[tuple[int, str]]
    """Messages left in the streams."""
    fences: list[tuple[float, int, int, UUID | None]]
    poison: list[PoisonRecord]
    snapshots: list[SnapshotRecord]
    faults: list[FaultRecord]
    seed: int
    quiesced_s: float
    began_at: datetime
    """The wall time of the loop's second 0."""


def to_ns(at_s: float) -> int:
    """Return a time of the loop as the checker counts it: no time of a run is 0 there."""
    return round(at_s * 1_000_000_000) + 1


def records_of(evidence: Evidence) -> Records:
    """Return everything about a run as plain values."""
    rows: dict[str, Any] = dict(books_records(_tables(evidence.books)))
    left = Counter(partition_index for partition_index, _ in evidence.queued)
    return Records(
        run=RunRecord(
            seed=evidence.seed,
            started_ns=to_ns(0.0),
            quiesced_ns=to_ns(evidence.quiesced_s),
            unix_less_monotonic_ns=_unix_us(evidence.began_at) * 1_000,
        ),
        history=evidence.history.events,
        charges=[
            charge for psp, record in evidence.oracle.items() for charge in _charges(psp, record)
        ],
        psps=tuple(evidence.oracle),
        queue=[QueueLeft(index, left[index]) for index in evidence.books.partitions],
        poison=evidence.poison,
        snapshots=evidence.snapshots,
        faults=evidence.faults,
        documented={code.wire: code.value.status for code in Code}
        | dict.fromkeys(TITLES, STATUS_PAYMENT_REQUIRED),
        is_final_complete=True,
        not_shown=_NOT_SHOWN,
        **rows,
    )


def seller_id_of(seller_no: int) -> str:
    """Return the id of a seller: of the merchant's own, or of one that has a part of a charge."""
    return SELLER_ID if seller_no == SELLER_NO else f"slr_{seller_no}"


def frozen_replicas(spans_s: Sequence[tuple[float, float]]) -> list[FaultRecord]:
    """Return when the queue had one copy that took writes, as the checker looks for it.

    Not the plan's faults: of two freezes that overlap the first to end thaws, and so does a promotion.
    """
    return [
        FaultRecord(to_ns(at_s), f"freeze/redis_replica/{number}", phase)
        for number, span_s in enumerate(spans_s)
        for at_s, phase in zip(span_s, (FaultPhase.BEGIN, FaultPhase.END), strict=True)
    ]


def snapshot_of(books: FakeBooks, at_s: float) -> SnapshotRecord:
    """Return the books of one moment."""
    return snapshot_record(
        {
            "at_ns": to_ns(at_s),
            "partitions": list(_partitions(books)),
            "slices": list(_slices(books)),
            "wallet_totals": _wallet_totals(books),
        }
    )


def _charges(psp: str, record: PspRecord) -> Iterable[ChargeRecord]:
    for row in record.rows:
        yield ChargeRecord(
            psp=psp,
            reference=row.reference,
            psp_key=row.key,
            merchant=row.merchant,
            order_key=row.order_key or "",
            amount_minor=row.amount,
            currency=row.currency,
            status=row.status,
            captured_minor=row.captured,
            refunded_minor=row.refunded,
            at_unix_ns=_unix_us(datetime.fromisoformat(str(row.at))) * 1_000,
            charged_back_minor=row.charged_back,
        )
    for key in record.burned_keys:
        yield ChargeRecord(psp, "", key, "", "", 0, "", "canceled", 0, 0, 0)


def _tables(books: FakeBooks) -> dict[str, list[tuple[Any, ...]]]:
    return {
        "orders": [
            (
                *(*key, str(order.order_uuid), MERCHANT_ID, order.mode),
                *(str(order.idempotency_key), SELLER_ID, order.amount_minor, order.currency),
                *(order.fee_minor, order.fingerprint.hex(), order.metadata_json or "{}"),
                _unix_us(books.attempts[*key, 1][1]) * 1_000,
            )
            for key, order in sorted(books.orders.items())
        ],
        "splits": [
            (*row[:3], seller_id_of(row.seller_no), row.amount_minor, row.fee_minor)
            for _, row in sorted(books.splits.items())
        ],
        "attempts": [tuple(row) for _, (row, _) in sorted(books.attempts.items())],
        "outcomes": [
            (
                *row[:13],
                None if row.effective_at is None else _unix_us(row.effective_at),
                row.event_sequence,
                _unix_us(recorded_at) * 1_000,
            )
            for _, (row, recorded_at) in sorted(books.outcomes.items())
        ],
        **_tables_of_operations(books),
        "open_orders": [
            (*key, row.status, row.is_outcome_known, row.attempt_no, key in books.timers, "")
            for key, row in sorted(books.open_orders.items())
        ],
        "parked_orders": [(*key, reason) for key, (reason, _) in sorted(books.parked.items())],
        "accounts": [
            (
                *(index, number, MERCHANT_ID, key.mode, key.kind),
                seller_id_of(int(key.holder)) if key.kind == AccountKind.WALLET else key.holder,
                key.currency,
            )
            for (index, key), number in books.accounts.items()
        ],
        "transfers": [tuple(row) for _, (row, _) in sorted(books.transfers.items())],
        "slices": list(_slices(books)),
        "events": [tuple(row) for _, row in sorted(books.events.items())],
        "batches": [
            (
                *(number, *key[:1], row.epoch, key[1], row.outcome_count, row.transfer_count),
                row.chain_hash.hex(),
            )
            for number, (key, row) in enumerate(books.batches.items(), 1)
        ],
        "partitions": list(_partitions(books)),
        "refused": [(str(row[1]), row[2].hex()) for row in books.refused],
        "dead_letters": [
            (
                *(row.partition_index, row.stream_id, str(row.order_uuid or ""), row.reason),
                sha256(b"".join(opened_raw(row.raw_envelope) or ())).hexdigest(),
            )
            for row in books.letters.rows
        ],
    }


def _tables_of_operations(books: FakeBooks) -> dict[str, list[tuple[Any, ...]]]:
    return {
        "operations": [
            (*key, str(row.operation_uuid), row.kind, row.payment_no, row.amount_minor)
            for key, (row, _) in sorted(books.operations.items())
        ],
        "disputes": [
            (*key, row.payment_no, row.status, row.amount_minor)
            for key, row in sorted(books.disputes.items())
        ],
    }


def _partitions(books: FakeBooks) -> Iterable[tuple[Any, ...]]:
    for index, held in sorted(books.partitions.items()):
        head = held.head
        owner = "" if held.owner is None else str(held.owner)
        yield index, head.epoch, head.batch_seq, head.order_no_last, head.chain_hash.hex(), owner


def _slices(books: FakeBooks) -> Iterable[tuple[int, ...]]:
    for (index, number), head in sorted(books.slices.items()):
        yield index, number, *head[1:]


def _wallet_totals(books: FakeBooks) -> list[tuple[str, int, int]]:
    wallets = {
        (index, number): key.currency
        for (index, key), number in books.accounts.items()
        if key.kind == AccountKind.WALLET
    }
    totals: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for place, currency in wallets.items():
        head = books.slices[place]
        totals[currency][0] += head.credits_posted_minor - head.debits_posted_minor
    for row, _ in books.transfers.values():
        if row.kind in (TransferKind.AUTHORIZATION, TransferKind.RELEASE):
            continue
        for number, minor in (
            (row.credit_account_no, row.amount_minor),
            (row.debit_account_no, -row.amount_minor),
        ):
            if (row.partition_index, number) in wallets:
                totals[wallets[row.partition_index, number]][1] += minor
    return [(currency, held, entered) for currency, (held, entered) in totals.items()]


def _unix_us(at: datetime) -> int:
    return (at - _UNIX_BEGAN) // timedelta(microseconds=1)
