"""The queue on real servers that are frozen, killed, cut off and promoted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from ops.local.layout import StackHome
from ops.local.ports import free_port
from ops.local.resp import Reply as RespReply
from ops.local.resp import ask
from ops.local.valkey import ValkeyPair, find_program
from ops.local.valkey_node import ValkeyNode
from runtime.faults import StorageUnavailable
from storage.queue import QueueSettings, RedisGatewayQueue, RedisOwnerQueue
from storage.queue_keys import record_key, stream_key
from storage.queue_ports import AppendStatus, ConnectionReplaced
from storage.queue_sessions import SingleSessionConnection, new_session
from storage.replies import Reply, ReplyListener, encode_reply, reply_channel
from tests.manual_clock import ManualClock
from tests.queue_commands import an_entry
from tests.servers import SharedServers

DURABLE_MS = 5_000
TOO_SHORT_MS = 150


class QueueServers:
    """A Valkey pair, and the connections to it."""

    def __init__(self, pair: ValkeyPair) -> None:
        self.pair = pair
        self.clock = ManualClock()
        self._open: list[RedisGatewayQueue | RedisOwnerQueue] = []

    def settings(self, *, url: str | None = None) -> QueueSettings:
        return QueueSettings(
            url=url or self.pair.primary_url,
            replicas_awaited=1,
            replica_count=1,
            stream_length_max=10_000,
            record_count_max=100_000,
            reply_timeout_s=1.0,
        )

    def gateway(self, *, url: str | None = None) -> RedisGatewayQueue:
        gateway = RedisGatewayQueue(self.settings(url=url))
        self._open.append(gateway)
        return gateway

    def owner(self, *partition_indexes: int, url: str | None = None) -> RedisOwnerQueue:
        owner = RedisOwnerQueue(self.settings(url=url), clock=self.clock)
        owner.own(frozenset(partition_indexes))
        self._open.append(owner)
        return owner

    async def ask(self, *command: str, node: ValkeyNode | None = None) -> RespReply:
        """The reply to one command, on a connection that did nothing before."""
        port = (node or self.pair.primary).port
        (reply,) = await ask(port, self.pair.password, command)
        return reply

    async def kill(self, node: ValkeyNode) -> None:
        child = node.child()
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()

    @contextlib.contextmanager
    def frozen(self, node: ValkeyNode) -> Iterator[None]:
        """The server stands still inside the block."""
        pid = node.child().pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    async def close(self) -> None:
        for queue in self._open:
            await queue.close()


@pytest.fixture
async def queue_servers(servers: SharedServers) -> AsyncIterator[QueueServers]:
    """The session's pair, emptied: for faults that leave it whole."""
    servers.empty_valkey()
    queue_servers = QueueServers(servers.stores.valkey)
    yield queue_servers
    await queue_servers.close()


@pytest.fixture
async def own_servers(tmp_path: Path) -> AsyncIterator[QueueServers]:
    """A pair for one test, which may do with it what it likes."""
    first = free_port()
    ports = {"valkey_1": first, "valkey_2": free_port([first])}
    pair = ValkeyPair(StackHome.prepare(tmp_path / "var"), ports, find_program())
    servers = QueueServers(pair)
    try:
        await pair.start(lambda _: None)
        yield servers
    finally:
        await servers.close()
        await pair.stop()


async def append_durably(gateway: RedisGatewayQueue, partition_index: int, key: UUID) -> None:
    """Append one order and have it confirmed."""
    batch = await gateway.append([an_entry(partition_index, key)])
    assert await gateway.wait_durable(batch, timeout_ms=DURABLE_MS)


async def keys_read(owner: RedisOwnerQueue) -> set[UUID]:
    """The keys of everything in the owner's streams."""
    keys: set[UUID] = set()
    while messages := await owner.read(count_max=1_000, wait_ms_max=0):
        keys |= {m.command.idempotency_key for m in messages if m.command is not None}
    return keys


async def test_a_bare_wait_lies_on_a_new_connection(queue_servers: QueueServers) -> None:
    """Why duplicates are answered with a write: after a mere read, WAIT confirms what nobody holds."""
    gateway, entry = queue_servers.gateway(), an_entry()
    with queue_servers.frozen(queue_servers.pair.replica):
        batch = await gateway.append([entry])
        assert not await gateway.wait_durable(batch, timeout_ms=TOO_SHORT_MS)

        # The lie: a new connection reads the record, then waits, and is told that one replica has all.
        record = record_key(0, entry.order_uuid).decode()
        port, password = queue_servers.pair.primary.port, queue_servers.pair.password
        commands = (("HGET", record, "t"), ("WAIT", "1", "200"))
        assert await ask(port, password, *commands) == [str(entry.accepted_at_ms), 1]

        # The truth, from the duplicate branch on an equally new connection.
        other = queue_servers.gateway()
        duplicate = await other.append([entry])
        assert duplicate.results[0].status is AppendStatus.DUPLICATE
        assert not await other.wait_durable(duplicate, timeout_ms=TOO_SHORT_MS)
    assert await other.wait_durable(duplicate, timeout_ms=DURABLE_MS)


async def test_without_waitaof_wait_counts_the_replicas(queue_servers: QueueServers) -> None:
    """On Redis 7.0 the older WAIT takes over, and is as strict about the count."""
    gateway = queue_servers.gateway()
    batch = await gateway.append([an_entry()])
    connection = gateway._connection
    assert connection._session is not None
    assert connection._session.has_waitaof
    connection._session = replace(connection._session, has_waitaof=False)
    assert await gateway.wait_durable(batch, timeout_ms=DURABLE_MS)
    with queue_servers.frozen(queue_servers.pair.replica):
        batch = await gateway.append([an_entry()])
        assert not await gateway.wait_durable(batch, timeout_ms=TOO_SHORT_MS)


async def test_a_replica_that_catches_up_is_heard_at_once(queue_servers: QueueServers) -> None:
    """A replica that gets the write and the question together doesn't cost its next second."""
    gateway, delays_s = queue_servers.gateway(), []
    for _ in range(5):
        with queue_servers.frozen(queue_servers.pair.replica):
            batch = await gateway.append([an_entry()])
            waiting = asyncio.create_task(gateway.wait_durable(batch, timeout_ms=DURABLE_MS))
            await asyncio.sleep(0.05)
        thawed_s = time.monotonic()
        assert await waiting
        delays_s.append(time.monotonic() - thawed_s)
    assert sorted(delays_s)[2] < 0.2


async def test_a_connection_killed_before_the_wait(queue_servers: QueueServers) -> None:
    """When the connection of the script dies, the wait says so instead of trying another one."""
    gateway, entry = queue_servers.gateway(), an_entry()
    batch = await gateway.append([entry])
    await queue_servers.ask("CLIENT", "KILL", "TYPE", "normal")
    with pytest.raises(ConnectionReplaced):
        await gateway.wait_durable(batch, timeout_ms=DURABLE_MS)
    again = await gateway.append([entry])
    assert again.generation == batch.generation + 1
    assert await gateway.wait_durable(again, timeout_ms=DURABLE_MS)


async def test_a_session_never_connects_twice(queue_servers: QueueServers) -> None:
    """redis-py's silent reconnection is shut: a session that lost its socket is over."""
    settings = queue_servers.settings()
    connection = new_session(settings, settings.address())
    assert isinstance(connection, SingleSessionConnection)
    await connection.connect()  # type: ignore[no-untyped-call]
    await queue_servers.ask("CLIENT", "KILL", "TYPE", "normal")
    with pytest.raises(RedisConnectionError):
        await connection.read_response()
    assert not connection.is_connected
    with pytest.raises(RedisConnectionError, match="session has ended"):
        await connection.send_command("PING")
    with pytest.raises(RedisConnectionError, match="session has ended"):
        await connection.connect()  # type: ignore[no-untyped-call]


async def test_a_cancelled_wait_costs_the_connection(queue_servers: QueueServers) -> None:
    """A reply that nobody took is never taken for the answer to a later question."""
    gateway, key = queue_servers.gateway(), uuid4()
    with queue_servers.frozen(queue_servers.pair.replica):
        batch = await gateway.append([an_entry(0, key)])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await gateway.wait_durable(batch, timeout_ms=60_000)
        with pytest.raises(ConnectionReplaced):
            await gateway.wait_durable(batch, timeout_ms=TOO_SHORT_MS)
        again = await gateway.append([an_entry(0, key), an_entry(1)])
    statuses = [result.status for result in again.results]
    assert statuses == [AppendStatus.DUPLICATE, AppendStatus.NEW]


async def test_racing_callers_get_their_own_answers(queue_servers: QueueServers) -> None:
    """Callers that share a connection, some of them impatient, never see each other's replies."""
    gateway, rng = queue_servers.gateway(), random.Random(7)
    found_count = 0

    async def use(partition_index: int) -> None:
        nonlocal found_count
        entry = an_entry(partition_index)
        with contextlib.suppress(TimeoutError, ConnectionReplaced, StorageUnavailable):
            async with asyncio.timeout(rng.choice((0.001, 0.01, 5.0))):
                batch = await gateway.append([entry])
                assert batch.results[0].stream_id
                if await gateway.wait_durable(batch, timeout_ms=DURABLE_MS):
                    found = await gateway.find(
                        partition_index, entry.order_uuid, timeout_ms=DURABLE_MS
                    )
                    assert found is not None
                    assert found.command is not None
                    assert found.command.order_uuid == entry.order_uuid
                    found_count += 1

    for _ in range(3):
        await asyncio.gather(*(use(index) for index in range(12)))
    assert found_count > 0


async def test_a_frozen_primary_is_given_up_in_time(queue_servers: QueueServers) -> None:
    """A primary that takes commands and never answers is away, not a reason to hang."""
    gateway, owner = queue_servers.gateway(), queue_servers.owner(0)
    batch = await gateway.append([an_entry()])
    await owner.read(count_max=1, wait_ms_max=0)
    with queue_servers.frozen(queue_servers.pair.primary):
        async with asyncio.timeout(5):
            with pytest.raises(StorageUnavailable):
                await gateway.wait_durable(batch, timeout_ms=TOO_SHORT_MS)
            with pytest.raises(StorageUnavailable):
                await owner.read(count_max=1, wait_ms_max=100)
    await append_durably(gateway, 0, uuid4())


async def test_a_killed_primary_loses_nothing_acknowledged(own_servers: QueueServers) -> None:
    """What was confirmed before a kill -9 is there after the restart."""
    gateways = [own_servers.gateway() for _ in range(2)]
    confirmed: set[UUID] = set()

    async def feed(gateway: RedisGatewayQueue) -> None:
        with contextlib.suppress(StorageUnavailable, ConnectionReplaced):
            while True:
                keys = [uuid4() for _ in range(16)]
                batch = await gateway.append([an_entry(n % 4, k) for n, k in enumerate(keys)])
                if await gateway.wait_durable(batch, timeout_ms=DURABLE_MS):
                    confirmed.update(keys)

    feeding = [asyncio.create_task(feed(gateway)) for gateway in gateways]
    await asyncio.sleep(0.5)
    await own_servers.kill(own_servers.pair.primary)
    await asyncio.wait_for(asyncio.gather(*feeding), 10)
    await own_servers.pair.start(lambda _: None)
    assert len(confirmed) > 100
    assert confirmed <= await keys_read(own_servers.owner(*range(4)))
    # The server forgot the scripts too; that is no fault.
    await append_durably(gateways[0], 0, uuid4())


async def test_a_lost_primary_loses_nothing_acknowledged(own_servers: QueueServers) -> None:
    """What was confirmed is on the replica: promoted, it has everything, and serves."""
    pair, gateway, keys = own_servers.pair, own_servers.gateway(), [uuid4() for _ in range(50)]
    batch = await gateway.append([an_entry(n % 4, key) for n, key in enumerate(keys)])
    assert await gateway.wait_durable(batch, timeout_ms=DURABLE_MS)
    await own_servers.kill(pair.primary)
    replica_url = pair.replica_urls[0]
    await own_servers.ask("REPLICAOF", "NO", "ONE", node=pair.replica)
    assert set(keys) == await keys_read(own_servers.owner(*range(4), url=replica_url))
    repeated = await own_servers.gateway(url=replica_url).append([an_entry(0, keys[0])])
    assert repeated.results[0] == batch.results[0]._replace(status=AppendStatus.DUPLICATE)


async def test_a_replica_is_refused(queue_servers: QueueServers) -> None:
    """Nobody appends to, or reads from, a server that is not the primary."""
    replica_url = queue_servers.pair.replica_urls[0]
    with pytest.raises(StorageUnavailable, match="replica"):
        await queue_servers.gateway(url=replica_url).append([an_entry()])
    with pytest.raises(StorageUnavailable, match="replica"):
        await queue_servers.owner(0, url=replica_url).read(count_max=1, wait_ms_max=0)


async def test_a_wrong_password_is_a_fault(queue_servers: QueueServers) -> None:
    """A server that won't let us in is away, and the fault does not tell the password."""
    settings = replace(queue_servers.settings(), password="not the password")
    with pytest.raises(StorageUnavailable) as caught:
        await RedisGatewayQueue(settings).append([an_entry()])
    assert "not the password" not in str(caught.value)


async def test_another_history_on_the_same_socket(own_servers: QueueServers) -> None:
    """A changed replication id is noticed within a second: all is read again, nothing removed."""
    pair, gateway, owner = own_servers.pair, own_servers.gateway(), own_servers.owner(0)
    await append_durably(gateway, 0, uuid4())
    before = await owner.read(count_max=10, wait_ms_max=0)
    # A failover and back, without the socket noticing.
    await own_servers.ask("REPLICAOF", "NO", "ONE", node=pair.replica)
    await own_servers.ask("REPLICAOF", "127.0.0.1", str(pair.replica.port))
    own_servers.clock.advance(1.1)
    with pytest.raises(StorageUnavailable):
        await owner.read(count_max=10, wait_ms_max=0)
    await own_servers.ask("REPLICAOF", "NO", "ONE")
    own_servers.clock.advance(1.1)
    assert await owner.remove(before) == 0
    after = await owner.read(count_max=10, wait_ms_max=0)
    assert [m.stream_id for m in after] == [m.stream_id for m in before]
    assert after[0].generation > before[0].generation


async def test_a_demoted_primary_takes_no_order(own_servers: QueueServers) -> None:
    """A primary that became a replica under an open connection refuses, and is left."""
    pair, gateway = own_servers.pair, own_servers.gateway()
    await append_durably(gateway, 0, uuid4())
    await own_servers.ask("REPLICAOF", "127.0.0.1", str(pair.replica.port))
    with pytest.raises(StorageUnavailable):
        await gateway.append([an_entry()])
    await own_servers.ask("REPLICAOF", "NO", "ONE")
    batch = await gateway.append([an_entry()])
    assert batch.results[0].status is AppendStatus.NEW


async def test_a_record_stays_small_and_expires_after_its_removal(
    queue_servers: QueueServers,
) -> None:
    """A key costs one listpack, without an end while it waits, and 15 minutes after its intake."""
    gateway, owner, entry = queue_servers.gateway(), queue_servers.owner(0), an_entry()
    record = record_key(0, entry.order_uuid).decode()
    for _ in range(3):
        await gateway.append([entry])
    assert await queue_servers.ask("OBJECT", "ENCODING", record) == "listpack"
    assert await queue_servers.ask("HGET", record, "n") == "2"
    assert await queue_servers.ask("TTL", record) == -1
    assert await owner.remove(await owner.read(count_max=1, wait_ms_max=0)) == 1
    assert await queue_servers.ask("TTL", record) in {899, 900}
    assert await queue_servers.ask("XLEN", stream_key(0).decode()) == 0
    assert await queue_servers.ask("DBSIZE") == 2


async def test_a_malformed_call_writes_nothing(queue_servers: QueueServers) -> None:
    """The script checks everything before its first write, since nothing would undo it."""
    gateway, good = queue_servers.gateway(), an_entry()
    with pytest.raises(StorageUnavailable, match="malformed"):
        await gateway.append([good, an_entry()._replace(fields=())])
    await queue_servers.ask("SET", stream_key(1).decode(), "not a stream")
    with pytest.raises(StorageUnavailable, match="WRONGTYPE"):
        await gateway.append([good, an_entry(1)])
    assert await queue_servers.ask("DBSIZE") == 1


async def test_replies_come_through_a_restart(own_servers: QueueServers) -> None:
    """A gateway hears of its orders again after the server came back, without being told."""
    received: asyncio.Queue[Reply] = asyncio.Queue()
    listening = asyncio.Event()
    channel = reply_channel("gateway-1")
    listener = ReplyListener(
        own_servers.settings(),
        channel,
        on_reply=received.put_nowait,
        on_listening=listening.set,
    )
    task = asyncio.create_task(listener.run())
    owner, key = own_servers.owner(0), uuid4()
    try:
        await asyncio.wait_for(listening.wait(), 10)
        await owner.publish(channel, b"\xc1")
        await owner.publish(channel, encode_reply(taken_in=[key], settled=[]))
        assert await asyncio.wait_for(received.get(), 10) == Reply(taken_in=(key,), settled=())
        assert listener.unreadable_count == 1
        await own_servers.kill(own_servers.pair.primary)
        listening.clear()
        await own_servers.pair.start(lambda _: None)
        await asyncio.wait_for(listening.wait(), 10)
        with contextlib.suppress(StorageUnavailable):
            await owner.publish(channel, encode_reply(taken_in=[], settled=[key]))
        await owner.publish(channel, encode_reply(taken_in=[], settled=[key]))
        assert await asyncio.wait_for(received.get(), 10) == Reply(taken_in=(), settled=(key,))
        assert listener.lost_count > 0
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
