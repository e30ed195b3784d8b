"""The ports of the durable queue: what gateways append and ask, what owners read and remove.

Two implementations of each pass one contract suite: the real queue, and the fake of unit tests and
of the simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol
from uuid import UUID

from payments.checkouts import Checkout
from payments.commands import OperationCommand, PaymentCommand
from payments.psp_events import PspEvent
from runtime.faults import Fault


class AppendStatus(Enum):
    """What the append script did with one entry."""

    NEW = 0
    DUPLICATE = 1
    """The key record exists already; nothing was appended, but a counter was touched (see wait_durable)."""
    FULL = 2
    """Refused by admission: the stream or the server holds too much."""


class QueueEntry(NamedTuple):
    """One command for one partition: the stream's fields, encoded (storage.envelope)."""

    partition_index: int
    order_uuid: UUID
    fingerprint: bytes
    accepted_at_ms: int
    fields: tuple[bytes, ...]
    """Field names and values alternating, ready for XADD."""
    is_event: bool = False
    """Whether it is a PSP's event: ``order_uuid`` is then the event's own name."""
    is_operation: bool = False
    """Whether it is an operation on a payment: ``order_uuid`` is then its operation_uuid, and the partition
    its payment's."""
    is_checkout: bool = False
    """Whether it is a checkout: ``order_uuid`` is then the checkout's own name."""


class AppendResult(NamedTuple):
    """``fingerprint``, ``accepted_at_ms`` and ``stream_id`` are those of the first append under the key."""

    status: AppendStatus
    fingerprint: bytes
    accepted_at_ms: int
    stream_id: str
    is_removed: bool = False
    """Of a duplicate: the first one was taken in, and removed. The books hold it, whatever this copy loses."""


class AppendBatch(NamedTuple):
    """Results in the order of the entries, and the connection they are tied to."""

    results: Sequence[AppendResult]
    generation: int


class ConnectionReplaced(Fault):
    """The connection that ran the script is gone: waiting elsewhere would prove nothing. Run it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """An accepted order that may not be in the ledger yet."""

    fingerprint: bytes
    accepted_at_ms: int
    command: PaymentCommand | None
    """None when the entry is gone (taken in), can't be decoded, or is no payment."""
    checkout: Checkout | None = None
    """Set when the entry is there and is a checkout."""
    operation: OperationCommand | None = None
    """Set when the entry is there and is a capture, void or refund."""


class GatewayQueue(Protocol):
    """One connection on which a gateway appends; several may be used side by side."""

    async def append(self, entries: Sequence[QueueEntry]) -> AppendBatch:
        """Run the append script once for all entries (at most APPEND_ENTRIES_MAX).

        Raises StorageUnavailable: here the entries may have been taken all the same (a reply can get
        lost); appending them again is safe.
        """
        ...

    async def wait_durable(self, batch: AppendBatch, *, timeout_ms: int) -> bool:
        """True once the replicas promised hold everything this connection wrote; False when the time was short.

        Raises ConnectionReplaced when the connection of ``batch`` is gone, StorageUnavailable on other failures.
        """
        ...

    async def find(
        self, partition_index: int, order_uuid: UUID, *, timeout_ms: int
    ) -> KeyRecord | None:
        """Return the key record, touched and durable on the replicas promised.

        Raises StorageUnavailable when it can't be read or is not durable within the time.
        """
        ...

    async def close(self) -> None: ...


class LetterAction(NamedTuple):
    """What an operator wants done with a dead letter."""

    action_no: int
    dead_letter_no: int
    partition_index: int
    is_replay: bool
    """Else it is discarded."""
    stream_id: str
    raw: tuple[bytes, ...] | None
    """The message as it was; None when its envelope can't be opened (any more)."""
    is_closed: bool
    """Whether an earlier action has replayed or discarded it."""


class Message(NamedTuple):
    """One stream item as read: a payment, an operation, an event or a checkout. All are None when it can't be
    decoded; ``reason`` then says why."""

    partition_index: int
    stream_id: str
    generation: int
    read_at_s: float
    """Monotonic seconds of the reader's clock."""
    order_uuid: UUID | None
    fingerprint: bytes | None
    command: PaymentCommand | None
    reason: str
    raw: tuple[bytes, ...]
    """All field names and values alternating, as they were."""
    action: LetterAction | None = None
    """Set when it does not come from the stream: an operator's action on a dead letter."""
    attempt_count: int = 1
    """How often it was tried to take it in, this time included."""
    event: PspEvent | None = None
    operation: OperationCommand | None = None
    checkout: Checkout | None = None

    @property
    def is_readable(self) -> bool:
        """Whether there is something to take in."""
        return not (
            self.command is None
            and self.event is None
            and self.operation is None
            and self.checkout is None
        )


NOBODY: frozenset[int] = frozenset()


class OwnerQueue(Protocol):
    """One connection on which a host reads its partitions' streams and removes what it has taken in."""

    def own(self, partition_indexes: frozenset[int], resting: frozenset[int] = NOBODY) -> None:
        """Read exactly these; new ones start at 0-0. Those that rest keep their place, unread."""
        ...

    def reread(self, partition_indexes: frozenset[int]) -> None:
        """Start these again at 0-0: free, since the ledger dedupes."""
        ...

    async def read(self, *, count_max: int, wait_ms_max: int) -> Sequence[Message]:
        """Return the next messages of owned partitions, or none after the wait. Raises StorageUnavailable."""
        ...

    async def read_raw(
        self, partition_index: int, *, after: str, count_max: int
    ) -> Sequence[Message]:
        """Return a stream's next messages after an id, undecoded; moves no position.

        Raises StorageUnavailable.
        """
        ...

    async def waiting(self, partition_indexes: frozenset[int]) -> frozenset[int]:
        """Return those of whose streams hold messages. Raises StorageUnavailable."""
        ...

    async def remove(self, messages: Sequence[Message]) -> int:
        """Delete exactly these, whose intake is committed, and let their key records expire. Returns how many.

        Messages read on an earlier connection or more than a second ago are dropped, not removed: they
        are read again.
        """
        ...

    async def publish(self, reply_to: str, payload: bytes) -> None:
        """Send one reply message. Nobody listening is no fault."""
        ...

    async def close(self) -> None: ...
