"""What the daemon runs, each as a service that can be started, found dead, started again, stopped."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from ops.local.health import ServerRole
from ops.local.layout import StackHome
from ops.local.logs import log_tail
from ops.local.postgres_node import PostgresNode
from ops.local.process import STOP_TIMEOUT_S, ChildProcess, ProcessSpec, start_process
from ops.local.stores import LocalStores
from ops.local.valkey_node import ValkeyNode
from ops.stack.state import ProcessRecord, Role

READY_POLL_S = 0.05
# Imports and first connections take two seconds on an idle laptop, ten on a busy one.
READY_TIMEOUT_S = 60.0

Progress = Callable[[str], None]


class Service(Protocol):
    """One thing to keep alive."""

    name: str

    async def start(self, progress: Progress) -> None:
        """Bring it up, or up again, and return once it is ready. Raises LocalFault."""
        ...

    def is_alive(self) -> bool: ...

    def describe_death(self) -> str:
        """What is known about its end, for the operator."""
        ...

    async def stop(self) -> None: ...

    def processes(self) -> Sequence[ProcessRecord]: ...


class ProcessService:
    """One child process. ``is_ready`` is asked again and again after a start until it says yes."""

    def __init__(
        self,
        home: StackHome,
        spec: ProcessSpec,
        role: Role,
        *,
        is_ready: Callable[[], Awaitable[bool]] | None = None,
        stop_timeout_s: float = STOP_TIMEOUT_S,
    ) -> None:
        self.name = spec.name
        self._home = home
        self._spec = spec
        self._role = role
        self._is_ready = is_ready
        self._stop_timeout_s = stop_timeout_s
        self._child: ChildProcess | None = None
        self._record: ProcessRecord | None = None

    async def start(self, progress: Progress) -> None:
        if self._child is not None and self._child.is_running:
            return
        child = start_process(self._home, self._spec)
        self._child = child
        self._record = ProcessRecord.of(self.name, child.pid, self._role)
        if self._is_ready is None:
            return
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + READY_TIMEOUT_S
        while not await self._is_ready():
            child.require_running()
            if loop.time() > deadline_s:
                raise child.failure(f"is not ready after {READY_TIMEOUT_S:.0f} s")
            await asyncio.sleep(READY_POLL_S)
        # What answered may be somebody else's: ours must live, too.
        child.require_running()

    def is_alive(self) -> bool:
        return self._child is not None and self._child.is_running

    @property
    def reaped_pid(self) -> int | None:
        """Of the process that died; None while one lives, or none was started."""
        return None if self._child is None or self._child.is_running else self._child.pid

    def describe_death(self) -> str:
        if self._child is None:
            return f"{self.name} was never started"
        path = self._child.log_path
        return f"{self.name} ended with code {self._child.returncode}. {path}:\n{log_tail(path)}"

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.stop(timeout_s=self._stop_timeout_s)

    def processes(self) -> Sequence[ProcessRecord]:
        return [self._record] if self._record is not None and self.is_alive() else []


class StoresService:
    """Postgres and Valkey, four servers in all."""

    name = "stores"

    def __init__(self, stores: LocalStores) -> None:
        self._stores = stores

    async def start(self, progress: Progress) -> None:
        await self._stores.start(progress)

    def is_alive(self) -> bool:
        return all(node.is_running for node in self._nodes().values())

    def describe_death(self) -> str:
        dead = [node for node in self._nodes().values() if not node.is_running]
        return "\n".join(
            f"{node.name} ended with code {node.child().returncode}. {node.child().log_path}:\n"
            f"{log_tail(node.child().log_path)}"
            for node in dead
            if node.process is not None
        )

    async def stop(self) -> None:
        await self._stores.stop()

    def processes(self) -> Sequence[ProcessRecord]:
        return [
            ProcessRecord.of(node.name, node.pid, Role(role.value))
            for role, node in self._nodes().items()
            if node.pid is not None
        ]

    def _nodes(self) -> Mapping[ServerRole, PostgresNode | ValkeyNode]:
        stores = self._stores
        return {
            ServerRole.POSTGRES_PRIMARY: stores.postgres.primary,
            ServerRole.POSTGRES_STANDBY: stores.postgres.standby,
            ServerRole.REDIS_PRIMARY: stores.valkey.primary,
            ServerRole.REDIS_REPLICA: stores.valkey.replica,
        }


def python_module(module: str, *arguments: str) -> list[str]:
    """The command line of one of our own programs, in this very Python."""
    # -P: the working directory holds data, not code.
    return [sys.executable, "-P", "-m", module, *arguments]
