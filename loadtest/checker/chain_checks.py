"""History that can't be changed, and owners that follow each other: I12 and I20."""

from __future__ import annotations

import hashlib
import itertools
import struct
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

from loadtest.checker.findings import Findings, Subject
from loadtest.checker.joined import Joined, grouped
from loadtest.checker.records import (
    BatchRecord,
    OutcomeRecord,
    PartitionRecord,
    SnapshotRecord,
    TransferRecord,
)

_GENESIS = bytes(32)

_STATUS_NUMBERS = {
    "created": 1,
    "processing": 2,
    "requires_action": 3,
    "requires_capture": 4,
    "succeeded": 5,
    "partially_captured": 6,
    "failed": 7,
    "canceled": 8,
    "expired": 9,
}
_KIND_NUMBERS = {
    "charge": 1,
    "fee": 2,
    "authorization": 3,
    "capture": 4,
    "release": 5,
    "refund": 6,
    "dispute": 7,
    "dispute_lost": 8,
    "dispute_won": 9,
}


def history_is_immutable(joined: Joined, found: Findings) -> None:
    """I12: the chain verifies from its rows, and every snapshot is a beginning of what is there now."""
    outcomes = grouped(
        ((row.partition_index, row.batch_seq), row) for row in joined.records.outcomes
    )
    transfers = grouped(
        ((row.partition_index, row.batch_seq), row) for row in joined.records.transfers
    )
    for partition in joined.records.partitions:
        index = partition.partition_index
        head = _GENESIS
        batches = sorted(joined.batches.get(index, ()), key=lambda row: row.batch_seq)
        for batch in batches:
            name = (index, batch.batch_seq)
            hashed = _link(head, batch, outcomes.get(name, ()), transfers.get(name, ()))
            found.check(
                hashed is not None and hashed.hex() == batch.chain_hash,
                f"the chain of partition {index} breaks at batch {batch.batch_seq}",
                Subject(partition_index=index, batch_seq=batch.batch_seq),
            )
            head = bytes.fromhex(batch.chain_hash)
        found.check(
            head.hex() == partition.chain_hash,
            f"the head of partition {index} is not the hash of its last batch",
            Subject(partition_index=index),
        )
    chains = {
        index: sorted((row.batch_seq, row.chain_hash) for row in rows)
        for index, rows in joined.batches.items()
    }
    for snapshot in joined.records.snapshots:
        for earlier in snapshot.partitions:
            now = joined.partition_by_index.get(earlier.partition_index)
            wrong = _went_back(earlier, now, chains.get(earlier.partition_index, []))
            found.check(
                wrong is None,
                f"partition {earlier.partition_index}, since the snapshot at {snapshot.at_ns} ns:"
                f" {wrong}",
                Subject(partition_index=earlier.partition_index),
            )


def _went_back(
    earlier: PartitionRecord, now: PartitionRecord | None, chain: list[tuple[int, str]]
) -> str | None:
    if now is None:
        return "it is gone"
    if (now.batch_seq, now.order_no_last) < (earlier.batch_seq, earlier.order_no_last):
        return f"batch {earlier.batch_seq} was there, and the last one is {now.batch_seq} now"
    place = bisect_right(chain, (earlier.batch_seq, "~")) - 1
    head = chain[place][1] if place >= 0 else _GENESIS.hex()
    return None if head == earlier.chain_hash else "its chain was another one then"


def _link(
    head: bytes,
    batch: BatchRecord,
    outcomes: Sequence[OutcomeRecord],
    transfers: Sequence[TransferRecord],
) -> bytes | None:
    """Return the hash of one batch after ``head``, None for rows that have no canonical form."""
    digest = hashlib.sha256(head)
    digest.update(
        struct.pack(">hqII", batch.partition_index, batch.batch_seq, len(outcomes), len(transfers))
    )
    for row in sorted(outcomes, key=lambda each: each.order_no):
        if row.status not in _STATUS_NUMBERS:
            return None
        digest.update(_outcome_bytes(row))
    for moved in sorted(transfers, key=lambda each: (each.order_no, each.step)):
        if moved.kind not in _KIND_NUMBERS:
            return None
        digest.update(
            struct.pack(
                ">qhhqqq3s",
                moved.order_no,
                moved.step,
                _KIND_NUMBERS[moved.kind],
                moved.debit_account_no,
                moved.credit_account_no,
                moved.amount_minor,
                moved.currency.encode(),
            )
        )
    return digest.digest()


def _outcome_bytes(row: OutcomeRecord) -> bytes:
    fixed = struct.pack(
        ">qhqhqq3s",
        row.order_no,
        _STATUS_NUMBERS[row.status],
        row.amount_captured_minor,
        row.attempt_no,
        row.event_sequence,
        row.fee_minor,
        row.currency.encode(),
    )
    texts = (row.psp, row.psp_reference, row.failure_code, row.decline_code, row.failure_message)
    at_us = row.effective_unix_us
    return b"".join(
        (fixed, *map(_text_bytes, texts), struct.pack(">?q", at_us is not None, at_us or 0))
    )


def _text_bytes(text: str | None) -> bytes:
    if text is None:
        return struct.pack(">i", -1)
    raw = text.encode()
    return struct.pack(">i", len(raw)) + raw


def epochs_never_go_back(joined: Joined, found: Findings) -> None:
    """I20: in each partition batches and epochs only rise, and an epoch has one owner."""
    for index, batches in joined.batches.items():
        for earlier, later in itertools.pairwise(batches):
            found.check(
                later.batch_seq > earlier.batch_seq and later.epoch >= earlier.epoch,
                f"partition {index}: batch {later.batch_seq} under epoch {later.epoch} was written"
                f" after batch {earlier.batch_seq} under epoch {earlier.epoch}",
                Subject(partition_index=index, batch_seq=later.batch_seq),
            )
    _intakes_are_in_turn(joined, found)
    _one_owner_an_epoch(joined, found)
    for index, batches in joined.batches.items():
        held = joined.partition_by_index.get(index)
        found.check(
            held is not None
            and batches[-1].batch_seq <= held.batch_seq
            and batches[-1].epoch <= held.epoch,
            f"partition {index}: its last batch is {batches[-1].batch_seq} under epoch"
            f" {batches[-1].epoch}, and it counts {held}",
            Subject(partition_index=index),
        )


def _intakes_are_in_turn(joined: Joined, found: Findings) -> None:
    """First attempts carry their owner's epoch, and their order's first event the batch."""
    by_partition: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for here, attempts in joined.attempts.items():
        events = joined.events.get(here, ())
        if here in joined.operation_by_id:
            # One that waited for its turn was tried later than it was taken in.
            continue
        if events and attempts[0].attempt_no == 1:
            by_partition[here[0]].append((events[0].batch_seq, attempts[0].epoch))
    for batch in joined.records.batches:
        by_partition[batch.partition_index].append((batch.batch_seq, batch.epoch))
    for index, pairs in by_partition.items():
        pairs.sort()
        for (seq_before, epoch_before), (seq, epoch) in itertools.pairwise(pairs):
            is_one_batch = seq == seq_before
            found.check(
                epoch >= epoch_before and not (is_one_batch and epoch != epoch_before),
                f"partition {index}: batch {seq} was written under epoch {epoch}, batch"
                f" {seq_before} under epoch {epoch_before}",
                Subject(partition_index=index, batch_seq=seq),
            )


def _one_owner_an_epoch(joined: Joined, found: Findings) -> None:
    owners: dict[tuple[int, int], str] = {}
    last_epoch: dict[int, int] = {}
    final = SnapshotRecord(0, tuple(joined.records.partitions), (), {}, {})
    for snapshot in (*joined.records.snapshots, final):
        for row in snapshot.partitions:
            index = row.partition_index
            is_rising = row.epoch >= last_epoch.get(index, 0)
            last_epoch[index] = max(row.epoch, last_epoch.get(index, 0))
            owner = owners.setdefault((index, row.epoch), row.owner) if row.owner else row.owner
            found.check(
                is_rising and owner == row.owner,
                f"partition {index}: epoch {row.epoch} belonged to {owner}, then to {row.owner}"
                if is_rising
                else f"partition {index}: epoch {last_epoch[index]} came before {row.epoch}",
                Subject(partition_index=index),
            )
