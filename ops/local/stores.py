"""Both local stores together: what the stack, and the tests, start and stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.local.health import ServerHealth
from ops.local.layout import HomeLock, StackHome
from ops.local.logs import keep_bounded
from ops.local.ports import STORE_PORT_NAMES, claim_ports
from ops.local.postgres import PostgresPair
from ops.local.postgres_copies import PostgresCopies
from ops.local.postgres_programs import find_programs
from ops.local.valkey import ValkeyPair, find_program
from ops.local.valkey_copies import ValkeyCopies
from ops.local.valkey_settings import MEMORY_BYTES_MAX


def store_directories(home: StackHome) -> tuple[Path, ...]:
    """Where the servers' data lies: together with the stack's id this finds every process of it."""
    names = ("postgres-1", "postgres-2", "valkey-1", "valkey-2")
    return tuple(home.data / name for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Other programs than the wheels' (`None`: the wheels'), and bounds."""

    postgres_bin_directory: Path | None = None
    redis_program: Path | None = None
    redis_memory_bytes_max: int = MEMORY_BYTES_MAX


class LocalStores:
    """Postgres primary and standby, Valkey primary and replica, of one home."""

    def __init__(
        self, home: StackHome, ports: Mapping[str, int], settings: StoreSettings | None = None
    ) -> None:
        """Raises ServerMissing when a server's program is not there."""
        settings = settings or StoreSettings()
        self.home = home
        self._lock = HomeLock(home)
        programs = find_programs(home, settings.postgres_bin_directory)
        self.postgres = PostgresPair(home, ports, programs)
        self.valkey = ValkeyPair(
            home,
            ports,
            find_program(settings.redis_program),
            memory_bytes_max=settings.redis_memory_bytes_max,
        )
        self.postgres_copies = PostgresCopies(self.postgres)
        self.valkey_copies = ValkeyCopies(self.valkey)

    @classmethod
    def at(
        cls, root: Path, *, port_base: int, settings: StoreSettings | None = None
    ) -> LocalStores:
        """The stores of the home at `root`, on the ports it has or gets (0: free ones)."""
        home = StackHome.prepare(root)
        return cls(home, claim_ports(home, port_base, STORE_PORT_NAMES), settings)

    async def start(self, progress: Callable[[str], None]) -> None:
        """Start what isn't running and wait until every copy is in step.

        Also heals: a server that died is started again on its data. When anything fails at the
        first start all is stopped, and the first fault is raised: HomeInUse, PortInUse,
        DataRefused, ServerFailed, ToolFailed.
        """
        keep = self._lock.is_held  # what ran before goes on, whatever happens now
        self._lock.acquire()
        try:
            # Before anything is made: a taken port is found at once, not after half a start.
            await self.postgres.make_way()
            await self.valkey.make_way()
            # Both to their end, also when one fails: nothing may go on starting while we stop.
            results = await asyncio.gather(
                self.postgres.start(progress), self.valkey.start(progress), return_exceptions=True
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            keep = True
        finally:
            if not keep:  # failed or cancelled
                await self.stop()

    async def stop(self) -> None:
        """Stop all servers in good order, then give the home free."""
        try:
            await asyncio.gather(self.postgres.stop(), self.valkey.stop())
        finally:
            self._lock.release()

    async def health(self) -> list[ServerHealth]:
        """The state of the four servers."""
        postgres, valkey = await asyncio.gather(self.postgres.health(), self.valkey.health())
        return [*postgres, *valkey]

    async def tend_logs(self) -> None:
        """Keep the home's log files bounded, until cancelled."""
        await keep_bounded(self.home.logs)
