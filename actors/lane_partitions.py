"""The partitions pinned to one lane: their books, what waits for them, and which of them must rest."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from actors.calls import PspCalls
from actors.inbox import Inbox, Work
from actors.intake_guard import IntakeGuard
from actors.settings import FLUSH_BYTES_MAX
from payments.book import PartitionBook
from payments.open_order import CallAnswer
from payments.rows import TimerKind
from runtime.clock import Clock
from storage.queue_ports import Message


class LanePartitions:
    """What a lane works on. ``work_arrived`` is set whenever there may be something to do."""

    def __init__(self, calls: PspCalls, clock: Clock) -> None:
        self._calls = calls
        self._clock = clock
        self._inboxes: dict[int, Inbox] = {}
        self._halted: set[int] = set()
        self._suspended: set[int] = set()
        self.guard = IntakeGuard(clock)
        self.books: dict[int, PartitionBook] = {}
        self.work_arrived = asyncio.Event()

    @property
    def indexes(self) -> frozenset[int]:
        return frozenset(self.books)

    @property
    def halted(self) -> frozenset[int]:
        """Stopped by a defect: owned, so that nobody else runs into it, and not worked on."""
        return frozenset(self._halted)

    @property
    def suspended(self) -> frozenset[int]:
        """Waiting to be claimed anew or to be dropped."""
        return frozenset(self._suspended)

    @property
    def resting(self) -> frozenset[int]:
        """Halted or suspended: they can't flush, so nothing is read for them."""
        return frozenset(self._halted | self._suspended)

    @property
    def unread(self) -> frozenset[int]:
        """Those that nothing is read for: resting, or stopped from taking in."""
        return self.resting | self.guard.paused

    @property
    def open_count(self) -> int:
        return sum(book.open_count for book in self.books.values())

    @property
    def message_count(self) -> int:
        return sum(inbox.message_count for inbox in self._inboxes.values())

    @property
    def has_work(self) -> bool:
        """Whether anything waits to be flushed."""
        return any(map(len, self._inboxes.values()))

    @property
    def oldest_read_at_s(self) -> float | None:
        """When the oldest message that waits here was read, in monotonic seconds; None when none does."""
        oldest = [inbox.oldest_read_at_s for inbox in self._inboxes.values()]
        return min((at_s for at_s in oldest if at_s is not None), default=None)

    def message_count_of(self, partition_index: int) -> int:
        """How many messages of one partition were read and are not decided."""
        inbox = self._inboxes.get(partition_index)
        return 0 if inbox is None else inbox.message_count

    def epoch_of(self, partition_index: int) -> int | None:
        """The epoch under which a partition is worked on here; None when it is not."""
        book = self.books.get(partition_index)
        return None if book is None else book.head.epoch

    # --- coming and going -----------------------------------------------------------------------------

    def add(self, book: PartitionBook, *, unscheduled: Sequence[int]) -> None:
        """Work on a partition that was just claimed; ``unscheduled`` orders have no timer: they go on now.

        What was read before is forgotten (it is read again); answers that came meanwhile are kept.
        No flush may hold it: it is new here, or suspended.
        """
        partition_index = book.head.partition_index
        inbox = self._inboxes.setdefault(partition_index, Inbox())
        inbox.drop_messages()
        self.books[partition_index] = book
        self._halted.discard(partition_index)
        self._suspended.discard(partition_index)
        now_s = self._clock.monotonic_s()
        for order_no in unscheduled:
            if not self._calls.is_busy(partition_index, order_no):
                inbox.add_due(order_no, TimerKind.SEND, now_s)
        self.work_arrived.set()

    def retire(self, partition_indexes: frozenset[int]) -> None:
        """Take nothing new in: forget what was read and what has not started. Answers still count."""
        for partition_index in partition_indexes:
            self._inboxes[partition_index].drop_messages()
        self._calls.unqueue(partition_indexes)

    def drop(self, partition_indexes: frozenset[int]) -> None:
        """Stop working on partitions; what waits for them is forgotten, their next owner reads it."""
        for partition_index in partition_indexes:
            self.books.pop(partition_index, None)
            self._inboxes.pop(partition_index, None)
            self._halted.discard(partition_index)
            self._suspended.discard(partition_index)
            self.guard.forget(partition_index)
        self._calls.forget(partition_indexes)

    def suspend(self, partition_indexes: frozenset[int]) -> None:
        """Leave partitions alone until they are added anew or dropped."""
        self._suspended |= partition_indexes.intersection(self.books)
        self._forget_messages(partition_indexes)

    def halt(self, partition_index: int) -> None:
        """Leave a partition alone until this host ends."""
        self._halted.add(partition_index)
        self._forget_messages(frozenset({partition_index}))

    # --- work -----------------------------------------------------------------------------------------

    def offer_messages(self, partition_index: int, messages: Sequence[Message]) -> None:
        """Keep what was read. For a resting partition it would only take the others' room: it is read again."""
        inbox = self._inboxes.get(partition_index)
        if inbox is not None and partition_index not in self.unread:
            inbox.add_messages(messages, self._clock.monotonic_s())
            self.work_arrived.set()

    def offer_answer(self, answer: CallAnswer) -> None:
        """Keep what a PSP said; an answer for a partition that is not ours any more finds no book."""
        inbox = self._inboxes.get(answer.partition_index)
        if inbox is not None:
            inbox.add_answer(answer, self._clock.monotonic_s())
            self.work_arrived.set()

    def admits_evidence(self, said: CallAnswer) -> bool:
        """Whether evidence may be offered: not while a call for its order is on its way, which is waited for.

        For a resting partition it would only pile up: it is offered again.
        """
        index = said.partition_index
        return index not in self.resting and not self._calls.is_busy(index, said.order_no)

    def offer_due(self, partition_index: int, order_no: int, step: TimerKind) -> None:
        """Note a timer whose time has come. It stays due in the ledger until a flush replaces it."""
        inbox = self._inboxes.get(partition_index)
        if inbox is not None and not self._calls.is_busy(partition_index, order_no):
            inbox.add_due(order_no, step, self._clock.monotonic_s())
            self.work_arrived.set()

    def waits_since(self, at_s: float) -> bool:
        """Whether work that came before then, in monotonic seconds, still waits, other than at rest."""
        resting = self.resting
        return any(
            inbox.waiting_since_s is not None and inbox.waiting_since_s < at_s
            for partition_index, inbox in self._inboxes.items()
            if partition_index not in resting
        )

    def select(self, count_max: int, waiting: frozenset[int] = frozenset()) -> list[int]:
        """The partitions whose work has waited longest: a few whole ones rather than a crumb of each.

        Those ``waiting`` are left out, as are those at rest.
        """
        resting = self.resting | waiting
        selected = sorted(
            (inbox.waiting_since_s, partition_index)
            for partition_index, inbox in self._inboxes.items()
            if inbox.waiting_since_s is not None and partition_index not in resting
        )
        return [index for _, index in selected[:count_max]]

    def take(
        self, partition_indexes: Sequence[int], *, count_max: int, bytes_max: int = FLUSH_BYTES_MAX
    ) -> dict[int, Work]:
        """Take the oldest work of these, at most ``count_max`` of each kind a partition.

        Of messages at most ``bytes_max`` a partition, and at least one.
        """
        now_s = self._clock.monotonic_s()
        work = {
            index: self._inboxes[index].take(count_max, now_s, bytes_max=bytes_max)
            for index in partition_indexes
        }
        for index, part in work.items():
            # A timer may have been read again while its call was on its way: acting on it now could
            # renew an attempt that is being sent.
            part.due = [due for due in part.due if not self._calls.is_busy(index, due[0])]
            part.answers = [
                answer
                for answer in part.answers
                # A call that waits or runs could still charge what evidence says was not charged. The
                # evidence is offered again.
                if not answer.is_evidence or not self._calls.is_busy(index, answer.order_no)
            ]
            if not self.guard.admits(index, part.messages):
                part.messages = []
                self.stop_intake(index)
        return work

    def stop_intake(self, partition_index: int) -> None:
        """Take nothing in for a while; answers and timers go on. What was read stays on the stream."""
        self.guard.pause(partition_index)
        self._forget_messages(frozenset({partition_index}))

    def put_back(self, work: Mapping[int, Work]) -> None:
        """Return work whose flush was not written."""
        now_s = self._clock.monotonic_s()
        for index, part in work.items():
            if (inbox := self._inboxes.get(index)) is not None:
                inbox.put_back(part, now_s)

    def _forget_messages(self, partition_indexes: frozenset[int]) -> None:
        for partition_index in partition_indexes.intersection(self._inboxes):
            self._inboxes[partition_index].drop_messages()
