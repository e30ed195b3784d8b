"""Partitions whose last hosts died without progress: what waits there is tried in a child process first.

After two such takeovers (``stall_count``) something there probably ends whoever touches it. Then rows
are tried at the claim (storage/ownership.py), the head of the stream and the first answers of the
rebuilt orders here. What a child survives goes the ordinary way; a message that ends it becomes a dead
letter, an order whose answer does is parked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from actors.lane_worker import LaneWorker
from actors.sacrificing import AnswerJob, MessageJob, Sacrifice
from actors.setting_aside import KILLS_HOST, refused
from actors.settings import READ_COUNT_MAX, STORE_RETRY_S
from payments.open_order import CallAnswer
from payments.state import PartitionHead, PartitionState
from storage.ports import STALLS_BEFORE_CARE, Ownership, StorageUnavailable
from storage.queue_messages import decoded
from storage.queue_ports import Message, OwnerQueue

_log = structlog.get_logger(__name__)

# Tried at a time, so that none of them is older than a removal may be.
PORTION = 20
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
    tried_count: int = 0
    is_head_done: bool = False
    answers: list[CallAnswer] = field(default_factory=list)


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
        on_parked: Callable[[frozenset[int]], None],
    ) -> None:
        self._sacrifice = sacrifice
        self._queue = queue
        self._ownership = ownership
        self._lane_of = lane_of
        self._working = working
        self._on_parked = on_parked
        self._stalled: dict[int, _Stalled] = {}

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

    def claimed(self, state: PartitionState, *, is_own: bool) -> None:
        """A partition was claimed. One that was ours before stays under care where it was."""
        partition_index = state.head.partition_index
        before = self._stalled.pop(partition_index, None) if is_own else None
        if before is not None:
            # What was offered and not written is forgotten: it is tried once more.
            before.head, before.after, before.tried_count = state.head, "0-0", 0
            self._stalled[partition_index] = before
        elif state.stall_count >= STALLS_BEFORE_CARE:
            self._begin(state)
        else:
            self._stalled.pop(partition_index, None)

    def takes_answer(self, answer: CallAnswer) -> bool:
        """Whether this answer is to be tried first; then it is kept here until it was."""
        stalled = self._stalled.get(answer.partition_index)
        if stalled is None or answer.order_no not in stalled.unanswered:
            return False
        stalled.answers.append(answer)
        return True

    async def run(self) -> None:
        """Try what waits until cancelled."""
        while True:
            await asyncio.sleep(_IDLE_S)
            for partition_index, stalled in list(self._stalled.items()):
                try:
                    await self._step(partition_index, stalled)
                except StorageUnavailable as fault:
                    _log.warning("care_postponed", partition=partition_index, reason=str(fault))
                    await asyncio.sleep(STORE_RETRY_S)

    async def _step(self, partition_index: int, stalled: _Stalled) -> None:
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
        if lane.partitions.message_count_of(partition_index):
            return
        after = stalled.after
        messages = await self._queue.read_raw(partition_index, after=after, count_max=PORTION)
        offered = await self._tried(stalled, messages)
        is_ours = self._stalled.get(partition_index) is stalled and stalled.after == after
        if not is_ours or partition_index not in self._working():
            return
        if offered:
            lane.partitions.offer_messages(partition_index, offered)
            stalled.after = messages[-1].stream_id
            stalled.tried_count += len(messages)
        if len(messages) < PORTION or stalled.tried_count >= READ_COUNT_MAX:
            # As much as the hosts before had read at a time: the rest nobody has touched.
            stalled.is_head_done = True
            await self._ownership.note_progress(partition_index, stalled.head.epoch)
            _log.info("partition_tried", partition=partition_index, tried=stalled.tried_count)

    async def _tried(self, stalled: _Stalled, messages: Sequence[Message]) -> list[Message]:
        if self._sacrifice is None or not messages:
            return []
        jobs = [MessageJob(stalled.head, message.raw) for message in messages]
        survived = await self._sacrifice.survivors(jobs)
        tries = stalled.stall_count + 1
        offered: list[Message] = []
        for message, is_safe in zip(messages, survived, strict=True):
            if is_safe:
                offered.append(decoded(message))
                continue
            _log.error(
                "message_ends_hosts", partition=message.partition_index, stream_id=message.stream_id
            )
            offered.append(
                refused(message, KILLS_HOST, ENDS_ITS_PROCESS)._replace(attempt_count=tries)
            )
        return offered

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
                # Claimed anew from ourselves, it comes without the parked order.
                self._on_parked(frozenset({partition_index}))
            stalled.answers.pop(0)
            stalled.unanswered.discard(answer.order_no)


async def is_waiting(
    waiting: Callable[[frozenset[int]], Coroutine[Any, Any, frozenset[int]]], partition_index: int
) -> bool:
    """Whether the partition's stream holds anything; a queue that can't be asked holds nothing that kills."""
    try:
        return partition_index in await waiting(frozenset({partition_index}))
    except StorageUnavailable:
        return False
