"""The queue through promotions: by a promoter of ours, by a Sentinel, within a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from uuid import UUID, uuid4

import pytest

from gateway.resending import Resending
from gateway.unreported import Unreported
from runtime.clock import SystemClock
from runtime.faults import StorageUnavailable
from runtime.metrics import Metrics
from storage.envelope import read_header
from storage.opening import gateway_queue, owner_queue
from storage.queue import QueueSettings
from storage.queue_discovery import find_primary
from storage.queue_ports import (
    AppendBatch,
    AppendStatus,
    ConnectionReplaced,
    GatewayQueue,
    OwnerQueue,
    QueueEntry,
)
from storage.queue_primaries import QueuePrimaries
from storage.queue_status import QueueStatusReader
from storage.replies import Reply, ReplyListener, encode_reply, reply_channel
from tests.queue_commands import an_entry
from tests.queue_farms import ClusterFarm, Farm, SentinelFarm

DURABLE_MS = 5_000
# A lost server is noticed after the farm's NODE_TIMEOUT_MS, and a vote takes about as long again.
PROMOTED_S = 30.0
PARTITIONS = frozenset(range(16))


def settings_of(farm: Farm) -> QueueSettings:
    return farm.settings(stream_length_max=10_000, record_count_max=100_000)


def settings_of_pair(farm: SentinelFarm) -> QueueSettings:
    """The pair as the local stack names it: two addresses, of which one is the primary."""
    first, second = (*farm.primaries, *farm.replicas)
    return QueueSettings(
        url=f"redis://127.0.0.1:{first}",
        password=farm.password,
        other_addresses=(f"127.0.0.1:{second}",),
        replicas_awaited=1,
        replica_count=1,
        stream_length_max=10_000,
        record_count_max=100_000,
        reply_timeout_s=1.0,
        probe_timeout_s=0.5,
    )


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The server stands still inside the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def append_durably(gateway: GatewayQueue, entries: Sequence[QueueEntry]) -> float:
    """Append again and again until it is proven, as a lane does; return after how many seconds."""
    started_s = time.monotonic()
    while True:
        with contextlib.suppress(StorageUnavailable, ConnectionReplaced):
            batch = await gateway.append(entries)
            if await gateway.wait_durable(batch, timeout_ms=DURABLE_MS):
                return time.monotonic() - started_s
        assert time.monotonic() - started_s < PROMOTED_S
        await asyncio.sleep(0.05)


async def appended(gateway: GatewayQueue, entry: QueueEntry) -> AppendBatch:
    """Append until a server takes it: the first try after a loss finds out about it."""
    deadline_s = time.monotonic() + PROMOTED_S
    while True:
        with contextlib.suppress(StorageUnavailable):
            return await gateway.append([entry])
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.05)


async def histories_of(primaries: QueuePrimaries) -> frozenset[bytes]:
    """The replication ids, once all primaries answer."""
    async with asyncio.timeout(PROMOTED_S):
        while True:
            with contextlib.suppress(StorageUnavailable):
                return await primaries.histories()
            await asyncio.sleep(0.05)


async def keys_read(owner: OwnerQueue, wanted: set[UUID]) -> set[UUID]:
    """Read until all that is wanted was seen; a server that is away is waited for."""
    keys: set[UUID] = set()
    deadline_s = time.monotonic() + PROMOTED_S
    while not wanted <= keys and time.monotonic() < deadline_s:
        with contextlib.suppress(StorageUnavailable):
            messages = await owner.read(count_max=500, wait_ms_max=50)
            keys |= {m.command.idempotency_key for m in messages if m.command is not None}
            continue
        await asyncio.sleep(0.05)
    return keys


class Opened:
    """The connections of one test."""

    def __init__(self) -> None:
        self._open: list[GatewayQueue | OwnerQueue | QueuePrimaries | QueueStatusReader] = []

    def gateway(self, settings: QueueSettings) -> GatewayQueue:
        gateway = gateway_queue(settings)
        self._open.append(gateway)
        return gateway

    def owner(self, settings: QueueSettings, partitions: frozenset[int] = PARTITIONS) -> OwnerQueue:
        owner = owner_queue(settings, clock=SystemClock())
        owner.own(partitions)
        self._open.append(owner)
        return owner

    def primaries(self, settings: QueueSettings) -> QueuePrimaries:
        primaries = QueuePrimaries(settings)
        self._open.append(primaries)
        return primaries

    def status(self, settings: QueueSettings) -> QueueStatusReader:
        status = QueueStatusReader(settings)
        self._open.append(status)
        return status

    async def close(self) -> None:
        for one in self._open:
            await one.close()


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    """Opens connections, and closes them after the test."""
    opened = Opened()
    yield opened
    await opened.close()


async def test_the_primary_is_found_among_the_addresses(
    own_sentinel_farm: SentinelFarm, opened: Opened
) -> None:
    """After a promotion every connection finds the new primary, and a frozen old one delays nobody."""
    farm = own_sentinel_farm
    # Here we promote: the Sentinel would do it by itself.
    os.kill(farm.others[0].pid, signal.SIGKILL)
    settings = settings_of_pair(farm)
    gateway, owner = opened.gateway(settings), opened.owner(settings)
    primaries = opened.primaries(settings)
    keys = [uuid4() for _ in range(20)]
    await append_durably(gateway, [an_entry(n % 16, key) for n, key in enumerate(keys)])
    before = await primaries.histories()
    messages = await owner.read(count_max=5, wait_ms_max=0)

    old_port, old = next(iter(farm.primaries.items()))
    (new_port,) = farm.replicas
    with frozen(old.pid):
        await farm.ask(new_port, "REPLICAOF", "NO", "ONE")
        started_s = time.monotonic()
        assert (await find_primary(settings)).port == new_port
        assert time.monotonic() - started_s < 0.5
        # The connection that hung on the frozen server is given up, and nothing is proven without a copy.
        with pytest.raises((StorageUnavailable, ConnectionReplaced)):
            await gateway.append([an_entry(0)])
        batch = await gateway.append([an_entry(0, keys[0])])
        assert batch.results[0].status is AppendStatus.DUPLICATE
        assert not await gateway.wait_durable(batch, timeout_ms=150)
        os.kill(old.pid, signal.SIGKILL)
    assert set(keys) <= await keys_read(owner, set(keys))
    assert await owner.remove(messages) == 0
    assert before.isdisjoint(await histories_of(primaries))
    assert old_port != new_port


async def test_orders_that_a_promotion_lost_are_sent_again(
    own_sentinel_farm: SentinelFarm, opened: Opened
) -> None:
    """What an accepted single copy held is on the next primary within seconds, while new orders go on."""
    farm = own_sentinel_farm
    os.kill(farm.others[0].pid, signal.SIGKILL)
    settings, clock = settings_of_pair(farm), SystemClock()
    gateway, primaries = opened.gateway(settings), opened.primaries(settings)
    unreported, metrics = Unreported(10_000), Metrics()
    resending = Resending(
        opened.gateway(settings),
        primaries.histories,
        unreported,
        late_ack_s=0.5,
        clock=clock,
        metrics=metrics,
    )
    await resending.turn()
    watching = asyncio.create_task(resending.run())
    ((_, old),) = farm.primaries.items()
    ((new_port, replica),) = farm.replicas.items()
    with frozen(replica.pid):
        entries = [an_entry(n % 16) for n in range(250)]
        for first in range(0, len(entries), 50):
            await gateway.append(entries[first : first + 50])
        for entry in entries:
            unreported.keep(entry, clock.monotonic_s())
        os.kill(old.pid, signal.SIGKILL)
        await old.wait()
    await farm.ask(new_port, "REPLICAOF", "NO", "ONE")
    started_s = time.monotonic()
    assert (await appended(gateway, an_entry(3))).results[0].status is AppendStatus.NEW
    keys = {read_header(entry.fields).order_uuid for entry in entries}
    owner = opened.owner(settings)
    found: set[UUID | None] = set()
    while not keys <= found:
        with contextlib.suppress(StorageUnavailable):
            found |= {m.order_uuid for m in await owner.read(count_max=500, wait_ms_max=50)}
        assert time.monotonic() - started_s < 10
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert b"tallystick_gateway_primary_changes_total 1.0" in metrics.exposition()


async def test_a_sentinel_promotes(own_sentinel_farm: SentinelFarm, opened: Opened) -> None:
    """Who asks the Sentinel for the name follows its promotion; nothing acknowledged is missing."""
    farm = own_sentinel_farm
    settings = settings_of(farm)
    gateway, owner = opened.gateway(settings), opened.owner(settings)
    keys = {uuid4() for _ in range(30)}
    await append_durably(gateway, [an_entry(n % 16, key) for n, key in enumerate(keys)])
    old_port, old = next(iter(farm.primaries.items()))
    os.kill(old.pid, signal.SIGKILL)
    assert keys <= await keys_read(owner, keys)
    assert (await find_primary(settings)).port != old_port
    # One copy is left, and one replica is awaited: accepting pauses, it does not pretend.
    batch = await appended(gateway, an_entry(0))
    assert not await gateway.wait_durable(batch, timeout_ms=150)


async def test_a_cluster_promotes(own_cluster_farm: ClusterFarm, opened: Opened) -> None:
    """A lost primary's partitions come back at its replica, and the others went on all the while."""
    farm = own_cluster_farm
    settings = settings_of(farm)
    gateway, owner = opened.gateway(settings), opened.owner(settings)
    primaries = opened.primaries(settings)
    keys = [uuid4() for _ in range(48)]
    await append_durably(gateway, [an_entry(n % 16, key) for n, key in enumerate(keys)])
    before = await primaries.histories()
    assert len(before) == 3
    places = farm.partitions_by_port(16)
    lost_port = next(port for port, indexes in places.items() if indexes)
    kept = [index for port, indexes in places.items() if port != lost_port for index in indexes]
    os.kill(farm.primaries[lost_port].pid, signal.SIGKILL)
    replica_port = next(r for r, primary in farm.pairs.items() if primary == lost_port)
    neighbours_s = await append_durably(gateway, [an_entry(index) for index in kept])
    assert neighbours_s < 1.0

    async def is_promoted() -> bool:
        return "role:master" in str(await farm.ask(replica_port, "INFO", "replication"))

    await farm.until(is_promoted)
    assert set(keys) <= await keys_read(owner, set(keys))
    after = await histories_of(primaries)
    assert len(after) == 3
    assert len(after - before) == 1
    # The lost pair has one copy left, of the one replica that is awaited none: no proof, no 2xx.
    batch = await appended(gateway, an_entry(places[lost_port][0]))
    assert not await gateway.wait_durable(batch, timeout_ms=150)


async def test_a_partition_moves_to_another_server(
    own_cluster_farm: ClusterFarm, opened: Opened
) -> None:
    """An append that meets MOVED asks where the partition is, and goes there in the same call."""
    farm = own_cluster_farm
    settings = settings_of(farm)
    gateway, owner = opened.gateway(settings), opened.owner(settings, frozenset({0}))
    await append_durably(gateway, [an_entry(0)])
    (message,) = await owner.read(count_max=10, wait_ms_max=1_000)
    assert await owner.remove([message]) == 1
    places = farm.partitions_by_port(16)
    from_port = next(port for port, indexes in places.items() if 0 in indexes)
    to_port = next(port for port in farm.primaries if port != from_port)
    record = str(await farm.ask(from_port, "CLUSTER", "KEYSLOT", "{p000}:orders"))
    to_id = str(await farm.ask(to_port, "CLUSTER", "MYID"))
    for left in await _keys_of(farm, from_port, record):
        await farm.ask(from_port, "DEL", left)
    for port in (to_port, from_port, *(p for p in farm.primaries if p not in {to_port, from_port})):
        await farm.ask(port, "CLUSTER", "SETSLOT", record, "NODE", to_id)
    key = uuid4()
    batch = await gateway.append([an_entry(0, key)])
    assert batch.results[0].status is AppendStatus.NEW
    assert await gateway.wait_durable(batch, timeout_ms=DURABLE_MS)
    assert await keys_read(owner, {key}) == {key}


async def _keys_of(farm: Farm, port: int, slot: str) -> list[str]:
    keys = await farm.ask(port, "CLUSTER", "GETKEYSINSLOT", slot, "100")
    assert isinstance(keys, list)
    return [str(key) for key in keys]


@pytest.mark.parametrize("farm_name", ["sentinel_farm", "cluster_farm"])
async def test_replies_and_status_find_their_way(
    farm_name: str, request: pytest.FixtureRequest, opened: Opened
) -> None:
    """Replies published on any server are heard, and streams are counted wherever they are."""
    farm: Farm = request.getfixturevalue(farm_name)
    farm.empty()
    settings = settings_of(farm)
    received: asyncio.Queue[Reply] = asyncio.Queue()
    listening = asyncio.Event()
    channel = reply_channel("gateway-1")
    listener = ReplyListener(
        settings, channel, on_reply=received.put_nowait, on_listening=listening.set
    )
    task = asyncio.create_task(listener.run())
    gateway, owner = opened.gateway(settings), opened.owner(settings)
    status = opened.status(settings)
    try:
        await asyncio.wait_for(listening.wait(), 10)
        key = uuid4()
        await owner.publish(channel, encode_reply(taken_in=[key], settled=[]))
        assert await asyncio.wait_for(received.get(), 10) == Reply(taken_in=(key,), settled=())
        await append_durably(gateway, [an_entry(n % 16) for n in range(40)])
        found = await status.read(sorted(PARTITIONS))
        counts = {index: stream.message_count for index, stream in found.streams.items()}
        assert counts == {index: 3 if index < 8 else 2 for index in PARTITIONS}
        assert found.replicas
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
