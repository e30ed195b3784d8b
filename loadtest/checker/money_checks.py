"""Money: I7, I8 and I17, each at every point that the records tell of."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loadtest.checker.findings import Findings, Subject
from loadtest.checker.joined import Joined, grouped, id_of
from loadtest.checker.records import BatchRecord, SliceRecord, TransferRecord

# How often a two-phase transfer counts as posted and as pending; all others are posted at once.
OF_HOLDS: Mapping[str, tuple[int, int]] = {
    "authorization": (0, 1),
    "capture": (1, -1),
    "release": (0, -1),
}

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


_Sums = tuple[int, int, int, int, int]
"""(version, debits, credits, debits pending, credits pending)."""


class _Fold(NamedTuple):
    """A slice after each batch that touched it; both lists run side by side."""

    batch_seqs: list[int]
    sums: list[_Sums]

    def at(self, batch_seq: int) -> _Sums:
        """Return the sums once that batch was written."""
        place = bisect_right(self.batch_seqs, batch_seq) - 1
        return self.sums[place] if place >= 0 else (0, 0, 0, 0, 0)

    def add(self, batch_seq: int, posted: tuple[int, int], pending: tuple[int, int]) -> None:
        """Add one side of a transfer: (debit, credit), posted and pending."""
        was = self.sums[-1] if self.sums else (0, 0, 0, 0, 0)
        self.batch_seqs.append(batch_seq)
        self.sums.append(
            (
                was[0] + 1,
                *(was[1] + posted[0], was[2] + posted[1]),
                *(was[3] + pending[0], was[4] + pending[1]),
            )
        )


def slices_are_their_transfers(joined: Joined, found: Findings) -> None:
    """I8: at the end and in every snapshot a slice is the sum, posted and pending, and its version the
    number, of its transfers up to then.
    """
    folds = _folds(joined.records.transfers)
    untouched = _Fold([], [])
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


def _wrong_slice(row: SliceRecord, folded: _Sums) -> str | None:
    kept = (
        *(row.version, row.debits_minor, row.credits_minor),
        *(row.debits_pending_minor, row.credits_pending_minor),
    )
    if kept == folded:
        return None
    return (
        f"has (version, debits, credits, both pending) {kept}, and its transfers come to {folded}"
    )


def _folds(transfers: Sequence[TransferRecord]) -> dict[tuple[int, int], _Fold]:
    folds: dict[tuple[int, int], _Fold] = {}
    for row in sorted(transfers, key=lambda each: (each.partition_index, each.batch_seq)):
        posted, pending = (count * row.amount_minor for count in OF_HOLDS.get(row.kind, (1, 0)))
        debited, credited = (
            folds.setdefault((row.partition_index, account_no), _Fold([], []))
            for account_no in (row.debit_account_no, row.credit_account_no)
        )
        debited.add(row.batch_seq, (posted, 0), (pending, 0))
        credited.add(row.batch_seq, (0, posted), (0, pending))
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
