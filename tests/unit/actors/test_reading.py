"""The reader: removes only what was taken in, and forgets nothing that it read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from actors.reading import StreamReader, room_left
from actors.settings import (
    INBOX_MESSAGES_MAX,
    READ_AHEAD_S_MAX,
    READ_BYTES_MAX,
    READ_COUNT_MAX,
    READ_CROWDED_COUNT,
    READ_SPACING_S,
    REMOVAL_EVERY_S,
)
from runtime.crash_points import CrashPoints
from storage.ports import StorageUnavailable
from storage.queue_owner import REMOVAL_AGE_S_MAX
from storage.queue_ports import NOBODY, Message
from tests.manual_clock import ManualClock
from tests.unit.actors.messages import a_message


class StubQueue:
    """Notes what is asked of it, in order."""

    def __init__(self) -> None:
        self.log: list[tuple[str, object]] = []
        self.messages: list[Message] = []
        self.is_available = True
        self.resting: frozenset[int] = frozenset()
        self.reading = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def own(self, partition_indexes: frozenset[int], resting: frozenset[int] = NOBODY) -> None:
        self.log.append(("own", partition_indexes))
        self.resting = resting

    def reread(self, partition_indexes: frozenset[int]) -> None:
        if partition_indexes:
            self.log.append(("reread", partition_indexes))

    async def read_raw(
        self, partition_index: int, *, after: str, count_max: int
    ) -> Sequence[Message]:
        raise NotImplementedError

    async def waiting(self, partition_indexes: frozenset[int]) -> frozenset[int]:
        raise NotImplementedError

    async def read(self, *, count_max: int, wait_ms_max: int) -> Sequence[Message]:
        self.reading.set()
        await self.may_answer.wait()
        self.log.append(("read", count_max))
        messages, self.messages = self.messages, []
        return messages

    async def remove(self, messages: Sequence[Message]) -> int:
        self.log.append(("remove", [message.stream_id for message in messages]))
        if not self.is_available:
            raise StorageUnavailable("redis", "away")
        return len(messages)

    async def publish(self, reply_to: str, payload: bytes) -> None:
        raise AssertionError("the reader publishes nothing")

    async def close(self) -> None: ...


@dataclass
class StubLane:
    """A lane's partitions as the reader sees them."""

    indexes: frozenset[int]
    message_count: int = 0
    open_count: int = 0
    oldest_read_at_s: float | None = None


class Rig:
    def __init__(self, *, room: int = 100) -> None:
        self.queue = StubQueue()
        self.lanes = [StubLane(frozenset({0})), StubLane(frozenset({1}))]
        self.clock = ManualClock()
        self.got: list[tuple[int, list[str]]] = []
        self.reader = StreamReader(
            self.queue,
            readable=lambda: frozenset({0, 1}),
            lanes=lambda: self.lanes,
            open_orders_max=room,
            on_messages=lambda index, messages: self.got.append(
                (index, [message.stream_id for message in messages])
            ),
            clock=self.clock,
            crash_points=CrashPoints({}),
        )

    async def turn(self) -> None:
        await self.reader._turn()

    def named(self, name: str) -> list[object]:
        return [what for did, what in self.queue.log if did == name]


async def test_messages_go_to_their_partitions_in_order() -> None:
    """Each partition gets its own messages as they stood in its stream."""
    rig = Rig()
    rig.queue.messages = [
        a_message(1, partition_index=1),
        a_message(2),
        a_message(3, partition_index=1),
    ]
    await rig.turn()
    assert rig.got == [(0, ["2-0"]), (1, ["1-0", "3-0"])]


async def test_only_what_was_taken_in_is_removed_and_in_batches() -> None:
    """Reading removes nothing; what is in the books goes once a while, each message once."""
    rig = Rig()
    rig.queue.messages = [a_message(1), a_message(2)]
    await rig.turn()
    rig.reader.note_taken_in([a_message(1)])
    await rig.turn()
    assert rig.named("remove") == []
    rig.clock.advance(REMOVAL_EVERY_S)
    await rig.turn()
    rig.clock.advance(REMOVAL_EVERY_S)
    await rig.turn()
    assert rig.named("remove") == [["1-0"]]
    assert rig.reader.removed_count == 1


async def test_a_failed_removal_is_read_again() -> None:
    """What could not be removed does not stay in the stream unseen."""
    rig = Rig()
    rig.queue.is_available = False
    rig.reader.note_taken_in([a_message(1, partition_index=1)])
    rig.clock.advance(REMOVAL_EVERY_S)
    with pytest.raises(StorageUnavailable):
        await rig.turn()
    await rig.turn()
    assert rig.named("reread") == [frozenset({1})]


async def test_a_reread_waits_for_the_read_under_way() -> None:
    """A read's answer moves positions on, so starting over must come after it, or messages are skipped."""
    rig = Rig()
    rig.queue.may_answer.clear()
    turn = asyncio.create_task(rig.turn())
    await rig.queue.reading.wait()
    rig.reader.reread(frozenset({0}))
    assert rig.named("reread") == []
    rig.queue.may_answer.set()
    await turn
    await rig.turn()
    names = [name for name, _ in rig.queue.log]
    assert names == ["own", "read", "own", "reread", "read"]


async def test_nothing_is_read_without_room() -> None:
    """While inbox or open orders are full, messages wait in the stream."""
    rig = Rig(room=0)
    await rig.turn()
    assert rig.named("read") == []
    assert room_left(0, 0, 10) == 10
    assert room_left(4, 3, 10) == 3
    assert room_left(INBOX_MESSAGES_MAX, 0, 10**6) == 0


async def test_what_stays_full_is_looked_at_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A flush makes room in milliseconds; through an outage a host does not look two hundred times a second."""
    waits_s: list[float] = []

    async def sleep(delay_s: float) -> None:
        waits_s.append(delay_s)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    rig = Rig(room=10)
    rig.lanes[0].open_count = 10
    for _ in range(4):
        await rig.turn()
    assert waits_s == [0.005, 0.01, 0.02, 0.02]
    rig.lanes[0].open_count = 9
    await rig.turn()
    assert len(rig.named("read")) == 1
    rig.lanes[0].open_count = 10
    await rig.turn()
    assert waits_s[4:] == [0.005]


async def test_a_drain_removes_what_is_taken_in() -> None:
    """A host that leaves in good order leaves nothing behind that is in the books."""
    rig = Rig()
    rig.reader.note_taken_in([a_message(1)])
    await rig.reader.drain()
    rig.queue.is_available = False
    rig.reader.note_taken_in([a_message(2)])
    await rig.reader.drain()
    assert rig.named("remove") == [["1-0"], ["2-0"]]


async def test_nothing_is_read_far_ahead() -> None:
    """What waits for long is not joined by more, which would be too old to remove when it is taken in."""
    rig = Rig()
    now_s = rig.clock.monotonic_s()
    rig.lanes[0].oldest_read_at_s = now_s - READ_AHEAD_S_MAX
    await rig.turn()
    assert rig.queue.resting == frozenset()
    rig.lanes[0].oldest_read_at_s = now_s - READ_AHEAD_S_MAX - 0.01
    await rig.turn()
    # The other lane's partitions are read as before.
    assert rig.queue.resting == {0}
    assert rig.named("own")[-1] == {0, 1}
    assert len(rig.named("read")) == 2
    rig.lanes[1].oldest_read_at_s = now_s - READ_AHEAD_S_MAX - 0.01
    await rig.turn()
    assert len(rig.named("read")) == 2
    # A read, its wait, a flush of the same length and the removal's turn: all before it is too old.
    assert 2 * READ_AHEAD_S_MAX + REMOVAL_EVERY_S < REMOVAL_AGE_S_MAX


async def test_large_messages_are_read_a_few_at_a_time() -> None:
    """After a read of large messages the next one asks for as many as have READ_BYTES_MAX in all."""
    rig = Rig(room=10_000)
    large = a_message(1)._replace(raw=(b"p", bytes(READ_BYTES_MAX // 4)))
    rig.queue.messages = [large]
    await rig.turn()
    await rig.turn()
    huge = large._replace(raw=(b"p", bytes(2 * READ_BYTES_MAX)))
    rig.queue.messages = [huge]
    await rig.turn()
    await rig.turn()
    assert rig.named("read") == [READ_COUNT_MAX, 3, 3, 1]


@pytest.mark.parametrize(
    ("found_count", "is_pause_expected"),
    [(READ_CROWDED_COUNT - 1, False), (READ_CROWDED_COUNT, True), (100, False)],
)
async def test_after_a_crowd_the_next_read_gathers(
    found_count: int, is_pause_expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few wait for nobody, and where more is there than one read takes nothing has to gather."""
    rig = Rig(room=100)
    pauses: list[float] = []

    async def paused(pause_s: float) -> None:
        pauses.append(pause_s)

    monkeypatch.setattr("actors.reading.asyncio.sleep", paused)
    rig.queue.messages = [a_message(n) for n in range(found_count)]
    await rig.turn()
    assert pauses == [READ_SPACING_S] * is_pause_expected
