"""Acknowledged orders are sent again when the queue's primary changed, and only then."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from gateway.resending import LOOK_AGAIN_S, LOOK_S, RESEND_AGAIN_S, Resending
from gateway.unreported import Unreported
from runtime.faults import StorageUnavailable
from runtime.metrics import Metrics
from storage.queue_ports import QueueEntry
from tests.fakes.fake_queue import FakeGatewayQueue
from tests.fakes.fake_queue_server import FakeQueueServer
from tests.queue_commands import an_entry
from tests.unit.gateway.ticking import TickingClock

LATE_ACK_S = 5.0


class Bench:
    """A gateway's unreported orders, its watch, and the queue on fakes."""

    def __init__(self, *, stream_length_max: int = 1_000) -> None:
        self.clock = TickingClock()
        self.server = FakeQueueServer(self.clock, stream_length_max=stream_length_max)
        self.unreported = Unreported(10_000)
        self.history = frozenset({b"first"})
        self.metrics = Metrics()
        self.resending = Resending(
            FakeGatewayQueue(self.server),
            self._histories,
            self.unreported,
            late_ack_s=LATE_ACK_S,
            clock=self.clock,
            metrics=self.metrics,
        )

    async def _histories(self) -> frozenset[bytes]:
        self.server.require_reachable()
        return self.history

    def acknowledge(self, count: int, partition_index: int = 0) -> list[QueueEntry]:
        """Keep orders as a gateway does that has answered 202."""
        entries = [an_entry(partition_index) for _ in range(count)]
        for entry in entries:
            self.unreported.keep(entry, self.clock.monotonic_s())
        return entries

    def promote(self, name: bytes) -> None:
        """Bring up a copy that lacks everything."""
        self.server.copy.streams.clear()
        self.server.copy.records.clear()
        self.history = frozenset({name})

    def held(self) -> set[UUID]:
        """The orders on the primary."""
        return {order_uuid for _, order_uuid in self.server.copy.records}

    def counted(self, name: str) -> float:
        lines = self.metrics.exposition().decode().splitlines()
        (line,) = (line for line in lines if line.startswith(f"tallystick_gateway_{name} "))
        return float(line.split()[1])


async def test_nothing_is_sent_while_the_primary_stays() -> None:
    """Looking costs one question; the first history is nothing to compare with."""
    bench = Bench()
    assert await bench.resending.turn() == LOOK_S
    bench.acknowledge(3)
    assert await bench.resending.turn() == LOOK_S
    assert bench.held() == set()
    assert bench.counted("primary_changes_total") == 0


async def test_a_new_primary_gets_all_that_is_unreported() -> None:
    """Every acknowledged order that no owner spoke of is appended again, each once."""
    bench = Bench()
    await bench.resending.turn()
    entries = bench.acknowledge(250)
    bench.unreported.reported([entries[0].order_uuid])
    bench.promote(b"second")
    await bench.resending.turn()
    assert bench.held() == {entry.order_uuid for entry in entries[1:]}
    assert sum(map(len, bench.server.copy.streams.values())) == 249
    assert bench.counted("resent_orders_total") == 249
    assert bench.counted("primary_changes_total") == 1


async def test_a_change_before_the_first_look_is_no_excuse() -> None:
    """A gateway that has acknowledged before it ever looked sends rather than guesses."""
    bench = Bench()
    (entry,) = bench.acknowledge(1)
    await bench.resending.turn()
    assert bench.held() == {entry.order_uuid}


async def test_a_late_acknowledgement_is_sent_too() -> None:
    """What the old primary acknowledged and we learnt only afterwards follows within the deadline."""
    bench = Bench()
    await bench.resending.turn()
    bench.acknowledge(1)
    bench.promote(b"second")
    await bench.resending.turn()
    (late,) = bench.acknowledge(1)
    assert await bench.resending.turn() == RESEND_AGAIN_S
    assert late.order_uuid not in bench.held()
    bench.clock.pass_s(LATE_ACK_S)
    assert await bench.resending.turn() == LOOK_S
    assert late.order_uuid in bench.held()
    assert await bench.resending.turn() == LOOK_S
    assert bench.counted("primary_changes_total") == 1


async def test_what_finds_no_room_is_sent_again() -> None:
    """A full stream keeps an order waiting, in memory, until its owner made room."""
    bench = Bench(stream_length_max=2)
    await bench.resending.turn()
    entries = bench.acknowledge(3)
    bench.promote(b"second")
    await bench.resending.turn()
    assert len(bench.held()) == 2
    bench.server.copy.streams.clear()
    bench.unreported.reported(bench.held())
    bench.clock.pass_s(RESEND_AGAIN_S)
    await bench.resending.turn()
    assert bench.held() == {entry.order_uuid for entry in entries}


async def test_a_primary_that_is_away_is_waited_for() -> None:
    """While nobody answers nothing is sent, and nothing is forgotten."""
    bench = Bench()
    await bench.resending.turn()
    (entry,) = bench.acknowledge(1)
    bench.promote(b"second")
    bench.server.is_reachable = False
    assert await bench.resending.turn() == LOOK_AGAIN_S
    bench.server.is_reachable = True
    await bench.resending.turn()
    assert bench.held() == {entry.order_uuid}


async def test_a_fault_between_the_look_and_the_append(monkeypatch: pytest.MonkeyPatch) -> None:
    """A primary lost while orders are sent again gets them later, or its successor does."""
    bench = Bench()
    await bench.resending.turn()
    (entry,) = bench.acknowledge(1)
    bench.promote(b"second")

    async def refuse(_queue: FakeGatewayQueue, _entries: object) -> None:
        raise StorageUnavailable("redis", "gone")

    with monkeypatch.context() as patched:
        patched.setattr(FakeGatewayQueue, "append", refuse)
        await bench.resending.turn()
    assert bench.held() == set()
    bench.clock.pass_s(RESEND_AGAIN_S)
    await bench.resending.turn()
    assert bench.held() == {entry.order_uuid}


async def test_a_cluster_with_one_new_primary() -> None:
    """One history more is a change, one less is none: the others' orders are where they were."""
    bench = Bench()
    bench.history = frozenset({b"a", b"b", b"c"})
    await bench.resending.turn()
    (entry,) = bench.acknowledge(1)
    bench.history = frozenset({b"a", b"b"})
    await bench.resending.turn()
    assert bench.held() == set()
    bench.history = frozenset({b"a", b"b", b"d"})
    await bench.resending.turn()
    assert bench.held() == {entry.order_uuid}


async def test_a_displaced_order_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Another body that took the key since the loss is not overwritten, and not passed over in silence."""
    bench = Bench()
    await bench.resending.turn()
    key = uuid4()
    bench.unreported.keep(an_entry(0, key), 0.0)
    bench.promote(b"second")
    other = an_entry(0, key, amount_minor=1)
    await FakeGatewayQueue(bench.server).append([other])
    await bench.resending.turn()
    ((_, record),) = bench.server.copy.records.items()
    assert record.fingerprint == other.fingerprint
    told = capsys.readouterr()
    assert "order_displaced" in told.out + told.err
