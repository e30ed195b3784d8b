"""Real servers for the queue beside the session's pair: a pair under a Sentinel, and a small cluster.

Fixtures (registered in tests/conftest.py): `sentinel_farm` and `cluster_farm`, one of each for the
whole session, started when a test first asks for it. Everything is on loopback.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from redis.crc import key_slot

from ops.local.layout import StackHome
from ops.local.ports import LOOPBACK, free_port
from ops.local.process import ChildProcess, ProcessSpec, start_process
from ops.local.resp import Reply, RespError, ask
from ops.local.valkey import find_program
from ops.local.valkey_settings import render_settings
from storage.queue import QueueSettings
from storage.queue_keys import stream_key
from storage.queue_settings import QueueMode
from tests.servers import LoopThread

AnyFarm = TypeVar("AnyFarm", bound="Farm")

MEMORY_BYTES_MAX = 256 * 1024**2
PRIMARY_COUNT = 3
SENTINEL_NAME = "orders"
# Servers count as lost after this; on a busy machine a healthy one may be silent for long.
NODE_TIMEOUT_MS = 2_000
READY_S = 60.0
POLL_S = 0.05


class Farm(ABC):
    """Servers of one home. Its methods block, but for those that are coroutines."""

    def __init__(self, root: Path, thread: LoopThread) -> None:
        self.home = StackHome.prepare(root / "var")
        self.password = "a password of this test's own"
        self.primaries: dict[int, ChildProcess] = {}
        """By port."""
        self.replicas: dict[int, ChildProcess] = {}
        self.others: list[ChildProcess] = []
        self._ports: list[int] = []
        self._thread = thread

    @abstractmethod
    async def build(self) -> None:
        """Start everything, and wait until it serves."""

    @abstractmethod
    def settings(self, *, stream_length_max: int, record_count_max: int) -> QueueSettings:
        """How to reach it, and what it may hold."""

    def new_port(self) -> int:
        self._ports.append(free_port(self._ports))
        return self._ports[-1]

    def start(self, port: int, *more: str, primary_port: int | None = None) -> ChildProcess:
        """Start one server that keeps what is written as ours do."""
        directory = self.home.data / str(port)
        directory.mkdir()
        text = render_settings(
            port=port,
            directory=directory,
            password=self.password,
            memory_bytes_max=MEMORY_BYTES_MAX,
            primary_port=primary_port,
        )
        return self.run_server(port, text + "\n".join((*more, "")))

    def run_server(self, port: int, text: str, *more: str) -> ChildProcess:
        path = self.home.data / f"{port}.conf"
        path.write_text(text)
        argv = [str(find_program()), str(path), *more]
        return start_process(self.home, ProcessSpec(name=f"farm_{port}", argv=argv))

    async def ask(self, port: int, *command: str) -> Reply:
        (reply,) = await ask(port, self.password, command)
        return reply

    def empty(self) -> None:
        """Forget every key and script."""

        async def emptied() -> None:
            for port in self.primaries:
                await ask(port, self.password, ("FLUSHALL",), ("SCRIPT", "FLUSH"))

        self._thread.run(emptied())

    def signal_replicas(self, number: signal.Signals) -> None:
        for replica in self.replicas.values():
            os.kill(replica.pid, number)

    async def until(self, is_so: Callable[[], Awaitable[bool]]) -> None:
        """Wait for what servers that are not up yet may still answer with an error."""
        deadline_s = time.monotonic() + READY_S
        while True:
            try:
                if await is_so():
                    return
            except RespError:
                pass
            assert time.monotonic() < deadline_s, f"not in {READY_S} s: {is_so.__name__}"
            await asyncio.sleep(POLL_S)

    async def is_in_step(self) -> bool:
        """Has every primary its replica?"""
        for port in self.primaries:
            if "state=online" not in str(await self.ask(port, "INFO", "replication")):
                return False
        return True

    def stop(self) -> None:
        for child in (*self.others, *self.replicas.values(), *self.primaries.values()):
            if child.is_running:
                os.kill(child.pid, signal.SIGKILL)
            self._thread.run(child.stop())


class SentinelFarm(Farm):
    """A pair, and one Sentinel that may promote on its own."""

    async def build(self) -> None:
        first, second, self.sentinel_port = (self.new_port() for _ in range(3))
        self.primaries[first] = self.start(first)
        self.replicas[second] = self.start(second, primary_port=first)
        await self.until(self.is_in_step)
        lines = (
            f"port {self.sentinel_port}",
            f"bind {LOOPBACK}",
            f"dir {self.home.data}",
            f"sentinel monitor {SENTINEL_NAME} {LOOPBACK} {first} 1",
            f'sentinel auth-pass {SENTINEL_NAME} "{self.password}"',
            f"sentinel down-after-milliseconds {SENTINEL_NAME} {NODE_TIMEOUT_MS}",
            f"sentinel failover-timeout {SENTINEL_NAME} 10000",
            f'requirepass "{self.password}"',
            "",
        )
        self.others.append(self.run_server(self.sentinel_port, "\n".join(lines), "--sentinel"))
        await self.until(self.knows_replica)

    async def knows_replica(self) -> bool:
        """Has the Sentinel found the replica, without which it could promote none?"""
        replicas = await self.ask(self.sentinel_port, "SENTINEL", "REPLICAS", SENTINEL_NAME)
        return isinstance(replicas, list) and len(replicas) == 1

    def settings(self, *, stream_length_max: int, record_count_max: int) -> QueueSettings:
        where = f"{LOOPBACK}:{self.sentinel_port}"
        return QueueSettings(
            url=f"redis://{where}",
            password=self.password,
            mode=QueueMode.SENTINEL,
            sentinel_addresses=(where,),
            sentinel_name=SENTINEL_NAME,
            sentinel_password=self.password,
            replicas_awaited=1,
            replica_count=1,
            stream_length_max=stream_length_max,
            record_count_max=record_count_max,
        )


class ClusterFarm(Farm):
    """Three primaries with a replica each: as few as can promote."""

    def __init__(self, root: Path, thread: LoopThread) -> None:
        super().__init__(root, thread)
        self._bus_ports: dict[int, int] = {}
        self.pairs: dict[int, int] = {}
        """Each replica's primary, both by port."""

    async def build(self) -> None:
        for _ in range(PRIMARY_COUNT):
            port, replica_port = self.new_port(), self.new_port()
            self.primaries[port] = self._start_member(port)
            self.replicas[replica_port] = self._start_member(replica_port)
        self.pairs = dict(zip(self.replicas, self.primaries, strict=True))
        await self.until(self._all_answer)
        first = next(iter(self.primaries))
        edges = [16_384 * n // PRIMARY_COUNT for n in range(PRIMARY_COUNT + 1)]
        for n, port in enumerate(self.primaries):
            await self.ask(port, "CLUSTER", "SET-CONFIG-EPOCH", str(n + 1))
            await self.ask(port, "CLUSTER", "ADDSLOTSRANGE", str(edges[n]), str(edges[n + 1] - 1))
        for port in (*self.primaries, *self.replicas):
            if port != first:
                bus_port = str(self._bus_ports[port])
                await self.ask(first, "CLUSTER", "MEET", LOOPBACK, str(port), bus_port)
        await self.until(self._all_met)
        for replica_port, port in self.pairs.items():
            node_id = str(await self.ask(port, "CLUSTER", "MYID"))
            await self.ask(replica_port, "CLUSTER", "REPLICATE", node_id)
        await self.until(self._is_whole)

    def partitions_by_port(self, partition_count: int) -> dict[int, list[int]]:
        """Which partitions each primary serves."""
        places: dict[int, list[int]] = {port: [] for port in self.primaries}
        ports = list(self.primaries)
        for index in range(partition_count):
            slot = key_slot(stream_key(index))
            places[ports[min(PRIMARY_COUNT - 1, slot * PRIMARY_COUNT // 16_384)]].append(index)
        return places

    def settings(self, *, stream_length_max: int, record_count_max: int) -> QueueSettings:
        first, *others = (f"{LOOPBACK}:{port}" for port in self.primaries)
        return QueueSettings(
            url=f"redis://{first}",
            password=self.password,
            mode=QueueMode.CLUSTER,
            other_addresses=tuple(others),
            replicas_awaited=1,
            replica_count=1,
            stream_length_max=stream_length_max,
            record_count_max=record_count_max,
        )

    def _start_member(self, port: int) -> ChildProcess:
        bus_port = self._bus_ports[port] = self.new_port()
        return self.start(
            port,
            "cluster-enabled yes",
            f"cluster-port {bus_port}",
            f"cluster-node-timeout {NODE_TIMEOUT_MS}",
            "cluster-config-file nodes.conf",
        )

    async def _all_answer(self) -> bool:
        for port in (*self.primaries, *self.replicas):
            await self.ask(port, "PING")
        return True

    async def _all_met(self) -> bool:
        for port in (*self.primaries, *self.replicas):
            nodes = str(await self.ask(port, "CLUSTER", "NODES")).splitlines()
            if len([line for line in nodes if "handshake" not in line]) != 2 * PRIMARY_COUNT:
                return False
        return True

    async def _is_whole(self) -> bool:
        for port in (*self.primaries, *self.replicas):
            if "cluster_state:ok" not in str(await self.ask(port, "CLUSTER", "INFO")):
                return False
        return await self.is_in_step()


def _running(farm_class: type[AnyFarm]) -> Iterator[AnyFarm]:
    root = Path(tempfile.mkdtemp(prefix="tallystick-farm-"))
    thread = LoopThread()
    try:
        farm = farm_class(root, thread)
        try:
            thread.run(farm.build())
            yield farm
        finally:
            farm.stop()
    finally:
        thread.close()
        shutil.rmtree(root)


@pytest.fixture(scope="session")
def sentinel_farm() -> Iterator[SentinelFarm]:
    """A pair under a Sentinel."""
    yield from _running(SentinelFarm)


@pytest.fixture(scope="session")
def cluster_farm() -> Iterator[ClusterFarm]:
    """A cluster of three pairs."""
    yield from _running(ClusterFarm)


@pytest.fixture
def own_sentinel_farm() -> Iterator[SentinelFarm]:
    """One for a test that breaks it."""
    yield from _running(SentinelFarm)


@pytest.fixture
def own_cluster_farm() -> Iterator[ClusterFarm]:
    """One for a test that breaks it."""
    yield from _running(ClusterFarm)
