"""Hosts without Ray: whose process was reaped loses its lease at once, and is started again."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from ops.local.layout import StackHome
from ops.local.process import ProcessSpec
from ops.stack.host_fleet import HostFleet
from ops.stack.services import ProcessService
from ops.stack.state import Role
from runtime.faults import StorageUnavailable


class Fleet:
    """Hosts that only sleep, and the leases that were ended."""

    def __init__(self, home: StackHome) -> None:
        self.released: list[tuple[str, int]] = []
        self.is_away = False

        def make_host(name: str) -> ProcessService:
            return ProcessService(home, ProcessSpec(name=name, argv=["sleep", "60"]), Role.HOST)

        self.hosts = HostFleet(make_host, self._read_wish, self._release, host_count=2)

    async def _read_wish(self) -> int | None:
        return None

    async def _release(self, name: str, pid: int) -> None:
        if self.is_away:
            raise StorageUnavailable("postgres", "away")
        self.released.append((name, pid))

    def pids(self) -> dict[str, int]:
        return {record.name: record.pid for record in self.hosts.processes()}


def quiet(_: str) -> None:
    """Progress that nobody reads."""


async def test_the_lease_of_a_dead_host_is_ended_once_and_before_its_next_start(
    tmp_path: Path,
) -> None:
    """The living keep theirs; books that are away get it later."""
    fleet = Fleet(StackHome.prepare(tmp_path / "var"))
    try:
        await fleet.hosts.start(quiet)
        await fleet.hosts.release_dead()
        assert fleet.released == []
        before = fleet.pids()
        os.kill(before["host-1"], signal.SIGKILL)
        while fleet.hosts.is_alive():  # a child's death has no event
            await asyncio.sleep(0.01)
        fleet.is_away = True
        await fleet.hosts.release_dead()
        fleet.is_away = False
        await fleet.hosts.start(quiet)
        await fleet.hosts.release_dead()
        assert fleet.released == [("host-1", before["host-1"])]
        after = fleet.pids()
        assert after["host-0"] == before["host-0"]
        assert after["host-1"] != before["host-1"]
    finally:
        await fleet.hosts.stop()
