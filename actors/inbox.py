"""What waits for the next decision of a partition: messages read, answers that came, timers that are due."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from actors.settings import FLUSH_BYTES_MAX
from payments.open_order import CallAnswer, disputed_payments
from payments.rows import TimerKind
from storage.queue_ports import Message


def size_bytes(message: Message) -> int:
    """What a message takes on the stream; its rows take about twice as much."""
    return sum(map(len, message.raw))


@dataclass(slots=True)
class Work:
    """One partition's part of a flush, taken from its inbox and put back if the flush fails."""

    messages: list[Message] = field(default_factory=list)
    answers: list[CallAnswer] = field(default_factory=list)
    due: list[tuple[int, TimerKind]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.messages) + len(self.answers) + len(self.due)

    @property
    def expiring(self) -> list[int]:
        """The payments whose authorization's time is over."""
        return [order_no for order_no, step in self.due if step is TimerKind.EXPIRE]

    @property
    def payments(self) -> list[int]:
        """The payments that are looked up by their numbers: they are over, and something is due for them."""
        return sorted({*self.expiring, *disputed_payments(self.answers)})

    @property
    def has_operations(self) -> bool:
        """Whether payments have to be looked up that are not open."""
        return bool(self.payments) or any(
            message.operation is not None for message in self.messages
        )


class Inbox:
    """One partition's waiting work, oldest first."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._answers: deque[CallAnswer] = deque()
        self._due: dict[int, TimerKind] = {}
        self.waiting_since_s: float | None = None
        """Monotonic seconds at which the oldest of it arrived; None when empty."""

    def __len__(self) -> int:
        return len(self._messages) + len(self._answers) + len(self._due)

    @property
    def message_count(self) -> int:
        return len(self._messages)

    @property
    def oldest_read_at_s(self) -> float | None:
        """When the oldest message here was read, in monotonic seconds; None when there is none."""
        return self._messages[0].read_at_s if self._messages else None

    def add_messages(self, messages: Iterable[Message], at_s: float) -> None:
        self._messages.extend(messages)
        self._touch(at_s)

    def add_answer(self, answer: CallAnswer, at_s: float) -> None:
        self._answers.append(answer)
        self._touch(at_s)

    def add_due(self, order_no: int, step: TimerKind, at_s: float) -> None:
        self._due[order_no] = step
        self._touch(at_s)

    def take(self, count_max: int, at_s: float, *, bytes_max: int = FLUSH_BYTES_MAX) -> Work:
        """Take the oldest work: answers first, since each frees memory and a buyer waits for it.

        Of messages as many as have ``bytes_max`` in all, and at least one.
        """
        work = Work()
        while self._answers and len(work.answers) < count_max:
            work.answers.append(self._answers.popleft())
        left_bytes = bytes_max
        while self._messages and len(work.messages) < count_max and left_bytes > 0:
            message = self._messages.popleft()
            left_bytes -= size_bytes(message)
            work.messages.append(message)
        answered = {answer.order_no for answer in work.answers}
        for order_no in list(islice(self._due, count_max)):
            step = self._due.pop(order_no)
            if order_no not in answered:
                work.due.append((order_no, step))
        self.waiting_since_s = at_s if len(self) else None
        return work

    def put_back(self, work: Work, at_s: float) -> None:
        """Return work whose flush was not written."""
        self._messages.extendleft(reversed(work.messages))
        self._answers.extendleft(reversed(work.answers))
        for order_no, step in work.due:
            self._due.setdefault(order_no, step)
        self._touch(at_s)

    def drop_messages(self) -> int:
        """Forget what was read: it will be read again. Returns how many."""
        count = len(self._messages)
        self._messages.clear()
        return count

    def _touch(self, at_s: float) -> None:
        if self.waiting_since_s is None and len(self):
            self.waiting_since_s = at_s
