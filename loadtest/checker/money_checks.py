"""Money: I7, I8 and I17, each at every point that the records tell of."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from loadtest.checker.findings import Findings, Subject
from loadtest.checker.joined import Joined, grouped, id_of
from loadtest.checker.records import BatchRecord, SliceRecord, TransferRecord

# Two-phase transfers that post nothing: what is held, and what is given back of it.
UNPOSTED = frozenset({"authorization", "release"})

BatchId = tuple[int, int]
"""(partition_index, batch_seq)."""


def debits_equal_credits(joined: Joined, found: Findings) -> None:
    """I7: every batch is whole, and the books balance per currency after each of them."""
    by_batch = grouped(
        ((row.partition_index, row.batch_seq), row) for row in joined.records.transfers
    )
    outcomes = grouped(
        ((row.partition_index, row.batch_seq), row) for row in joined.records.outcomes
    )
    written: set[BatchId] = set()
    sums: defaultdict[str, int] = defaultdict(int)
    for batch in joined.records.batches:
        name = (batch.partition_index, batch.batch_seq)
        rows = by_batch.get(name, ())
        wrong = _wrong_batch(batch, len(outcomes.get(name, ())), len(rows), name in written)
        if name not in written:
            wrong = wrong or _add(joined, rows, sums)
        written.add(name)
        found.check(
            wrong is None,
            f"batch {name}: {wrong}",
            Subject(partition_index=batch.partition_index, batch_seq=batch.batch_seq),
        )
    for name in (by_batch.keys() | outcomes.keys()) - written:
        found.check(
            False, f"batch {name} wrote rows, and has no line", Subject(partition_index=name[0])
        )
    for outcome in joined.records.outcomes:
        rows = joined.transfers.get(id_of(outcome), ())
        found.check(
            all(row.batch_seq == outcome.batch_seq for row in rows),
            f"order {id_of(outcome)} ended in batch {outcome.batch_seq}, and its transfers are of"
            f" batches {[row.batch_seq for row in rows]}",
            Subject(order=id_of(outcome)),
        )
    for order, rows in joined.transfers.items():
        found.check(
            order in joined.outcomes or order in joined.dispute_by_id,
            f"order {order} moved {rows[0].amount_minor}, and has not ended",
            Subject(order=order),
        )


def _wrong_batch(
    batch: BatchRecord, outcome_count: int, transfer_count: int, is_repeated: bool
) -> str | None:
    if is_repeated:
        return f"has a second line, {batch.ledger_batch_no}"
    if batch.outcome_count != outcome_count:
        return f"wrote {batch.outcome_count} outcomes, and {outcome_count} are there"
    if batch.transfer_count != transfer_count:
        return f"wrote {batch.transfer_count} transfers, and {transfer_count} are there"
    return None


def _add(joined: Joined, rows: Sequence[TransferRecord], sums: defaultdict[str, int]) -> str | None:
    """Add a batch's transfers by the currencies of their accounts; return what does not balance."""
    for row in rows:
        debited = joined.account_by_id.get((row.partition_index, row.debit_account_no))
        credited = joined.account_by_id.get((row.partition_index, row.credit_account_no))
        if debited is None or credited is None or row.amount_minor <= 0:
            return f"transfer {row} moves nothing, or on accounts that are not there"
        sums[debited.currency] += row.amount_minor
        sums[credited.currency] -= row.amount_minor
    unbalanced = {currency: minor for currency, minor in sums.items() if minor}
    if unbalanced:
        sums.clear()
        return f"debits less credits come to {unbalanced}"
    return None


class _Fold(NamedTuple):
    """A slice after each batch that touched it; lists run side by side."""

    batch_seqs: list[int]
    versions: list[int]
    debits: list[int]
    credits: list[int]

    def at(self, batch_seq: int) -> tuple[int, int, int]:
        """Return (version, debits, credits) once that batch was written."""
        place = bisect_right(self.batch_seqs, batch_seq) - 1
        if place < 0:
            return 0, 0, 0
        return self.versions[place], self.debits[place], self.credits[place]


def slices_are_their_transfers(joined: Joined, found: Findings) -> None:
    """I8: at the end and in every snapshot a slice is the sum, and its version the number, of its
    transfers up to then.
    """
    folds = _folds(joined.records.transfers)
    untouched = _Fold([], [], [], [])
    stored = {(row.partition_index, row.account_no) for row in joined.records.slices}
    for place in folds.keys() - stored:
        found.check(
            False, f"account {place} has transfers, and no slice", Subject(partition_index=place[0])
        )
    last = {row.partition_index: row.batch_seq for row in joined.records.partitions}
    moments = [("at the end", last, joined.records.slices)]
    moments += [
        (
            f"in the snapshot at {snapshot.at_ns} ns",
            {row.partition_index: row.batch_seq for row in snapshot.partitions},
            list(snapshot.slices),
        )
        for snapshot in joined.records.snapshots
    ]
    for when, batch_seqs, slices in moments:
        for row in slices:
            fold = folds.get((row.partition_index, row.account_no), untouched)
            wrong = _wrong_slice(row, fold.at(batch_seqs.get(row.partition_index, -1)))
            found.check(
                wrong is None,
                f"slice {(row.partition_index, row.account_no)} {when} {wrong}",
                Subject(partition_index=row.partition_index),
            )


def _wrong_slice(row: SliceRecord, folded: tuple[int, int, int]) -> str | None:
    kept = (row.version, row.debits_minor, row.credits_minor)
    if kept == folded:
        return None
    return f"has (version, debits, credits) {kept}, and its transfers come to {folded}"


def _folds(transfers: Sequence[TransferRecord]) -> dict[tuple[int, int], _Fold]:
    folds: dict[tuple[int, int], _Fold] = {}
    for row in sorted(transfers, key=lambda each: (each.partition_index, each.batch_seq)):
        posted = 0 if row.kind in UNPOSTED else row.amount_minor
        for account_no, debit, credit in (
            (row.debit_account_no, posted, 0),
            (row.credit_account_no, 0, posted),
        ):
            fold = folds.setdefault((row.partition_index, account_no), _Fold([], [], [], []))
            fold.batch_seqs.append(row.batch_seq)
            fold.versions.append(len(fold.batch_seqs))
            fold.debits.append((fold.debits[-1] if fold.debits else 0) + debit)
            fold.credits.append((fold.credits[-1] if fold.credits else 0) + credit)
    return folds


def totals_agree_in_snapshots(joined: Joined, found: Findings) -> None:
    """I17: in each one-transaction snapshot, wallets hold what their entries brought, and all slices
    of a currency come to zero.
    """
    for snapshot in joined.records.snapshots:
        when = f"in the snapshot at {snapshot.at_ns} ns"
        for currency in snapshot.wallets_minor.keys() | snapshot.entries_minor.keys():
            held = snapshot.wallets_minor.get(currency, 0)
            entered = snapshot.entries_minor.get(currency, 0)
            found.check(
                held == entered,
                f"{when} all wallets hold {held} {currency}, and their entries come to {entered}",
                Subject(),
            )
        sums: defaultdict[str, int] = defaultdict(int)
        for row in snapshot.slices:
            account = joined.account_by_id.get((row.partition_index, row.account_no))
            currency = "an account that is gone" if account is None else account.currency
            sums[currency] += row.debits_minor - row.credits_minor
        for currency, minor in sums.items():
            found.check(
                minor == 0, f"{when} debits less credits of {currency} come to {minor}", Subject()
            )
