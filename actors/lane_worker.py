"""One lane of a host: its partitions' flush cycle, one transaction after the other.

A cycle takes waiting work of a few partitions, asks the ledger what it must know, decides in memory,
writes everything in one transaction, and only then changes memory, starts PSP calls, replies, and
lets the messages be removed. A crash anywhere before the removal is safe: the messages are read again,
and the ledger knows what it took in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from actors.calls import PspCalls
from actors.flushing import flush_of
from actors.inbox import Inbox, Work
from actors.ledger_clock import LedgerClock
from actors.settings import STORE_RETRY_S, HostSettings
from payments.accounts import AccountKey
from payments.book import PartitionBook
from payments.decided import Batch, Decided
from payments.defects import InvariantViolation
from payments.open_order import CallAnswer
from payments.rows import TimerKind
from runtime.clock import Clock
from runtime.crash_points import CrashPoints
from storage.ports import (
    CommitUnknown,
    Lane,
    LaneReplaced,
    Message,
    OwnerLedger,
    PartitionFenced,
    StorageUnavailable,
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a gateway hears of an order: taken in, or settled."""

    reply_to: str
    order_uuid: UUID
    is_settled: bool


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


class LaneWorker:
    """The partitions pinned to one lane, and the loop that flushes them."""

    def __init__(self, settings: HostSettings, ports: LanePorts) -> None:
        self._settings = settings
        self._ports = ports
        self._books: dict[int, PartitionBook] = {}
        self._inboxes: dict[int, Inbox] = {}
        self._halted: set[int] = set()
        self._wake = asyncio.Event()
        self.lock = asyncio.Lock()
        """Held during a cycle: whoever adds or drops partitions from outside takes it first."""
        self._suspended: set[int] = set()
        self._flush_started_s: float | None = None
        self.flush_count = 0
        self.fenced_count = 0

    # --- what the host hands in ---------------------------------------------------------------------

    @property
    def partition_indexes(self) -> frozenset[int]:
        return frozenset(self._books)

    @property
    def halted(self) -> frozenset[int]:
        """Partitions stopped by a defect: owned, so that nobody else runs into it, and not worked on."""
        return frozenset(self._halted)

    @property
    def open_count(self) -> int:
        return sum(book.open_count for book in self._books.values())

    @property
    def message_count(self) -> int:
        return sum(inbox.message_count for inbox in self._inboxes.values())

    def flush_age_s(self) -> float:
        """How long the flush under way has been waiting for its end; 0 when there is none."""
        if self._flush_started_s is None:
            return 0.0
        return self._ports.clock.monotonic_s() - self._flush_started_s

    def add(self, book: PartitionBook, *, unscheduled: Sequence[int]) -> None:
        """Work on a partition that was just claimed; ``unscheduled`` orders have no timer: they go on now.

        What was read before is forgotten (it is read again); answers that came meanwhile are kept.
        """
        partition_index = book.head.partition_index
        inbox = self._inboxes.get(partition_index)
        if inbox is None:
            inbox = self._inboxes[partition_index] = Inbox()
        inbox.drop_messages()
        self._books[partition_index] = book
        self._halted.discard(partition_index)
        self._suspended.discard(partition_index)
        now_s = self._ports.clock.monotonic_s()
        for order_no in unscheduled:
            if not self._ports.calls.is_busy(partition_index, order_no):
                inbox.add_due(order_no, TimerKind.SEND, now_s)
        self._wake.set()

    def retire(self, partition_indexes: frozenset[int]) -> None:
        """Take nothing new in: forget what was read and what has not started. Answers still count."""
        for partition_index in partition_indexes:
            self._inboxes[partition_index].drop_messages()
        self._ports.calls.unqueue(partition_indexes)

    def drop(self, partition_indexes: frozenset[int]) -> None:
        """Stop working on partitions; what waits for them is forgotten, their next owner reads it."""
        for partition_index in partition_indexes:
            self._books.pop(partition_index, None)
            self._inboxes.pop(partition_index, None)
            self._halted.discard(partition_index)
            self._suspended.discard(partition_index)
        self._ports.calls.forget(partition_indexes)

    def offer_messages(self, partition_index: int, messages: Sequence[Message]) -> None:
        inbox = self._inboxes.get(partition_index)
        if inbox is not None:
            inbox.add_messages(messages, self._ports.clock.monotonic_s())
            self._wake.set()

    def offer_answer(self, answer: CallAnswer) -> None:
        inbox = self._inboxes.get(answer.partition_index)
        if inbox is not None:
            inbox.add_answer(answer, self._ports.clock.monotonic_s())
            self._wake.set()

    def offer_due(self, partition_index: int, order_no: int, step: TimerKind) -> None:
        inbox = self._inboxes.get(partition_index)
        if inbox is not None and not self._ports.calls.is_busy(partition_index, order_no):
            inbox.add_due(order_no, step, self._ports.clock.monotonic_s())
            self._wake.set()

    # --- the cycle ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Flush until cancelled. Raises defects that are not one partition's own."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while True:
                async with self.lock:
                    selected = self._select()
                    if not selected:
                        break
                    await self._cycle(selected)

    def _select(self) -> list[int]:
        """The partitions whose work has waited longest: a few whole ones rather than a crumb of each."""
        waiting = [
            (inbox.waiting_since_s, partition_index)
            for partition_index, inbox in self._inboxes.items()
            if inbox.waiting_since_s is not None
            and partition_index not in self._halted
            and partition_index not in self._suspended
        ]
        waiting.sort()
        return [index for _, index in waiting[: self._settings.partitions_per_flush_max]]

    async def _cycle(self, selected: Sequence[int]) -> None:
        count_max = max(1, self._settings.commands_per_flush_max // len(selected))
        now_s = self._ports.clock.monotonic_s()
        work = {index: self._inboxes[index].take(count_max, now_s) for index in selected}
        try:
            await self._flush(work)
        except PartitionFenced as fenced:
            self.fenced_count += len(fenced.partition_indexes)
            _log.warning("flush_fenced", partitions=sorted(fenced.partition_indexes))
            self._suspended |= fenced.partition_indexes
            self._put_back(work)
            self._ports.on_lost(fenced.partition_indexes)
        except (CommitUnknown, LaneReplaced) as unclear:
            _log.warning("partitions_unclear", reason=str(unclear))
            self._suspended |= unclear.partition_indexes
            self._put_back(work)
            self._ports.on_unclear(unclear.partition_indexes)
        except StorageUnavailable as unavailable:
            _log.warning("flush_postponed", store=unavailable.store, reason=unavailable.reason)
            self._put_back(work)
            await asyncio.sleep(STORE_RETRY_S)
        except InvariantViolation as violation:
            self._put_back(work)
            if len(work) == 1:
                self._halt(next(iter(work)), violation)
            else:
                # One partition's defect must not stop its neighbours: each on its own.
                for index in work:
                    await self._cycle([index])

    async def _flush(self, work: dict[int, Work]) -> None:
        known = await self._known(work)
        await self._load_accounts(work)
        now = self._ports.ledger_clock.now()
        decisions = [
            self._books[index].decide(_batch(part, known, now)) for index, part in work.items()
        ]
        written = [decided for decided in decisions if decided.has_rows]
        if written:
            await self._write(written, work)
        self._carry_on(decisions, work)

    async def _write(self, written: Sequence[Decided], work: dict[int, Work]) -> None:
        crash_points = self._ports.crash_points
        takes_in = any(decided.orders for decided in written)
        settles = any(decided.outcomes for decided in written)
        unreadable = [
            message
            for part in work.values()
            for message in part.messages
            if message.command is None
        ]
        if takes_in:
            crash_points.reach("before_intake_commit")
        if settles:
            crash_points.reach("before_settle_commit")
        self._flush_started_s = self._ports.clock.monotonic_s()
        try:
            receipt = await self._ports.lane.append(flush_of(written, unreadable))
        finally:
            self._flush_started_s = None
        self.flush_count += 1
        self._ports.ledger_clock.observe(receipt.recorded_at)
        if takes_in:
            crash_points.reach("after_intake_commit")
        if settles:
            crash_points.reach("after_settle_commit")

    def _carry_on(self, decisions: Sequence[Decided], work: dict[int, Work]) -> None:
        """After COMMIT: memory, calls, replies, removal, in this order."""
        replies: list[Reply] = []
        for decided in decisions:
            index = decided.partition_index
            self._books[index].apply(decided)
            for answer in work[index].answers:
                self._ports.calls.done(index, answer.order_no)
            self._ports.calls.start(decided.calls)
            replies += _replies(decided, work[index])
        self._ports.on_replies(replies)
        messages = [message for part in work.values() for message in part.messages]
        if messages:
            self._ports.on_taken_in(messages)

    async def _known(self, work: dict[int, Work]) -> dict[UUID, bytes]:
        keys = [
            (index, message.command.order_uuid)
            for index, part in work.items()
            for message in part.messages
            if message.command is not None
        ]
        return dict(await self._ports.ledger.known_orders(keys)) if keys else {}

    async def _load_accounts(self, work: dict[int, Work]) -> None:
        missing: list[tuple[int, AccountKey]] = [
            (index, key)
            for index, part in work.items()
            if part.answers
            for key in sorted(self._books[index].accounts_missing(part.answers))
        ]
        if not missing:
            return
        heads = await self._ports.ledger.account_heads(missing)
        for index in {index for index, _ in missing}:
            self._books[index].remember_accounts(
                {key: head for (at, key), head in heads.items() if at == index}
            )

    def _put_back(self, work: dict[int, Work]) -> None:
        now_s = self._ports.clock.monotonic_s()
        for index, part in work.items():
            if (inbox := self._inboxes.get(index)) is not None:
                inbox.put_back(part, now_s)

    def _halt(self, partition_index: int, violation: InvariantViolation) -> None:
        self._halted.add(partition_index)
        _log.error("partition_halted", partition=partition_index, defect=str(violation))


def _batch(part: Work, known: dict[UUID, bytes], now: datetime) -> Batch:
    commands = [message.command for message in part.messages if message.command is not None]
    return Batch(
        commands=commands,
        known=known,
        answers=part.answers,
        due=part.due,
        dead_letter_count=len(part.messages) - len(commands),
        now=now,
    )


def _replies(decided: Decided, part: Work) -> list[Reply]:
    """Tell each gateway which of its orders are in the books, also those that were there before."""
    settled = {
        order.command.order_uuid: order.command.reply_to for order in decided.closed.values()
    }
    return [
        Reply(reply_to=reply_to, order_uuid=order_uuid, is_settled=True)
        for order_uuid, reply_to in settled.items()
        if reply_to
    ] + [
        Reply(
            reply_to=message.command.reply_to,
            order_uuid=message.command.order_uuid,
            is_settled=False,
        )
        for message in part.messages
        if message.command is not None and message.command.reply_to
    ]
