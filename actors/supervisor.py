"""The supervisor: keeps as many hosts running as the operator wants. It owns no partition and no money.

Hosts share the partitions among themselves (``actors.leases``); the supervisor only starts and stops
hosts. Payments flow while it is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import structlog

from storage.ports import StorageUnavailable

_log = structlog.get_logger(__name__)

# How often the wish and the running hosts are compared. A host that died is restarted by Ray itself.
_LOOK_EVERY_S = 0.5

# A host that has not ended its drain by then is ended: its leases lapse and others take over.
_STOP_S_MAX = 30.0


class HostSpawner(Protocol):
    """Starts and stops hosts by name; the only thing that knows how they are run."""

    async def running(self) -> frozenset[str]:
        """Names of the hosts that exist now."""
        ...

    async def start(self, name: str) -> None: ...

    async def stop(self, name: str, *, timeout_s: float) -> None:
        """Drain the host, then end it, at the latest after ``timeout_s``."""
        ...


def host_name(index: int) -> str:
    """The name of the index-th host."""
    return f"host-{index}"


class Supervisor:
    """Compares what runs with what is wanted, for ever."""

    def __init__(
        self,
        spawner: HostSpawner,
        read_host_count: Callable[[], Coroutine[Any, Any, int | None]],
        *,
        default_host_count: int,
    ) -> None:
        self._spawner = spawner
        self._read_host_count = read_host_count
        self._wanted_count = default_host_count

    async def run(self) -> None:
        """Look again and again. While the ledger is away, the last wish stands."""
        while True:
            try:
                wanted_count = await self._read_host_count()
                if wanted_count is not None:
                    self._wanted_count = wanted_count
            except StorageUnavailable as unavailable:
                _log.warning("intent_unreadable", reason=unavailable.reason)
            await self.step()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def step(self) -> None:
        """Start what is missing, then stop what is too much: partitions always have somewhere to go."""
        wanted = {host_name(index) for index in range(self._wanted_count)}
        running = await self._spawner.running()
        for name in sorted(wanted - running):
            _log.info("host_starting", host=name)
            await self._spawner.start(name)
        too_many = sorted(running - wanted)
        if too_many:
            _log.info("hosts_stopping", hosts=too_many)
            await asyncio.gather(
                *(self._spawner.stop(name, timeout_s=_STOP_S_MAX) for name in too_many)
            )
