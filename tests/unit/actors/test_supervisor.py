"""The supervisor: as many hosts as wanted, started before others are stopped."""

from __future__ import annotations

import asyncio

import pytest

from actors import supervisor
from actors.supervisor import Supervisor
from storage.ports import StorageUnavailable


class FakeSpawner:
    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.log: list[str] = []

    async def running(self) -> frozenset[str]:
        return frozenset(self.names)

    async def start(self, name: str) -> None:
        self.names.add(name)
        self.log.append(f"start {name}")

    async def stop(self, name: str, *, timeout_s: float) -> None:
        self.names.discard(name)
        self.log.append(f"stop {name}")


async def nothing_wanted() -> int | None:
    return None


async def test_missing_hosts_start_and_surplus_ones_stop_afterwards() -> None:
    """Partitions always have somewhere to go."""
    spawner = FakeSpawner("host-1", "host-7")
    await Supervisor(spawner, nothing_wanted, default_host_count=2).step()
    assert spawner.log == ["start host-0", "stop host-7"]
    await Supervisor(spawner, nothing_wanted, default_host_count=2).step()
    assert len(spawner.log) == 2


async def test_the_last_wish_stands_while_the_ledger_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody is stopped because a row could not be read; no wish means the configured number."""
    monkeypatch.setattr(supervisor, "_LOOK_EVERY_S", 0.001)
    spawner = FakeSpawner()
    wishes: list[int | StorageUnavailable | None] = [
        None,
        3,
        StorageUnavailable("postgres", "away"),
    ]
    seen: list[int] = []
    all_read = asyncio.Event()

    async def read() -> int | None:
        seen.append(len(spawner.names))
        if not wishes:
            all_read.set()
            await asyncio.Event().wait()
        wish = wishes.pop(0)
        if isinstance(wish, StorageUnavailable):
            raise wish
        return wish

    run = asyncio.create_task(Supervisor(spawner, read, default_host_count=1).run())
    try:
        async with asyncio.timeout(5):
            await all_read.wait()
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
    assert seen == [0, 1, 3, 3]
    assert spawner.names == {"host-0", "host-1", "host-2"}
