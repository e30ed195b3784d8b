"""What the queue promises, on the fake and on real servers."""

from __future__ import annotations

import asyncio
import os
import signal
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator
from typing import Protocol
from uuid import uuid4

import pytest

from ops.local.resp import ask
from payments.defects import InvariantViolation
from runtime.faults import StorageUnavailable
from storage.envelope import encode_command
from storage.opening import gateway_queue, owner_queue
from storage.queue import APPEND_ENTRIES_MAX, REMOVAL_AGE_S_MAX, QueueSettings
from storage.queue_ports import (
    AppendStatus,
    ConnectionReplaced,
    GatewayQueue,
    Message,
    OwnerQueue,
    QueueEntry,
)
from tests.fakes.fake_queue import FakeGatewayQueue, FakeOwnerQueue, FakeQueueServer
from tests.manual_clock import ManualClock
from tests.queue_commands import a_command, an_entry, with_unreadable_payload
from tests.queue_farms import ClusterFarm, Farm
from tests.servers import SharedServers
from tests.simulation.net import RST_S, Net, Weather
from tests.simulation.ports import RealTime
from tests.simulation.sim_queue import SimGatewayQueue, SimOwnerQueue
from tests.simulation.sim_redis import SimRedis

# Enough for a healthy pair that shares its machine; short enough to run out in a test.
DURABLE_MS = 5_000
TOO_SHORT_MS = 150

DROP_CONNECTIONS = ("CLIENT", "KILL", "TYPE", "normal")


class Bench(Protocol):
    """A queue to test: connections to one server, and its faults."""

    clock: ManualClock
    stream_length_max: int
    record_count_max: int
    neighbours: tuple[int, int, int]
    """Partitions that share a server, and so what it may hold."""

    def gateway(self) -> GatewayQueue: ...
    def owner(self, *partition_indexes: int) -> OwnerQueue: ...
    def freeze_replica(self) -> None: ...
    def thaw_replica(self) -> None: ...
    async def drop_connections(self) -> None: ...
    async def close(self) -> None: ...


class FakeBench:
    """All in memory."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.stream_length_max = 1_000
        self.record_count_max = 10_000
        self.neighbours = (0, 1, 2)
        self.server = FakeQueueServer(self.clock)

    def gateway(self) -> GatewayQueue:
        self.server.stream_length_max = self.stream_length_max
        self.server.record_count_max = self.record_count_max
        return FakeGatewayQueue(self.server)

    def owner(self, *partition_indexes: int) -> OwnerQueue:
        owner = FakeOwnerQueue(self.server)
        owner.own(frozenset(partition_indexes))
        return owner

    def freeze_replica(self) -> None:
        self.server.freeze_replica()

    def thaw_replica(self) -> None:
        self.server.thaw_replica()

    async def drop_connections(self) -> None:
        self.server.drop_connections()

    async def close(self) -> None:
        """Nothing is open."""


class SimulatedBench:
    """The stores of the simulation, on an ordinary loop."""

    neighbours = (0, 1, 2)

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.stream_length_max = 1_000
        self.record_count_max = 10_000
        self._net = Net("contract", Weather())
        self._redis = SimRedis(RealTime(), self._net, self.clock, "contract")

    def gateway(self) -> GatewayQueue:
        self._redis.stream_length_max = self.stream_length_max
        self._redis.record_count_max = self.record_count_max
        return SimGatewayQueue(self._redis, self._net)

    def owner(self, *partition_indexes: int) -> OwnerQueue:
        owner = SimOwnerQueue(self._redis, self._net, self.clock)
        owner.own(frozenset(partition_indexes))
        return owner

    def freeze_replica(self) -> None:
        self._redis.freeze_replica()

    def thaw_replica(self) -> None:
        self._redis.thaw_replica()

    async def drop_connections(self) -> None:
        for hook in self._redis.cell.on_death:
            hook()
        await asyncio.sleep(10 * RST_S)

    async def close(self) -> None:
        """Nothing is open."""


class RealBench(ABC):
    """Real servers, and the connections that a test opened to them."""

    neighbours = (0, 1, 2)

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.stream_length_max = 1_000
        self.record_count_max = 10_000
        self._open: list[GatewayQueue | OwnerQueue] = []

    def gateway(self) -> GatewayQueue:
        gateway = gateway_queue(self._settings())
        self._open.append(gateway)
        return gateway

    def owner(self, *partition_indexes: int) -> OwnerQueue:
        owner = owner_queue(self._settings(), clock=self.clock)
        owner.own(frozenset(partition_indexes))
        self._open.append(owner)
        return owner

    def freeze_replica(self) -> None:
        self._signal_replicas(signal.SIGSTOP)

    def thaw_replica(self) -> None:
        self._signal_replicas(signal.SIGCONT)

    @abstractmethod
    async def drop_connections(self) -> None: ...

    async def close(self) -> None:
        self.thaw_replica()
        for queue in self._open:
            await queue.close()

    @abstractmethod
    def _settings(self) -> QueueSettings: ...

    @abstractmethod
    def _signal_replicas(self, number: signal.Signals) -> None: ...


class ServerBench(RealBench):
    """The session's Valkey pair."""

    def __init__(self, servers: SharedServers) -> None:
        super().__init__()
        servers.empty_valkey()
        self._servers = servers

    async def drop_connections(self) -> None:
        valkey = self._servers.stores.valkey
        await ask(valkey.primary.port, valkey.password, DROP_CONNECTIONS)

    def _settings(self) -> QueueSettings:
        return QueueSettings(
            url=self._servers.valkey_url,
            replicas_awaited=1,
            replica_count=1,
            stream_length_max=self.stream_length_max,
            record_count_max=self.record_count_max,
        )

    def _signal_replicas(self, number: signal.Signals) -> None:
        pid = self._servers.stores.valkey.replica.pid
        assert pid is not None
        os.kill(pid, number)


class FarmBench(RealBench):
    """A pair under a Sentinel, or a cluster."""

    def __init__(self, farm: Farm) -> None:
        super().__init__()
        farm.empty()
        self._farm = farm
        if isinstance(farm, ClusterFarm):
            first, second, third, *_ = max(farm.partitions_by_port(16).values(), key=len)
            self.neighbours = (first, second, third)

    async def drop_connections(self) -> None:
        for port in self._farm.primaries:
            await self._farm.ask(port, *DROP_CONNECTIONS)

    def _settings(self) -> QueueSettings:
        return self._farm.settings(
            stream_length_max=self.stream_length_max, record_count_max=self.record_count_max
        )

    def _signal_replicas(self, number: signal.Signals) -> None:
        self._farm.signal_replicas(number)


@pytest.fixture(
    params=[
        "fake",
        "simulated",
        *(
            pytest.param(name, marks=pytest.mark.integration)
            for name in ("servers", "sentinel_farm", "cluster_farm")
        ),
    ]
)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """The fake, the simulation's, then the real pair, one under a Sentinel, and a cluster."""
    bench: Bench
    if request.param == "fake":
        bench = FakeBench()
    elif request.param == "simulated":
        bench = SimulatedBench()
    else:
        real = request.getfixturevalue(request.param)
        bench = FarmBench(real) if isinstance(real, Farm) else ServerBench(real)
    yield bench
    await bench.close()


async def read_all(owner: OwnerQueue, count_max: int = 1_000) -> list[Message]:
    """Read until nothing more comes."""
    messages: list[Message] = []
    while more := await owner.read(count_max=count_max, wait_ms_max=0):
        messages += more
    return messages


async def append(gateway: GatewayQueue, *entries: QueueEntry) -> list[AppendStatus]:
    """Append and return what became of each entry."""
    return [result.status for result in (await gateway.append(entries)).results]


async def test_a_second_append_gets_the_first_ones_record(bench: Bench) -> None:
    """A key is taken once; whoever brings it again learns what it was taken with."""
    gateway, key = bench.gateway(), uuid4()
    first = an_entry(3, key)
    second = an_entry(3, key, amount_minor=1)._replace(accepted_at_ms=first.accepted_at_ms + 5)
    new = (await gateway.append([first])).results[0]
    duplicate = (await gateway.append([second])).results[0]
    assert new.status is AppendStatus.NEW
    assert duplicate == new._replace(status=AppendStatus.DUPLICATE)
    assert duplicate.fingerprint == first.fingerprint != second.fingerprint
    assert len(await read_all(bench.owner(3))) == 1


async def test_a_repetition_learns_that_the_first_one_was_removed(bench: Bench) -> None:
    """Owners remove what the books hold, so the gateway need not ask anybody else."""
    gateway, owner, entry = bench.gateway(), bench.owner(3), an_entry(3)
    first = (await gateway.append([entry])).results[0]
    waiting = (await gateway.append([entry])).results[0]
    assert (first.is_removed, waiting.is_removed) == (False, False)
    assert await owner.remove(await read_all(owner)) == 1
    repeated = (await gateway.append([entry])).results[0]
    assert repeated == waiting._replace(is_removed=True)


async def test_a_key_twice_in_one_call_is_taken_once(bench: Bench) -> None:
    """Two entries of one key in a micro-batch are one order."""
    key = uuid4()
    statuses = await append(bench.gateway(), an_entry(0, key), an_entry(1), an_entry(0, key))
    assert statuses == [AppendStatus.NEW, AppendStatus.NEW, AppendStatus.DUPLICATE]
    assert len(await read_all(bench.owner(0, 1))) == 2


async def test_every_partition_gets_its_own_commands_back(bench: Bench) -> None:
    """What was appended is read as it was, in order, in the partition it was for."""
    commands = [a_command() for _ in range(60)]
    entries = [
        an_entry(n % 7, c.idempotency_key)._replace(fields=encode_command(c))
        for n, c in enumerate(commands)
    ]
    await bench.gateway().append(entries)
    messages = await read_all(bench.owner(*range(7)))
    for partition_index in range(7):
        found = [m.command for m in messages if m.partition_index == partition_index]
        assert found == commands[partition_index::7]


async def test_a_full_stream_refuses_and_leaves_no_trace(bench: Bench) -> None:
    """A stream never grows beyond its limit, known keys are still answered, others go on."""
    bench.stream_length_max = 2
    gateway, key, refused = bench.gateway(), uuid4(), an_entry(5)
    entries = [an_entry(5, key), an_entry(5), refused, an_entry(6), an_entry(5, key)]
    assert await append(gateway, *entries) == [
        AppendStatus.NEW,
        AppendStatus.NEW,
        AppendStatus.FULL,
        AppendStatus.NEW,
        AppendStatus.DUPLICATE,
    ]
    assert await gateway.find(5, refused.order_uuid, timeout_ms=DURABLE_MS) is None
    assert len(await read_all(bench.owner(5, 6))) == 3


async def test_a_full_server_refuses_new_keys(bench: Bench) -> None:
    """The number of keys on the server is bounded, whatever the streams hold."""
    bench.stream_length_max, bench.record_count_max = 3, 4
    gateway, (first, second, third) = bench.gateway(), bench.neighbours
    await append(gateway, an_entry(first), an_entry(first))
    statuses = await append(gateway, an_entry(second), an_entry(first), an_entry(third))
    # Two records, a stream, and one more record reach 4; the second stream is a key, too.
    assert statuses[:2] == [AppendStatus.NEW, AppendStatus.FULL]
    assert statuses[2] is AppendStatus.FULL


async def test_an_append_is_bounded(bench: Bench) -> None:
    """Nobody blocks the server for long with one call."""
    with pytest.raises(InvariantViolation):
        await bench.gateway().append([an_entry() for _ in range(APPEND_ENTRIES_MAX + 1)])


@pytest.mark.parametrize("is_duplicate", [False, True])
async def test_nothing_is_durable_without_the_replica(bench: Bench, is_duplicate: bool) -> None:
    """With the replica frozen, neither a new order nor a repeated one is confirmed."""
    entry = an_entry()
    if is_duplicate:
        other = bench.gateway()
        assert await other.wait_durable(await other.append([entry]), timeout_ms=DURABLE_MS)
    bench.freeze_replica()
    gateway = bench.gateway()
    batch = await gateway.append([entry])
    assert (batch.results[0].status is AppendStatus.DUPLICATE) is is_duplicate
    assert not await gateway.wait_durable(batch, timeout_ms=TOO_SHORT_MS)
    bench.thaw_replica()
    assert await gateway.wait_durable(batch, timeout_ms=DURABLE_MS)


async def test_waiting_on_another_connection_is_refused(bench: Bench) -> None:
    """A wait proves something on the connection of its append alone."""
    gateway, entry = bench.gateway(), an_entry()
    batch = await gateway.append([entry])
    await bench.drop_connections()
    with pytest.raises(ConnectionReplaced):
        await gateway.wait_durable(batch, timeout_ms=DURABLE_MS)
    again = await gateway.append([entry])
    assert again.results[0].status is AppendStatus.DUPLICATE
    assert again.generation != batch.generation
    with pytest.raises(ConnectionReplaced):
        await gateway.wait_durable(batch, timeout_ms=DURABLE_MS)
    assert await gateway.wait_durable(again, timeout_ms=DURABLE_MS)


async def test_find_knows_an_order_before_and_after_its_intake(bench: Bench) -> None:
    """The record answers for a key; the command is there until it was taken in."""
    gateway, owner, command = bench.gateway(), bench.owner(2), a_command()
    entry = an_entry(2, command.idempotency_key)
    assert await gateway.find(2, command.order_uuid, timeout_ms=DURABLE_MS) is None
    await append(gateway, entry)
    found = await gateway.find(2, command.order_uuid, timeout_ms=DURABLE_MS)
    assert found is not None
    assert (found.fingerprint, found.accepted_at_ms) == (entry.fingerprint, entry.accepted_at_ms)
    assert found.command == command
    await owner.remove(await read_all(owner))
    found = await gateway.find(2, command.order_uuid, timeout_ms=DURABLE_MS)
    assert found is not None
    assert found.command is None


async def test_find_answers_nothing_that_the_replica_lacks(bench: Bench) -> None:
    """What a read tells must outlive the primary, like what an append tells."""
    gateway, entry = bench.gateway(), an_entry()
    batch = await gateway.append([entry])
    assert await gateway.wait_durable(batch, timeout_ms=DURABLE_MS)
    bench.freeze_replica()
    with pytest.raises(StorageUnavailable):
        await bench.gateway().find(0, entry.order_uuid, timeout_ms=TOO_SHORT_MS)


async def test_an_unreadable_message_says_whose_it_is(bench: Bench) -> None:
    """A message nobody can decode still names its order, and does not hide its neighbours."""
    gateway, bad, good = bench.gateway(), with_unreadable_payload(an_entry()), an_entry()
    await append(gateway, bad, good)
    first, second = await read_all(bench.owner(0))
    assert (first.command, first.order_uuid) == (None, bad.order_uuid)
    assert first.fingerprint == bad.fingerprint
    assert first.reason.startswith("payload_malformed")
    assert first.raw == bad.fields
    assert second.command is not None
    found = await gateway.find(0, bad.order_uuid, timeout_ms=DURABLE_MS)
    assert found is not None
    assert found.command is None


async def test_a_read_is_bounded_and_shared(bench: Bench) -> None:
    """A busy partition fills what the others leave, and never starves them."""
    gateway = bench.gateway()
    await append(gateway, *(an_entry(0) for _ in range(50)))
    await append(gateway, *(an_entry(n) for n in range(1, 6)))
    owner = bench.owner(*range(6))
    counts = Counter(m.partition_index for m in await owner.read(count_max=24, wait_ms_max=0))
    assert counts == {0: 19, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1}
    assert len(await read_all(owner, count_max=7)) == 31


async def test_more_partitions_than_messages_asked_for(bench: Bench) -> None:
    """Each partition gets its turn, however little is read at a time."""
    await append(bench.gateway(), *(an_entry(n % 5) for n in range(20)))
    owner = bench.owner(*range(5))
    counts = Counter[int]()
    for _ in range(5):
        messages = await owner.read(count_max=2, wait_ms_max=0)
        assert len(messages) == 2
        counts.update(m.partition_index for m in messages)
    assert counts.keys() == set(range(5))


async def test_a_read_wakes_for_the_first_message(bench: Bench) -> None:
    """A waiting reader hears of a new order at once, and gives up in time when there is none."""
    gateway, owner = bench.gateway(), bench.owner(0, 1)
    assert await owner.read(count_max=10, wait_ms_max=30) == []
    reading = asyncio.create_task(_read(owner, wait_ms_max=20_000))
    await asyncio.sleep(0.05)
    await append(gateway, an_entry(1))
    assert len(await asyncio.wait_for(reading, 10)) == 1


async def _read(owner: OwnerQueue, *, wait_ms_max: int) -> list[Message]:
    return list(await owner.read(count_max=10, wait_ms_max=wait_ms_max))


async def test_only_owned_partitions_are_read(bench: Bench) -> None:
    """A partition is read from its start when it is taken over, and not once it is given up."""
    await append(bench.gateway(), an_entry(0), an_entry(1))
    owner = bench.owner(0)
    assert [m.partition_index for m in await read_all(owner)] == [0]
    owner.own(frozenset({0, 1}))
    assert [m.partition_index for m in await read_all(owner)] == [1]
    owner.own(frozenset({1}))
    owner.own(frozenset({0}))
    assert [m.partition_index for m in await read_all(owner)] == [0]
    owner.own(frozenset())
    assert await owner.read(count_max=10, wait_ms_max=1) == []


async def test_a_resting_partition_keeps_its_place(bench: Bench) -> None:
    """While a partition rests the others are read; then it goes on where it was."""
    await append(bench.gateway(), an_entry(0), an_entry(1))
    owner = bench.owner(0, 1)
    assert sorted(m.partition_index for m in await read_all(owner)) == [0, 1]
    later = (an_entry(0), an_entry(1))
    await append(bench.gateway(), *later)
    owner.own(frozenset({0, 1}), frozenset({0}))
    assert [m.order_uuid for m in await read_all(owner)] == [later[1].order_uuid]
    owner.own(frozenset({0, 1}), frozenset({0, 1}))
    assert await owner.read(count_max=10, wait_ms_max=1) == []
    owner.own(frozenset({0, 1}))
    assert [m.order_uuid for m in await read_all(owner)] == [later[0].order_uuid]


async def test_rereading_brings_all_that_was_not_removed(bench: Bench) -> None:
    """Nothing about reading is stored: until its removal, a message can be read again."""
    await append(bench.gateway(), *(an_entry(0) for _ in range(3)))
    owner = bench.owner(0)
    messages = await read_all(owner)
    assert await owner.remove(messages[:1]) == 1
    assert await read_all(owner) == []
    owner.reread(frozenset({0, 9}))
    assert [m.stream_id for m in await read_all(owner)] == [m.stream_id for m in messages[1:]]


async def test_removal_takes_exactly_what_was_named(bench: Bench) -> None:
    """Other messages, also newer ones, stay; a second removal finds nothing."""
    gateway, owner = bench.gateway(), bench.owner(0, 1)
    await append(gateway, an_entry(0), an_entry(1), an_entry(0))
    messages = await read_all(owner)
    await append(gateway, an_entry(0))
    assert await owner.remove([messages[0], messages[-1]]) == 2
    assert await owner.remove([messages[0], messages[-1]]) == 0
    assert await owner.remove([]) == 0
    assert len(await read_all(bench.owner(0, 1))) == 2


async def test_a_stale_removal_is_dropped_and_read_again(bench: Bench) -> None:
    """A host that was frozen deletes nothing by what it knew before."""
    await append(bench.gateway(), an_entry(0))
    owner = bench.owner(0)
    messages = await read_all(owner)
    bench.clock.advance(REMOVAL_AGE_S_MAX + 0.1)
    assert await owner.remove(messages) == 0
    again = await read_all(owner)
    assert [m.stream_id for m in again] == [m.stream_id for m in messages]
    assert await owner.remove(again) == 1


async def test_a_removal_does_not_cross_connections(bench: Bench) -> None:
    """On a new connection ids may mean other messages: what was read before is read again."""
    await append(bench.gateway(), an_entry(0))
    owner = bench.owner(0)
    messages = await read_all(owner)
    await bench.drop_connections()
    await _until_reconnected(owner, messages)
    again = await read_all(owner)
    assert [m.stream_id for m in again] == [m.stream_id for m in messages]
    assert again[0].generation != messages[0].generation
    assert await owner.remove(again) == 1


async def _until_reconnected(owner: OwnerQueue, stale: list[Message]) -> None:
    """Try the stale removal until it reaches a new connection; it never removes anything."""
    try:
        assert await owner.remove(stale) == 0
    except StorageUnavailable:
        assert await owner.remove(stale) == 0


async def test_a_reply_needs_no_listener(bench: Bench) -> None:
    """Replies are a courtesy: publishing to nobody is no fault."""
    await bench.owner(0).publish("reply:nobody", b"payload")


async def test_a_stream_is_read_raw_from_any_place(bench: Bench) -> None:
    """Undecoded, in order, as often as wanted; positions of ordinary reads stay, and removal works."""
    gateway, owner = bench.gateway(), bench.owner(1)
    assert await owner.waiting(frozenset({1, 2})) == frozenset()
    entries = [an_entry(1) for _ in range(3)]
    await gateway.append(entries)
    assert await owner.waiting(frozenset({1, 2})) == frozenset({1})
    first = await owner.read_raw(1, after="0-0", count_max=2)
    assert [message.raw for message in first] == [entry.fields for entry in entries[:2]]
    assert {(m.command, m.order_uuid, m.reason) for m in first} == {(None, None, "")}
    (third,) = await owner.read_raw(1, after=first[-1].stream_id, count_max=2)
    assert third.raw == entries[2].fields
    assert len(await owner.read(count_max=10, wait_ms_max=0)) == 3
    assert await owner.remove([*first, third]) == 3
    assert await owner.read_raw(1, after="0-0", count_max=9) == []
