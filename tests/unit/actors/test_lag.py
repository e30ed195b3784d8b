"""The look at both stores: bounded, shared, and never an old number for a present one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from actors import lag
from actors.exposing import expose_lag
from actors.lag import FRESH_S, LagWatch
from runtime.faults import StorageUnavailable
from runtime.metrics import Metrics
from storage.queue_status import QueueStatus, ReplicaStatus, StreamStatus
from storage.status import StandbyStatus
from tests.manual_clock import ManualClock


class Stores:
    """Both stores' answers, and how often they were asked."""

    def __init__(self) -> None:
        self.look_count = 0
        self.fault: Exception | None = None
        self.delay_s = 0.0
        self.standbys = [a_standby(0, None)]

    async def queue(self, partition_indexes: Sequence[int]) -> QueueStatus:
        self.look_count += 1
        await asyncio.sleep(self.delay_s)
        if self.fault is not None:
            raise self.fault
        return QueueStatus(
            streams={
                index: StreamStatus(message_count=index, oldest_age_s=1.5)
                for index in partition_indexes
            },
            replicas=[ReplicaStatus(address="127.0.0.1:7404", lag_bytes=70, silent_s=1)],
        )

    async def read_standbys(self) -> Sequence[StandbyStatus]:
        if self.fault is not None:
            raise self.fault
        return self.standbys


def a_standby(lag_bytes: int | None, lag_s: float | None, name: str = "standby1") -> StandbyStatus:
    return StandbyStatus(
        application_name=name,
        state="streaming",
        sync_state="quorum",
        flush_lag_bytes=lag_bytes,
        replay_lag_bytes=lag_bytes,
        flush_lag_s=lag_s,
        replay_lag_s=lag_s,
    )


class Watched:
    def __init__(self) -> None:
        self.stores, self.clock, self.metrics = Stores(), ManualClock(), Metrics()
        self.partition_indexes = {3, 5}
        self.watch = LagWatch(
            self.stores.queue,
            self.stores.read_standbys,
            partition_indexes=lambda: self.partition_indexes,
            clock=self.clock,
        )
        expose_lag(self.metrics, self.watch)

    async def shown(self) -> str:
        await self.watch.look()
        return self.metrics.exposition().decode()


async def test_what_was_seen_is_shown() -> None:
    """Streams, replicas and standbys show with what the stores said of them."""
    text = await Watched().shown()
    for line in (
        'tallystick_partition_stream_messages{partition="5"} 5.0',
        'tallystick_partition_oldest_message_seconds{partition="3"} 1.5',
        'tallystick_redis_replica_lag_bytes{replica="127.0.0.1:7404"} 70.0',
        'tallystick_postgres_standby_lag_seconds{position="flush",standby="standby1"} 0.0',
        'tallystick_store_readable{store="redis"} 1.0',
    ):
        assert line in text


@pytest.mark.parametrize("is_slow", [False, True])
async def test_what_can_not_be_read_has_no_series(
    is_slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that fails or hangs leaves no old number behind, and is said to be unreadable."""
    monkeypatch.setattr(lag, "LOOK_S_MAX", 0.05)
    watched = Watched()
    await watched.shown()
    watched.clock.advance(FRESH_S)
    watched.stores.fault = None if is_slow else StorageUnavailable("redis", "gone")
    watched.stores.delay_s = 5.0 if is_slow else 0.0
    text = await watched.shown()
    assert 'tallystick_store_readable{store="redis"} 0.0' in text
    assert "stream_messages{" not in text
    assert "replica_lag_bytes{" not in text
    assert ("standby_lag_bytes{" in text) == is_slow


async def test_scrapers_share_a_look() -> None:
    """However many ask, the stores are asked again only when the last look is no longer fresh."""
    watched = Watched()
    await asyncio.gather(*(watched.shown() for _ in range(5)))
    assert watched.stores.look_count == 1
    watched.clock.advance(FRESH_S)
    await watched.shown()
    assert watched.stores.look_count == 2


async def test_a_new_partition_is_looked_at_at_once() -> None:
    """A look that knows nothing of a partition just claimed is not fresh, however young it is."""
    watched = Watched()
    await watched.shown()
    watched.partition_indexes = {5, 8}
    text = await watched.shown()
    assert 'stream_messages{partition="8"} 8.0' in text
    assert 'stream_messages{partition="3"}' not in text


async def test_a_standby_that_connects_anew_is_one_series() -> None:
    """Two connections of one standby show as one, the one that is further; unknown lag shows as none."""
    watched = Watched()
    watched.stores.standbys = [
        a_standby(900, None),
        a_standby(10, 0.25),
        a_standby(None, None, "x"),
    ]
    text = await watched.shown()
    assert text.count('standby_lag_bytes{position="flush"') == 1
    assert 'tallystick_postgres_standby_lag_bytes{position="flush",standby="standby1"} 10.0' in text
    assert 'standby_lag_seconds{position="replay",standby="standby1"} 0.25' in text
