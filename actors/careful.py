"""Partitions whose last host died without progress: what waits there is tried in a child process first.

After such a takeover (``stall_count``) something there may be what ends whoever touches it. Then rows
are tried at the claim (storage/ownership.py), the head of the stream and the first answers of the
rebuilt orders here. What a child survives goes the ordinary way; a message that ends it becomes a dead
letter, an order whose answer does is parked.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import structlog

from actors.lane_worker import LaneWorker
from actors.sacrificing import AnswerJob, MessageJob, Sacrifice
from actors.setting_aside import KILLS_HOST, refused
from actors.settings import READ_COUNT_MAX, REMOVAL_EVERY_S, STORE_RETRY_S
from payments.open_order import CallAnswer
from payments.state import PartitionHead, PartitionState
from runtime.clock import Clock
from storage.ports import STALLS_BEFORE_CARE, Ownership, StorageUnavailable
from storage.queue_messages import decoded
from storage.queue_ports import Message, OwnerQueue

_log = structlog.get_logger(__name__)

# Tried at a time, and offered at a time after they were read anew. Each portion waits for the flush of the one
# before: with 20 a partition's backlog of two seconds took as long again.
PORTION = 100
_IDLE_S = 0.02

ENDS_ITS_PROCESS = "a child process ended, or gave no answer in time"


@dataclass(slots=True)
class _Stalled:
    """One partition under care."""

    head: PartitionHead
    stall_count: int
    unanswered: set[int]
    """Rebuilt orders whose next answer is tried first."""
    after: str = "0-0"
    """The last message of this pass that was offered."""
    passed_count: int = 0
    """Messages of this pass."""
    has_met_deadly: bool = False
    """In this pass."""
    survived: set[bytes] = field(default_factory=set)
    """Digests of the messages of this pass that a child survived."""
    deadly: set[bytes] = field(default_factory=set)
    """Digests of those that ended one."""
    next_pass_at_s: float = 0.0
    is_head_done: bool = False
    answers: list[CallAnswer] = field(default_factory=list)
    with_evidence: set[int] = field(default_factory=set)
    """Orders of which evidence is among the answers."""

    def begin_pass(self, at_s: float) -> None:
        """Look at the stream from its beginning again, not before that monotonic time."""
        self.after, self.passed_count, self.has_met_deadly = "0-0", 0, False
        self.survived.clear()
        self.next_pass_at_s = at_s


class Care:
    """What a host does instead of reading while a partition is suspicious."""

    def __init__(
        self,
        *,
        sacrifice: Sacrifice | None,
        queue: OwnerQueue,
        ownership: Ownership,
        lane_of: Callable[[int], LaneWorker],
        working: Callable[[], frozenset[int]],
        on_parked: Callable[[int, int], None],
        clock: Clock,
    ) -> None:
        self._sacrifice = sacrifice
        self._queue = queue
        self._ownership = ownership
        self._lane_of = lane_of
        self._working = working
        self._on_parked = on_parked
        self._clock = clock
        self._stalled: dict[int, _Stalled] = {}
        self._is_needed = asyncio.Event()
        """Whether there is, or lately was, a partition under care: nearly never."""

    @property
    def unread(self) -> frozenset[int]:
        """Partitions whose stream is read here, message by message, and nowhere else."""
        return frozenset(
            index for index, stalled in self._stalled.items() if not stalled.is_head_done
        )

    def _begin(self, state: PartitionState) -> None:
        if self._sacrifice is None:
            # Without a child to sacrifice nothing can be tried.
            return
        _log.warning(
            "partition_suspicious",
            partition=state.head.partition_index,
            stall_count=state.stall_count,
        )
        self._stalled[state.head.partition_index] = _Stalled(
            state.head, state.stall_count, {order.order_no for order in state.open_orders}
        )
        self._is_needed.set()

    def claimed(self, state: PartitionState, *, is_own: bool) -> None:
        """A partition was claimed. One that was ours before stays under care where it was."""
        partition_index = state.head.partition_index
        before = self._stalled.pop(partition_index, None) if is_own else None
        if before is not None:
            # What was offered and not written is forgotten: it is tried once more.
            before.head = state.head
            before.begin_pass(0.0)
            self._stalled[partition_index] = before
            self._is_needed.set()
        elif state.stall_count >= STALLS_BEFORE_CARE:
            self._begin(state)
        else:
            self._stalled.pop(partition_index, None)

    def takes_answer(self, answer: CallAnswer) -> bool:
        """Whether this answer is to be tried first; then it is kept here until it was."""
        stalled = self._stalled.get(answer.partition_index)
        if stalled is None or answer.order_no not in stalled.unanswered:
            return False
        if answer.is_evidence:
            if answer.order_no in stalled.with_evidence:
                # One at a time: it comes again, and again while a child takes its time.
                return True
            stalled.with_evidence.add(answer.order_no)
        stalled.answers.append(answer)
        return True

    async def run(self) -> None:
        """Try what waits until cancelled."""
        while True:
            if not self._stalled:
                self._is_needed.clear()
            await self._is_needed.wait()
            await asyncio.sleep(_IDLE_S)
            for partition_index, stalled in list(self._stalled.items()):
                try:
                    await self._step(partition_index, stalled)
                except StorageUnavailable as fault:
                    _log.warning("care_postponed", partition=partition_index, reason=str(fault))
                    await asyncio.sleep(STORE_RETRY_S)

    async def _step(self, partition_index: int, stalled: _Stalled) -> None:
        if self._stalled.get(partition_index) is not stalled:
            # Lost and claimed again while another partition's entries were tried.
            return
        lane = self._lane_of(partition_index)
        if partition_index not in lane.partitions.indexes:
            # Given up, or lost, in the meantime.
            self._stalled.pop(partition_index, None)
            return
        if partition_index not in self._working():
            # Being handed over, or claimed anew: what is offered now would be forgotten.
            return
        if stalled.answers:
            await self._try_answers(stalled, lane)
        if not stalled.is_head_done:
            await self._try_head(partition_index, stalled, lane)
        elif not stalled.unanswered:
            self._stalled.pop(partition_index, None)

    # --- messages -----------------------------------------------------------------------------------

    async def _try_head(self, partition_index: int, stalled: _Stalled, lane: LaneWorker) -> None:
        """Try, or offer what was tried. Done after a pass over the head that met nothing deadly.

        What the reader reads, it decodes: as long as a deadly message stands on the stream, whether its
        letter is in the books or not, the reader must stay away.
        """
        is_early = self._clock.monotonic_s() < stalled.next_pass_at_s
        if is_early or lane.partitions.message_count_of(partition_index):
            return
        after = stalled.after
        messages = await self._queue.read_raw(partition_index, after=after, count_max=PORTION)
        known = list(takewhile(lambda m: _digest(m) in stalled.survived | stalled.deadly, messages))
        if messages and not known:
            # Offered after it was read anew: a child may take seconds to start, and what was read a
            # second ago can't be removed any more.
            await self._try(stalled, messages)
            return
        is_ours = self._stalled.get(partition_index) is stalled and stalled.after == after
        if not is_ours or partition_index not in self._working():
            return
        if known:
            offered = [self._as_tried(stalled, message) for message in known]
            lane.partitions.offer_messages(partition_index, offered)
            stalled.after = known[-1].stream_id
            stalled.passed_count += len(known)
            stalled.has_met_deadly |= not stalled.deadly.isdisjoint(map(_digest, known))
        if (len(known) == len(messages) < PORTION) or stalled.passed_count >= READ_COUNT_MAX:
            await self._end_pass(partition_index, stalled)

    async def _end_pass(self, partition_index: int, stalled: _Stalled) -> None:
        """As much was tried as the hosts before had read at a time: the rest nobody has touched."""
        if stalled.has_met_deadly:
            stalled.begin_pass(self._clock.monotonic_s() + 2 * REMOVAL_EVERY_S)
            return
        stalled.is_head_done = True
        await self._ownership.note_progress(partition_index, stalled.head.epoch)
        _log.info("partition_tried", partition=partition_index, deadly=len(stalled.deadly))

    async def _try(self, stalled: _Stalled, messages: Sequence[Message]) -> None:
        if self._sacrifice is None:
            return
        unknown = [message for message in messages if _digest(message) not in stalled.deadly]
        jobs = [MessageJob(stalled.head, message.raw) for message in unknown]
        survived = await self._sacrifice.survivors(jobs)
        for message, is_safe in zip(unknown, survived, strict=True):
            if is_safe:
                stalled.survived.add(_digest(message))
                continue
            stalled.deadly.add(_digest(message))
            _log.error(
                "message_ends_hosts", partition=message.partition_index, stream_id=message.stream_id
            )

    @staticmethod
    def _as_tried(stalled: _Stalled, message: Message) -> Message:
        if _digest(message) in stalled.survived:
            return decoded(message)
        letter = refused(message, KILLS_HOST, ENDS_ITS_PROCESS)
        return letter._replace(attempt_count=stalled.stall_count + 1)

    # --- answers ------------------------------------------------------------------------------------

    async def _try_answers(self, stalled: _Stalled, lane: LaneWorker) -> None:
        partition_index = stalled.head.partition_index
        book = lane.partitions.books[partition_index]
        orders = {order.order_no: order for order in book.open_orders()}
        while stalled.answers and self._sacrifice is not None:
            answer = stalled.answers[0]
            order = orders.get(answer.order_no)
            is_safe = True
            if order is not None:
                job = AnswerJob(stalled.head, order, answer)
                (is_safe,) = await self._sacrifice.survivors([job])
            if is_safe:
                lane.partitions.offer_answer(answer)
            else:
                _log.error("answer_ends_hosts", partition=partition_index, order=answer.order_no)
                await self._ownership.park(
                    partition_index,
                    stalled.head.epoch,
                    answer.order_no,
                    reason=KILLS_HOST,
                    detail=ENDS_ITS_PROCESS,
                )
                # Claimed anew from ourselves, it comes without the parked order; nobody waits for
                # what becomes of the answer.
                self._on_parked(partition_index, answer.order_no)
            stalled.answers.pop(0)
            stalled.with_evidence.discard(answer.order_no)
            if not (answer.is_evidence and is_safe):
                # Evidence may have to wait, and then shows nothing of how the order ends.
                stalled.unanswered.discard(answer.order_no)


def _digest(message: Message) -> bytes:
    """An id may stand for something else after a promotion; what a message says may not."""
    return hashlib.sha256(repr(message.raw).encode()).digest()


async def is_waiting(
    waiting: Callable[[frozenset[int]], Coroutine[Any, Any, frozenset[int]]], partition_index: int
) -> bool:
    """Whether the partition's stream holds anything; a queue that can't be asked holds nothing that kills."""
    try:
        return partition_index in await waiting(frozenset({partition_index}))
    except StorageUnavailable:
        return False
