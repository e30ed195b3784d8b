"""One lane of a host: its partitions' flush cycle, one transaction after the other.

A cycle takes waiting work of a few partitions, asks the ledger what it must know, decides in memory,
writes everything in one transaction, and only then changes memory, starts PSP calls, replies, and
lets the messages be removed. A crash anywhere before the removal is safe: the messages are read again,
and the ledger knows what it took in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from actors.calls import PspCalls
from actors.dividing import FlushDivision
from actors.event_telling import tell_odd_events
from actors.flushing import batch_of, flush_of, replies_of
from actors.inbox import Work
from actors.isolating import decide, isolate
from actors.lane_partitions import LanePartitions
from actors.ledger_clock import LedgerClock
from actors.measuring import HostMetrics
from actors.replying import Reply
from actors.settings import FLUSH_BYTES_MAX, STORE_RETRY_S, HostSettings, flush_spacing_s
from payments.accounts import AccountKey
from payments.decided import Decided
from payments.defects import ContentDefect, InvariantViolation
from payments.standing import PaymentStanding
from runtime.clock import Clock
from runtime.crash_points import CrashPoints
from storage.ports import (
    CommitUnknown,
    KnownOrders,
    Lane,
    LaneReplaced,
    OperationKey,
    OwnerLedger,
    PartitionFenced,
    StorageUnavailable,
)
from storage.queue_ports import Message

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePorts:
    """What a lane worker needs of its host."""

    ledger: OwnerLedger
    lane: Lane
    calls: PspCalls
    ledger_clock: LedgerClock
    clock: Clock
    crash_points: CrashPoints
    on_taken_in: Callable[[Sequence[Message]], None]
    """These messages' intake is committed: they may be removed."""
    on_replies: Callable[[Sequence[Reply]], None]
    on_lost: Callable[[frozenset[int]], None]
    """These partitions are not ours any more."""
    on_unclear: Callable[[frozenset[int]], None]
    """A commit of these is in doubt: take them over from ourselves."""
    metrics: HostMetrics = field(default_factory=HostMetrics)


class LaneWorker:
    """The loop that flushes the partitions pinned to one lane."""

    def __init__(self, settings: HostSettings, ports: LanePorts) -> None:
        self._settings = settings
        self._ports = ports
        self._flush_started_s: float | None = None
        self._doubt_started_s: float | None = None
        self._division = FlushDivision(ports.clock)
        self.partitions = LanePartitions(ports.calls, ports.clock)
        self.lock = asyncio.Lock()
        """Held during a cycle: whoever drops partitions from outside takes it first."""
        self.flush_count = 0
        self.fenced_count = 0

    def commit_age_s(self) -> float:
        """How long a commit has been under way, in doubt, or tried in vain; 0 when there is none."""
        if not self.partitions.suspended:
            self._doubt_started_s = None
            if not self.partitions.has_work:
                self._division.rest()
        started = (self._doubt_started_s, self._flush_started_s, self._division.failing_since_s)
        oldest_s = min((at_s for at_s in started if at_s is not None), default=None)
        return 0.0 if oldest_s is None else self._ports.clock.monotonic_s() - oldest_s

    async def run(self) -> None:
        """Flush until cancelled. Raises defects that are not one partition's own."""
        while True:
            await self.partitions.work_arrived.wait()
            self.partitions.work_arrived.clear()
            while True:
                started_s = self._ports.clock.monotonic_s()
                async with self.lock:
                    selected = self._select()
                    taken_count = await self._cycle(selected) if selected else 0
                if not selected:
                    break
                took_s = self._ports.clock.monotonic_s() - started_s
                is_all = not self.partitions.waits_since(started_s)
                spacing_s = flush_spacing_s(taken_count, took_s=took_s, is_all=is_all)
                if spacing_s > 0:
                    await asyncio.sleep(spacing_s - took_s)

    def _select(self) -> list[int]:
        """Return the partitions of the next flush, without those that wait for others to have their turn."""
        waiting = self._division.waiting()
        count_max = self._division.part_of(self._settings.partitions_per_flush_max)
        selected = self.partitions.select(count_max, waiting)
        if waiting and not selected:
            # Nothing else may come that wakes the lane for them.
            asyncio.get_running_loop().call_later(STORE_RETRY_S, self.partitions.work_arrived.set)
        return selected

    async def _cycle(self, selected: Sequence[int]) -> int:
        """Flush these partitions' oldest work once. Returns how much was taken, written or not."""
        division = self._division
        count_max = division.part_of(self._settings.commands_per_flush_max // len(selected))
        bytes_max = division.part_of(FLUSH_BYTES_MAX // len(selected))
        work = self.partitions.take(selected, count_max=count_max, bytes_max=bytes_max)
        is_postponed = False
        again: Sequence[int] = ()
        try:
            await self._ports.metrics.counting_faults(self._flush_or_isolate(work))
            division.written(selected)
        except PartitionFenced as fenced:
            self.fenced_count += len(fenced.partition_indexes)
            _log.warning(
                "late_write_refused", by="fence", partitions=sorted(fenced.partition_indexes)
            )
            self.partitions.put_back(work)
            self.partitions.suspend(fenced.partition_indexes)
            self._ports.on_lost(fenced.partition_indexes)
        except (CommitUnknown, LaneReplaced) as unclear:
            _log.warning("partitions_unclear", reason=str(unclear))
            if isinstance(unclear, CommitUnknown):
                division.failed((), str(unclear))
            self.partitions.put_back(work)
            self.partitions.suspend(unclear.partition_indexes)
            self._ports.on_unclear(unclear.partition_indexes)
        except StorageUnavailable as unavailable:
            _log.warning("flush_postponed", store=unavailable.store, reason=unavailable.reason)
            self.partitions.put_back(work)
            division.failed(selected, unavailable.reason)
            is_postponed = True
        except InvariantViolation as violation:
            self.partitions.put_back(work)
            if len(selected) == 1:
                self.partitions.halt(selected[0])
                _log.error("partition_halted", partition=selected[0], defect=str(violation))
            else:
                # One partition's defect must not stop its neighbours: each on its own.
                again = selected
        if is_postponed:
            await asyncio.sleep(STORE_RETRY_S)
        for index in again:
            await self._cycle([index])
        return sum(map(len, work.values()))

    async def _flush_or_isolate(self, work: dict[int, Work]) -> None:
        try:
            await self._flush(work)
            return
        except ContentDefect:
            if len(work) > 1:
                raise
        await isolate(work, self._flush, self.partitions.guard.admits_count)
        for index, part in work.items():
            if part.messages:
                part.messages = []
                self.partitions.stop_intake(index)

    async def _flush(self, work: dict[int, Work]) -> None:
        known = await self._known(work)
        standings: Mapping[int, Sequence[PaymentStanding]] = {}
        if any(part.has_operations for part in work.values()):
            known, standings = await self._load_payments(work, known)
        await self._load_accounts(work, standings)
        now = self._ports.ledger_clock.now()
        books = self.partitions.books
        stumbling_text = self._ports.crash_points.stumbling_text
        psps = self._ports.calls.availability()
        decisions = [
            decide(
                books[index],
                batch_of(part, known, now, psps, standings.get(index, ())),
                stumbling_text,
            )
            for index, part in work.items()
        ]
        written = [decided for decided in decisions if decided.has_rows]
        if written:
            await self._write(written, work)
        self._carry_on(decisions, work)

    async def _write(self, written: Sequence[Decided], work: dict[int, Work]) -> None:
        crash_points = self._ports.crash_points
        takes_in = any(decided.orders or decided.operations for decided in written)
        settles = any(decided.outcomes for decided in written)
        if takes_in:
            crash_points.reach("before_intake_commit")
        if settles:
            crash_points.reach("before_settle_commit")
        self._flush_started_s = self._ports.clock.monotonic_s()
        try:
            receipt = await self._ports.lane.append(flush_of(written, work))
        except CommitUnknown:
            self._doubt_started_s = self._flush_started_s
            raise
        finally:
            self._flush_started_s = None
        self.flush_count += 1
        self._ports.ledger_clock.observe(receipt.recorded_at)
        self._ports.metrics.decided(written, receipt.recorded_at)
        self._ports.metrics.called(self._ports.calls.take_durations())
        if takes_in:
            crash_points.reach("after_intake_commit")
        if settles:
            crash_points.reach("after_settle_commit")

    def _carry_on(self, decisions: Sequence[Decided], work: dict[int, Work]) -> None:
        """After COMMIT: memory, calls, replies, removal, in this order."""
        replies: list[Reply] = []
        for decided in decisions:
            index = decided.partition_index
            self.partitions.books[index].apply(decided)
            for answer in work[index].answers:
                self._ports.calls.done(index, answer.order_no)
            self._ports.calls.start(decided.calls)
            replies += replies_of(decided, work[index])
            tell_odd_events(decided)
            self.partitions.guard.note(index, work[index].messages)
        self._ports.on_replies(replies)
        messages = [
            message for part in work.values() for message in part.messages if message.action is None
        ]
        if messages:
            self._ports.on_taken_in(messages)

    async def _known(self, work: dict[int, Work]) -> KnownOrders:
        asked = [
            (index, message.command or message.operation)
            for index, part in work.items()
            for message in part.messages
        ]
        # Of operations what was set aside; which are taken in is told with their payments.
        keys = [(index, command.order_uuid) for index, command in asked if command is not None]
        return await self._ports.ledger.known_orders(keys) if keys else KnownOrders({}, {})

    async def _load_payments(
        self, work: dict[int, Work], known: KnownOrders
    ) -> tuple[KnownOrders, Mapping[int, Sequence[PaymentStanding]]]:
        """Ask once for all operations of a flush: which are known, and how their payments stand."""
        found = await self._ports.ledger.operated_payments(
            [
                OperationKey(
                    index, message.operation.operation_uuid, message.operation.payment_uuid
                )
                for index, part in work.items()
                for message in part.messages
                if message.operation is not None
            ],
            [(index, order_no) for index, part in work.items() for order_no in part.payments],
        )
        standings: dict[int, list[PaymentStanding]] = {}
        for (index, _), payment in found.standings.items():
            standings.setdefault(index, []).append(payment)
        fingerprints = {**known.fingerprints, **found.fingerprints}
        return known._replace(fingerprints=fingerprints), standings

    async def _load_accounts(
        self, work: dict[int, Work], standings: Mapping[int, Sequence[PaymentStanding]]
    ) -> None:
        books = self.partitions.books
        missing: list[tuple[int, AccountKey]] = [
            (index, key)
            for index, part in work.items()
            if part.answers
            for key in sorted(books[index].accounts_missing(part.answers, standings.get(index, ())))
        ]
        if not missing:
            return
        heads = await self._ports.ledger.account_heads(missing)
        for index in {index for index, _ in missing}:
            books[index].remember_accounts(
                {key: head for (at, key), head in heads.items() if at == index}
            )
