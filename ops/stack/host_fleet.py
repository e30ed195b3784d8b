"""Partition hosts as plain processes, for a stack without Ray: as many as the operator wants."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from ops.stack.services import ProcessService, Progress
from ops.stack.state import ProcessRecord
from runtime.faults import StorageUnavailable


def host_name(index: int) -> str:
    """As the supervisor names them."""
    return f"host-{index}"


ReleaseLease = Callable[[str, int], Coroutine[Any, Any, None]]
"""Ends the lease of a host that is dead, by its name and the process id that it had."""


class HostFleet:
    """Several hosts as one service; dead ones are started again one by one."""

    name = "hosts"

    def __init__(
        self,
        make_host: Callable[[str], ProcessService],
        read_host_count: Callable[[], Coroutine[Any, Any, int | None]],
        release_lease: ReleaseLease,
        *,
        host_count: int,
    ) -> None:
        self._make_host = make_host
        self._read_host_count = read_host_count
        self._release_lease = release_lease
        self._released_pids: dict[str, int] = {}
        self._host_count = host_count
        self._hosts: dict[str, ProcessService] = {}

    async def start(self, progress: Progress) -> None:
        """Start what is missing, stop what is too much."""
        await self.release_dead()
        await self._read_wish()
        wanted = [host_name(index) for index in range(self._host_count)]
        for name in wanted:
            host = self._hosts.get(name) or self._make_host(name)
            self._hosts[name] = host
            await host.start(progress)
        too_many = [name for name in self._hosts if name not in wanted]
        await asyncio.gather(*(self._hosts.pop(name).stop() for name in too_many))

    async def release_dead(self) -> None:
        """End the leases of hosts that died: nobody else knows before they lapse."""
        for name, host in list(self._hosts.items()):
            pid = host.reaped_pid
            if pid is None or self._released_pids.get(name) == pid:
                continue
            with contextlib.suppress(StorageUnavailable):  # tried again, or it lapses
                await self._release_lease(name, pid)
                self._released_pids[name] = pid

    def is_alive(self) -> bool:
        return all(host.is_alive() for host in self._hosts.values())

    async def is_as_wanted(self) -> bool:
        """Are there as many hosts as the operator wants now?"""
        await self._read_wish()
        return len(self._hosts) == self._host_count

    def describe_death(self) -> str:
        return "\n".join(
            host.describe_death() for host in self._hosts.values() if not host.is_alive()
        )

    async def stop(self) -> None:
        await asyncio.gather(*(host.stop() for host in self._hosts.values()))

    def processes(self) -> Sequence[ProcessRecord]:
        return [record for host in self._hosts.values() for record in host.processes()]

    async def _read_wish(self) -> None:
        try:
            host_count = await self._read_host_count()
        except StorageUnavailable:
            return  # the last wish stands
        if host_count is not None:
            self._host_count = host_count
