"""One question to the queue, and to who reads it, for each of their mutants."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

from runtime.clock import SystemClock
from storage.queue_keys import stream_key
from storage.queue_owner import RedisOwnerQueue
from storage.redis_script import RedisScript
from tests.fakes.fake_host import PARTITION_COUNT, World
from tests.queue_commands import an_entry
from tests.unit.loadtest.mutants.probes_gateway import SETTINGS


class _Server:
    """One stream and a few keys: what RedisOwnerQueue sends, answered from memory."""

    def __init__(self, *stream_ids: bytes) -> None:
        self.items = {stream_id: list(an_entry().fields) for stream_id in stream_ids}
        self.keys: dict[bytes, bytes] = {}

    def answer(self, command: Sequence[Any]) -> Any:
        match command:
            case [b"XREAD", *_, cursor]:
                items = [list(item) for item in self.items.items() if item[0] > cursor]
                return [[stream_key(0), items]] if items else None
            case [b"XDEL", _, *stream_ids]:
                names = [name.encode() for name in stream_ids]
                return sum(self.items.pop(name, None) is not None for name in names)
            case [b"XTRIM", _, b"MINID", first]:
                self.items = {name: item for name, item in self.items.items() if name >= first}
                return 0
            case [b"SET", key, value]:
                self.keys[key] = value.encode()
                return b"OK"
            case [b"GET", key]:
                return self.keys.get(key)
            case [b"EXPIRE", *_]:
                return 1
            case _:
                raise AssertionError(f"an owner sent {command}")


class _Connection:
    """One connection to it."""

    def __init__(self, server: _Server) -> None:
        self.server = server
        self.turn = asyncio.Lock()

    async def open(self) -> Any:
        return SimpleNamespace(generation=1, replication_id="one")

    async def exchange(
        self, commands: Iterable[Sequence[Any]], *, generation: int, wait_s: float = 0.0
    ) -> list[Any]:
        assert generation == 1
        assert wait_s >= 0
        replies: list[Any] = []
        queued: list[Any] | None = None
        for command in commands:
            if command[0] == b"MULTI":
                queued = []
                replies.append(b"OK")
            elif command[0] == b"EXEC":
                replies.append(queued)
                queued = None
            elif queued is not None:
                queued.append(self.server.answer(command))
                replies.append(b"QUEUED")
            else:
                replies.append(self.server.answer(command))
        return replies


def _owner(server: _Server) -> RedisOwnerQueue:
    queue = RedisOwnerQueue(SETTINGS, clock=SystemClock())
    vars(queue)["_connection"] = _Connection(server)
    queue.own(frozenset({0}))
    return queue


def duplicate_does_not_write() -> object:
    """How many writes the append script makes for a duplicate."""
    return RedisScript.from_package("append").source.count(b"call('HINCRBY', record, 'n', 1)")


def second_body_wins() -> object:
    """How many places of the append script add an order, and how many take one away."""
    source = RedisScript.from_package("append").source
    return [source.count(b"'XADD'"), source.count(b"'XDEL'")]


def stream_trimmed_by_length() -> object:
    """How many places of the append script trim."""
    return RedisScript.from_package("append").source.count(b"'MAXLEN'")


def removed_before_commit() -> object:
    """How many messages are left while none can be taken in."""

    async def ask() -> object:
        world = World()
        host = world.host()
        async with world.running(host):
            await world.until(lambda: len(host.partition_indexes) == PARTITION_COUNT)
            world.ledgers[0].is_available = False
            await world.post()
            await asyncio.sleep(0.4)
            return sum(map(len, world.server.copy.streams.values()))

    return asyncio.run(ask())


def removed_up_to_the_last_read() -> object:
    """Which messages are left when the first two of three were read, and only the first was taken in."""

    async def ask() -> object:
        server = _Server(b"1-0", b"2-0")
        queue = _owner(server)
        first, _second = await queue.read(count_max=10, wait_ms_max=0)
        server.items[b"3-0"] = list(an_entry().fields)
        removed_count = await queue.remove([first])
        return [removed_count, [name.decode() for name in server.items]]

    return asyncio.run(ask())


def cursor_stored() -> object:
    """How many messages a new owner reads after one who read two and took in none."""

    async def ask() -> object:
        server = _Server(b"1-0", b"2-0")
        counts = []
        for _ in range(2):
            counts.append(len(await _owner(server).read(count_max=10, wait_ms_max=0)))
            server.items[b"3-0"] = list(an_entry().fields)
        return counts

    return asyncio.run(ask())
