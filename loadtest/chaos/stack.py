"""A stack of one's own to break: every way between its processes leads through the proxy."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.bench.stack import remove
from loadtest.chaos.cells import HOST_KILLING_TEXT, REDIS
from loadtest.chaos.clocks import ShiftedClocks
from loadtest.chaos.disks import SmallDisks
from loadtest.chaos.failures import ChaosFailed, NotNow, NotPossible
from loadtest.chaos.proc import has_ended
from loadtest.chaos.proxy.client import ProxyProcess
from loadtest.chaos.routing import Routing, route_through_proxy
from ops.local.layout import StackHome
from ops.local.resp import Reply, RespError, ask
from ops.local.stores import LocalStores
from ops.stack.client import start_stack
from ops.stack.config_file import read_config
from ops.stack.secret_files import SANDBOX_KEY_FILE
from ops.stack.settings import StackSettings
from ops.stack.state import ProcessRecord, Role, StackState, read_state
from runtime.config import Config
from storage.opening_books import read_pool
from storage.read_pool import ReadPool

Progress = Callable[[str], None]

_LOOK_EVERY_S = 0.1

_ROLES: Mapping[str, Role] = {
    "gateway": Role.GATEWAY,
    "host": Role.HOST,
    "dispatcher": Role.DISPATCHER,
    "redis_primary": Role.REDIS_PRIMARY,
    "redis_replica": Role.REDIS_REPLICA,
    "postgres_primary": Role.POSTGRES_PRIMARY,
    "postgres_standby": Role.POSTGRES_STANDBY,
}
_PSPS = ("psp_a", "psp_b")
# The product's own schedule goes from half a minute to five, which is longer than a run waits until all
# is quiet: two faults of one PSP may each take a try away.
_UNKNOWN_RULE = {
    "strategy": "schedule",
    "schedule_ms": [500, 2_000, 5_000, 15_000, 30_000],
    "age_s_max": 30 * 86_400,
}
_RAY_NAMES = {"gcs": "gcs_server", "raylet": "raylet"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosShape:
    """What a stack consists of."""

    gateway_count: int = 2
    host_count: int = 2
    is_ray_used: bool = False
    has_small_disks: bool = False
    has_shifted_clocks: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    """What its processes get beside what they need."""


class ChaosStack:
    """A running stack. Its stores are asked over connections that come back by themselves."""

    def __init__(self, shape: ChaosShape, home: StackHome, routing: Routing) -> None:
        self.shape = shape
        self.home = home
        self.routing = routing
        self.crash_order = home.run / "crash_order"
        self.disks: SmallDisks | None = None
        self.disks_missing = "the mix has no disk fault"
        self.clocks: ShiftedClocks | None = None
        self.clocks_missing = "the mix shifts no clock"
        self._proxy: ProxyProcess | None = None
        self._stores: LocalStores | None = None
        self._pool: ReadPool | None = None
        self.config: Config | None = None

    @classmethod
    async def start(cls, shape: ChaosShape, progress: Progress) -> ChaosStack:
        """Start a stack on fresh data. Raises ChaosFailed, LocalFault."""
        # Short, because Unix sockets lie below it.
        root = Path(tempfile.mkdtemp(prefix="tally-chaos-"))
        home = StackHome.prepare(root)
        routing = route_through_proxy(
            home,
            gateway_count=shape.gateway_count,
            host_count=shape.host_count,
            settings={"gateway": {"drain_s": 6}, "retry.unknown": _UNKNOWN_RULE},
        )
        stack = cls(shape, home, routing)
        try:
            await stack._start(progress)
        except BaseException:
            await stack.close(progress)
            raise
        return stack

    async def _start(self, progress: Progress) -> None:
        if self.shape.has_small_disks:
            try:
                self.disks = await SmallDisks.prepare(self.home, progress)
            except NotPossible as reason:
                self.disks_missing = str(reason)
        if self.shape.has_shifted_clocks:
            try:
                self.clocks = await ShiftedClocks.prepare(self.home.run)
            except NotPossible as reason:
                self.clocks_missing = str(reason)
        self._proxy = await ProxyProcess.start(
            self.routing.routes, self.home.run, self.home.log_path("proxy")
        )
        settings = StackSettings(
            root=self.root,
            port_base=0,
            is_ray_used=self.shape.is_ray_used,
            passed_environment={
                **self.shape.environment,
                "TALLY_CRASH_ORDER": str(self.crash_order),
                "TALLY_CRASH_ON": HOST_KILLING_TEXT,
                **(self.clocks.environment() if self.clocks else {}),
            },
        )
        starting = asyncio.create_task(asyncio.to_thread(start_stack, settings, progress))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Half a stack can't be ended whole.
            await asyncio.wait([starting])
            raise
        config = read_config(self.root, {})
        self.config = config
        self._stores = LocalStores.at(self.root, port_base=0)
        self._pool = read_pool(
            config,
            config.postgres.shards[0],
            "reader",
            application_name="tally chaos",
            session_count_max=2,
        )

    async def close(self, progress: Progress) -> None:
        """Stop everything and delete it."""
        try:
            if self._pool is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(5.0):
                        await self._pool.close()
            await asyncio.to_thread(remove, self.root, progress)
        finally:
            if self._proxy is not None:
                await self._proxy.stop()
            if self.disks is not None:
                await self.disks.close()
            if self.clocks is not None:
                self.clocks.close()
            await asyncio.to_thread(shutil.rmtree, self.root, ignore_errors=True)

    @property
    def root(self) -> Path:
        return self.home.root

    @property
    def base_url(self) -> str:
        """The API, through the proxy."""
        return f"http://127.0.0.1:{self.routing.gateway_port}"

    @property
    def api_key(self) -> str:
        return self.home.secret(SANDBOX_KEY_FILE)

    @property
    def proxy(self) -> ProxyProcess:
        if self._proxy is None:
            raise ChaosFailed("the proxy does not run")
        return self._proxy

    @property
    def stores(self) -> LocalStores:
        """Questions to the servers, past the proxy; they are started and stopped by the stack alone."""
        if self._stores is None:
            raise ChaosFailed("the stack does not run")
        return self._stores

    @property
    def pool(self) -> ReadPool:
        if self._pool is None:
            raise ChaosFailed("the stack does not run")
        return self._pool

    def state(self) -> StackState:
        """What the daemon tells. Raises ChaosFailed when it died."""
        state = read_state(self.root)
        if state is None or not state.is_daemon_alive:
            raise ChaosFailed(
                f"the daemon of the stack has died; see {self.home.log_path('stack')}"
            )
        return state

    def records(self, target: str) -> list[ProcessRecord]:
        """The living processes of a target, by name. Raises NotPossible for one that the stack has not."""
        records = sorted(self.state().processes, key=lambda record: record.name)
        if target in _RAY_NAMES:
            found = [record for record in records if record.name == _RAY_NAMES[target]]
        elif target in _PSPS:
            simulators = [record for record in records if record.role is Role.PSP_SIMULATOR]
            number = _PSPS.index(target)
            found = simulators[number : number + 1]
        else:
            found = [record for record in records if record.role is _ROLES[target]]
        return [record for record in found if record.is_alive() and not has_ended(record.pid)]

    async def ask_redis(self, *commands: Sequence[str | bytes]) -> list[Reply]:
        """Ask the queue's primary, past the proxy. Raises RespError."""
        valkey = self.stores.valkey
        return await ask(valkey.primary.port, valkey.password, *commands)

    async def wait_whole(self, store: str, timeout_s: float) -> float:
        """Wait until both copies of a store are in step; return the seconds. Raises NotPossible."""
        began_s = time.monotonic()
        pair = self.stores.valkey if store == REDIS else self.stores.postgres
        while True:
            health = await pair.health()
            if all(server.is_healthy for server in health):
                return time.monotonic() - began_s
            if time.monotonic() - began_s > timeout_s:
                details = "; ".join(f"{server.name}: {server.detail}" for server in health)
                raise NotNow(f"{store} is not whole after {timeout_s:.0f} s ({details})")
            await asyncio.sleep(_LOOK_EVERY_S)

    async def wait_back(self, target: str, count: int, timeout_s: float) -> float | None:
        """Wait until a target has so many processes; return the seconds, or None when it never had."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < timeout_s:
            if len(self.records(target)) >= count and await self._takes_commands(target):
                return time.monotonic() - began_s
            await asyncio.sleep(_LOOK_EVERY_S)
        return None

    async def _takes_commands(self, target: str) -> bool:
        if target.startswith("postgres"):
            stores = self.stores.postgres
            node = stores.primary if target == "postgres_primary" else stores.standby
            return await node.answers()
        if target != "redis_primary":
            return True
        try:
            await self.ask_redis(("PING",))
        except RespError:
            return False
        return True
