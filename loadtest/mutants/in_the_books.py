"""Defects in what is written to the ledger, and under which right."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from loadtest.mutants.patching import (
    Mutant,
    MutantOutdated,
    change_statement,
    keep_pledges,
    replace_attribute,
    replace_text,
    wrap_lanes,
)
from runtime.clock import SystemClock
from runtime.faults import StorageUnavailable
from storage.ports import CommitUnknown, Flush, FlushReceipt, Lane

if TYPE_CHECKING:
    from payments.book import PartitionBook
    from payments.commands import PaymentCommand
    from payments.posting import Posting
    from payments.rows import EventRow, OutcomeRow, TransferRow
    from payments.transfers import Movement
    from storage.lane import PostgresLane

_SAME_EPOCH = "partition.epoch = head.epoch AND "
_SAME_BATCH = "partition.batch_seq = head.batch_seq_before"
_SAME_VERSION = " AND slice.version = posted.version_before"
_FOLDED = """\
    SET version = slice.version + posted.transfer_count,
        debits_posted_minor = slice.debits_posted_minor + posted.debits_posted_minor,
        credits_posted_minor = slice.credits_posted_minor + posted.credits_posted_minor
"""
_WRITTEN = """\
    SET version = posted.version_before + posted.transfer_count,
        debits_posted_minor = posted.debits_posted_minor,
        credits_posted_minor = posted.credits_posted_minor
"""
# Every insertion of a flush that nothing is said to do about a conflict: orders twice (an open one each),
# personal data, attempts, outcomes, transfers, accounts, first slices, events.
_PLAIN_INSERTION = re.compile(
    r"(FROM unnest\(\$\d+::flush_"
    r"(?:order|personal|attempt|outcome|transfer|account|slice|event)\[\]\)"
    r" WHERE \(SELECT is_open FROM gate\))\n\)"
)
_PLAIN_INSERTION_COUNT = 9
_INSERT_EVENTS = """\
INSERT INTO event (partition_index, order_no, sequence, batch_seq, type)
SELECT partition_index, order_no, sequence, batch_seq, type FROM unnest($1::flush_event[])
ON CONFLICT DO NOTHING"""
# As long as whoever publishes from an outbox in memory would gather them.
_EVENTS_LATE_S = 0.1


def _fence_skipped() -> None:
    from storage import lane

    unfenced = "AND " + _SAME_EPOCH + _SAME_BATCH
    change_statement(lane, "write_flush", lambda sql: replace_text(sql, unfenced, ""))
    keep_pledges()


def _epoch_kept_at_takeover() -> None:
    from storage import ownership

    kept = "epoch = epoch + CASE WHEN owner IS NULL OR owner = $3 THEN 1 ELSE 0 END"
    change_statement(ownership, "claim", lambda sql: replace_text(sql, "epoch = epoch + 1", kept))


def _read_before_marker() -> None:
    from storage import connections

    change_statement(
        connections,
        "commit_synchronously",
        lambda sql: replace_text(sql, "synchronous_commit = on", "synchronous_commit = local"),
    )


def _balance_written_from_memory() -> None:
    from payments.book import PartitionBook
    from payments.posting import Posting
    from storage import lane

    def change(sql: str) -> str:
        return replace_text(replace_text(sql, _FOLDED, _WRITTEN), _SAME_VERSION, "")

    change_statement(lane, "write_flush", change)
    finish = Posting.finish
    build = PartitionBook.__init__
    kept: dict[int, Any] = {}

    def finish_absolute(posting: Posting) -> None:
        finish(posting)
        decided = vars(posting)["_decided"]
        after = {head.account_no: head for head in decided.slice_heads.values()}
        decided.slices[:] = [
            row._replace(
                debits_posted_minor=after[row.account_no].debits_posted_minor,
                credits_posted_minor=after[row.account_no].credits_posted_minor,
            )
            for row in decided.slices
        ]

    def build_on_kept(book: PartitionBook, *given: Any, **named: Any) -> None:
        build(book, *given, **named)
        accounts = kept.setdefault(book.head.partition_index, OrderedDict())
        replace_attribute(book, "_accounts", accounts)

    replace_attribute(Posting, "finish", finish_absolute)
    replace_attribute(PartitionBook, "__init__", build_on_kept)


def _versions_skipped() -> None:
    from payments.posting import Posting

    finish = Posting.finish

    def finish_skipping(posting: Posting) -> None:
        for running in vars(posting)["_running"].values():
            if running.transfer_count > 1:
                running.transfer_count += 1
        finish(posting)

    replace_attribute(Posting, "finish", finish_skipping)


def _last_event_after_commit() -> None:
    from storage.lane import PostgresLane
    from storage.sessions import postgres_faults

    append = PostgresLane.append
    publishing: set[asyncio.Task[None]] = set()

    async def publish(lane: PostgresLane, events: Sequence[EventRow]) -> None:
        await asyncio.sleep(_EVENTS_LATE_S)
        async with vars(lane)["_turn"]:
            session = await vars(PostgresLane)["_open"](lane)
            with postgres_faults():
                await session.finish(session.fetch(_INSERT_EVENTS, events))

    def published(task: asyncio.Task[None]) -> None:
        publishing.discard(task)
        if not task.cancelled():
            # Asked for, so that the loop does not complain: whoever forgets to retry sees nothing.
            task.exception()

    async def append_then_publish(lane: PostgresLane, flush: Flush) -> FlushReceipt:
        ended = {(row.partition_index, row.order_no) for row in flush.outcomes}
        late = [row for row in flush.events if (row.partition_index, row.order_no) in ended]
        written = [row for row in flush.events if (row.partition_index, row.order_no) not in ended]
        receipt = await append(lane, replace(flush, events=written))
        if late:
            task = asyncio.create_task(publish(lane, late))
            publishing.add(task)
            task.add_done_callback(published)
        return receipt

    replace_attribute(PostgresLane, "append", append_then_publish)


def _chain_skips_declines() -> None:
    from payments import chain

    extend = chain.extend

    def extend_by_money(
        head: bytes,
        partition_index: int,
        batch_seq: int,
        outcomes: Iterable[OutcomeRow],
        transfers: Iterable[TransferRow],
    ) -> bytes:
        rows = list(transfers)
        return extend(head, partition_index, batch_seq, outcomes, rows) if rows else head

    replace_attribute(chain, "extend", extend_by_money)


def _charge_posted_again_at_takeover() -> None:
    from payments import transfers

    of_success = transfers.of_success

    def posted_again(command: PaymentCommand, psp: str) -> list[Movement]:
        movements = of_success(command, psp)
        # Only an order that was rebuilt from the books has nobody to reply to.
        return movements if command.reply_to else [*movements, movements[0]._replace(step=3)]

    replace_attribute(transfers, "of_success", posted_again)


def _fee_lost_at_takeover() -> None:
    from payments import transfers

    of_success = transfers.of_success

    def without_fee(command: PaymentCommand, psp: str) -> list[Movement]:
        movements = of_success(command, psp)
        return movements if command.reply_to else movements[:1]

    replace_attribute(transfers, "of_success", without_fee)


class _RepeatingLane:
    """Says that nothing was written when that is not known, so that the flush is made again."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    async def append(self, flush: Flush) -> FlushReceipt:
        try:
            return await self._lane.append(flush)
        except CommitUnknown as unknown:
            raise StorageUnavailable("postgres", unknown.reason) from unknown


def _repeatable(sql: str) -> str:
    """Return the flush so that a repetition is no error: it changes nothing, but for the balances."""
    sql = replace_text(sql, " AND " + _SAME_BATCH, "")
    sql = replace_text(sql, _SAME_VERSION, "")
    sql, count = _PLAIN_INSERTION.subn(r"\1\n    ON CONFLICT DO NOTHING\n)", sql)
    if count != _PLAIN_INSERTION_COUNT:
        raise MutantOutdated(f"the flush has {count} plain insertions")
    sql = replace_text(sql, "(SELECT count(*) FROM closed)", "cardinality($8)::bigint")
    return replace_text(sql, "(SELECT count(*) FROM progressed)", "cardinality($6)::bigint")


def _settled_again_after_unknown() -> None:
    from storage import lane

    change_statement(lane, "write_flush", _repeatable)
    keep_pledges()
    wrap_lanes(_RepeatingLane)


class _HopefulLane:
    """Takes a COMMIT without an answer for one that was made."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._clock = SystemClock()

    async def append(self, flush: Flush) -> FlushReceipt:
        try:
            return await self._lane.append(flush)
        except CommitUnknown:
            return FlushReceipt(recorded_at=self._clock.now())


def _unknown_commit_taken_for_done() -> None:
    wrap_lanes(_HopefulLane)


IN_THE_BOOKS = (
    Mutant(
        name="fence_skipped",
        defect="a flush passes whatever epoch and batch it was decided on, on any connection",
        breaks=("I20", "I8", "I12", "I26"),
        mix="freeze",
        put_in=_fence_skipped,
    ),
    Mutant(
        name="epoch_kept_at_takeover",
        defect="who takes a partition over from another owner goes on under that one's epoch",
        breaks=("I20",),
        mix="kill",
        put_in=_epoch_kept_at_takeover,
    ),
    Mutant(
        name="read_before_marker",
        defect="a server that started is read before a standby confirmed what it shows",
        breaks=("I1", "I12"),
        mix="stores",
        put_in=_read_before_marker,
    ),
    Mutant(
        name="balance_written_from_memory",
        defect="balances are written as memory has them, which is kept while others own the partition",
        breaks=("I8", "I7"),
        mix="kill",
        put_in=_balance_written_from_memory,
    ),
    Mutant(
        name="versions_skipped",
        defect="a slice's version is counted up once too often when a batch posts to it twice",
        breaks=("I8",),
        mix="none",
        put_in=_versions_skipped,
    ),
    Mutant(
        name="last_event_after_commit",
        defect="the event of an order's end is written a moment after the COMMIT that ended it",
        breaks=("I19",),
        mix="kill",
        put_in=_last_event_after_commit,
    ),
    Mutant(
        name="chain_skips_declines",
        defect="the chain is extended only by batches that moved money",
        breaks=("I12",),
        mix="none",
        put_in=_chain_skips_declines,
    ),
    Mutant(
        name="charge_posted_again_at_takeover",
        defect="an order that was decided after a takeover posts its charge twice",
        breaks=("I5", "I6"),
        mix="kill",
        put_in=_charge_posted_again_at_takeover,
    ),
    Mutant(
        name="fee_lost_at_takeover",
        defect="an order that was decided after a takeover posts no fee",
        # None by number: the books contradict themselves.
        breaks=(),
        mix="kill",
        put_in=_fee_lost_at_takeover,
    ),
    Mutant(
        name="settled_again_after_unknown",
        defect="a flush is made repeatable and repeated after an unknown COMMIT; balances are added again",
        breaks=("I8",),
        mix="network",
        put_in=_settled_again_after_unknown,
    ),
    Mutant(
        name="unknown_commit_taken_for_done",
        defect="a COMMIT without an answer counts as made: memory, calls, removal follow",
        breaks=("I1", "I6", "I22"),
        mix="network",
        put_in=_unknown_commit_taken_for_done,
    ),
)
