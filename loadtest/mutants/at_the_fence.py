"""Defects in who may write, and in what is made of a COMMIT or a server that is in doubt."""

from __future__ import annotations

import re

from loadtest.mutants.patching import (
    Mutant,
    MutantOutdated,
    change_statement,
    keep_pledges,
    replace_text,
    wrap_lanes,
)
from runtime.clock import SystemClock
from runtime.faults import StorageUnavailable
from storage.ports import CommitUnknown, Flush, FlushReceipt, Lane

_SAME_EPOCH = "partition.epoch = head.epoch AND "
_SAME_BATCH = "partition.batch_seq = head.batch_seq_before"
_SAME_VERSION = " AND slice.version = posted.version_before"
# Every insertion of a flush that nothing is said to do about a conflict: orders twice (an open one each),
# personal data, attempts, outcomes, transfers, accounts, first slices, events.
_PLAIN_INSERTION = re.compile(
    r"(FROM unnest\(\(\$2::packed_flush\)\."
    r"(?:orders|personal|attempts|outcomes|transfers|accounts|new_slices|events)\)"
    r" WHERE \(SELECT is_open FROM gate\))\n\)"
)
_PLAIN_INSERTION_COUNT = 9


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
    sql = replace_text(
        sql, "(SELECT count(*) FROM closed)", "cardinality(($2::packed_flush).outcomes)::bigint"
    )
    return replace_text(
        sql, "(SELECT count(*) FROM progressed)", "cardinality(($2::packed_flush).progress)::bigint"
    )


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


AT_THE_FENCE = (
    Mutant(
        name="fence_skipped",
        defect="a flush passes whatever epoch and batch it was decided on, on any connection",
        breaks=("I20", "I8", "I12", "I26"),
        mix="freeze",
        cells=("freeze/host/flush_before_commit",),
        put_in=_fence_skipped,
    ),
    Mutant(
        name="epoch_kept_at_takeover",
        defect="who takes a partition over from another owner goes on under that one's epoch",
        breaks=("I20",),
        mix="kill",
        cells=("kill/host/under_load",),
        put_in=_epoch_kept_at_takeover,
    ),
    Mutant(
        name="read_before_marker",
        defect="a server that started is read before a standby confirmed what it shows",
        breaks=("I1", "I12"),
        mix="stores",
        cells=("kill/postgres_primary/under_load",),
        put_in=_read_before_marker,
    ),
    Mutant(
        name="settled_again_after_unknown",
        defect="a flush is made repeatable and repeated after an unknown COMMIT; balances are added again",
        breaks=("I8",),
        mix="freeze",
        # COMMITs wait for the standby until they count as unanswered, and are made all the same.
        cells=("freeze/postgres_standby/under_load",),
        put_in=_settled_again_after_unknown,
    ),
    Mutant(
        name="unknown_commit_taken_for_done",
        defect="a COMMIT without an answer counts as made: memory, calls, removal follow",
        breaks=("I1", "I6", "I22"),
        mix="network",
        cells=("network/host->postgres/reset",),
        put_in=_unknown_commit_taken_for_done,
    ),
)
