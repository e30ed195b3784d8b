"""Defects in what a flush writes: balances, versions, events, the chain, transfers."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from loadtest.mutants.patching import (
    Mutant,
    change_statement,
    replace_attribute,
    replace_text,
)

if TYPE_CHECKING:
    from payments.book import PartitionBook
    from payments.commands import PaymentCommand
    from payments.posting import Posting
    from payments.rows import EventRow, OutcomeRow, TransferRow
    from payments.transfers import Movement
    from storage.lane import PostgresLane
    from storage.ports import Flush, FlushReceipt

_SAME_VERSION = " AND slice.version = posted.version_before"
_FOLDED = """\
    SET version = slice.version + posted.transfer_count,
        debits_posted_minor = slice.debits_posted_minor + posted.debits_posted_minor,
        credits_posted_minor = slice.credits_posted_minor + posted.credits_posted_minor"""
_WRITTEN = """\
    SET version = posted.version_before + posted.transfer_count,
        debits_posted_minor = posted.debits_posted_minor,
        credits_posted_minor = posted.credits_posted_minor"""
_INSERT_EVENTS = """\
INSERT INTO event (partition_index, order_no, sequence, batch_seq, type, merchant_no, mode)
SELECT partition_index, order_no, sequence, batch_seq, type, merchant_no, mode
FROM unnest($1::flush_told_event[])
ON CONFLICT DO NOTHING"""
# As long as whoever publishes from an outbox in memory would gather them.
_EVENTS_LATE_S = 0.1


def _balance_written_from_memory() -> None:
    from storage import lane

    def change(sql: str) -> str:
        return replace_text(replace_text(sql, _FOLDED, _WRITTEN), _SAME_VERSION, "")

    change_statement(lane, "write_flush", change)
    kept: dict[int, Any] = {}
    post_absolute()
    keep_accounts(lambda: kept)


def post_absolute() -> None:
    """Have a flush bring balances as they are to be, not what is added to them. Half a mutant."""
    from payments.posting import Posting

    finish = Posting.finish

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

    replace_attribute(Posting, "finish", finish_absolute)


def keep_accounts(of_process: Callable[[], dict[int, Any]]) -> None:
    """Have a process remember the accounts of partitions that it gave up. Half a mutant.

    ``of_process`` returns the memory of the present process, by partition.
    """
    from payments.book import PartitionBook

    build = PartitionBook.__init__

    def build_on_kept(book: PartitionBook, *given: Any, **named: Any) -> None:
        build(book, *given, **named)
        accounts = of_process().setdefault(book.head.partition_index, OrderedDict())
        replace_attribute(book, "_accounts", accounts)

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


IN_THE_BOOKS = (
    Mutant(
        name="balance_written_from_memory",
        defect="balances are written as memory has them, which is kept while others own the partition",
        breaks=("I8", "I7"),
        mix="kill",
        # Whoever outlives two kills of the other takes its partitions twice, and remembers the first time.
        cells=("kill/host/under_load", "kill/host/*_intake_commit", "kill/host/after_removal"),
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
        cells=("kill/host/flush_committed",),
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
        cells=("kill/host/before_psp_call",),
        put_in=_charge_posted_again_at_takeover,
    ),
    Mutant(
        name="fee_lost_at_takeover",
        defect="an order that was decided after a takeover posts no fee",
        # None by number: the books contradict themselves.
        breaks=(),
        mix="kill",
        cells=("kill/host/before_psp_call",),
        put_in=_fee_lost_at_takeover,
    ),
)
