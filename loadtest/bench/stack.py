"""A stack of the benchmark's own: started as ``tally up`` does, in a temporary home, and deleted after."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg

from loadtest.bench.faults import BenchFailed
from loadtest.bench.plan import Options
from loadtest.bench.stores import Stores, ValkeyServer
from ops.local.layout import StackHome
from ops.local.postgres import DATABASE
from ops.local.postgres_settings import SUPERUSER
from ops.stack.client import start_stack, stop_stack
from ops.stack.config_file import OVERRIDES_FILE, PSP_NAME, read_config
from ops.stack.host_fleet import host_name
from ops.stack.secret_files import SANDBOX_KEY_FILE, SANDBOX_MERCHANT_FILE
from ops.stack.settings import StackSettings
from ops.stack.state import Addresses, Role, StackState, read_state
from storage.intent import IntentStore
from storage.opening_books import read_pool

SELLER_COUNT = 1_000
SELLERS = [f"seller_{number:04}" for number in range(SELLER_COUNT)]

# Hosts come one after the other, and the last takes its share from the first.
SPREAD_TIMEOUT_S = 60.0
# Orders in flight end in a second; a backlog of 50,000 takes some tens.
QUIET_TIMEOUT_S = 180.0
_LOOK_EVERY_S = 0.02

DAEMON = "stack_daemon"
"""The role of the process that started the others and watches them."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StackShape:
    """What a stack consists of. Written into the results: figures of two shapes don't compare."""

    gateway_count: int
    host_count: int
    is_ray_used: bool
    environment: Mapping[str, str]
    psp: str
    """``in_process``, or ``simulator`` over HTTP."""

    @classmethod
    def of(cls, options: Options, psp: str) -> StackShape:
        return cls(
            gateway_count=options.gateways,
            host_count=options.hosts,
            is_ray_used=options.is_ray_used,
            environment=options.environment,
            psp=psp,
        )


@dataclass(slots=True)
class BenchStack:
    """A running stack, and the benchmark's connections to its stores."""

    shape: StackShape
    root: Path
    home: StackHome
    addresses: Addresses
    stores: Stores
    api_key: str

    @classmethod
    async def start(cls, shape: StackShape, progress: Progress) -> BenchStack:
        """Start a stack on fresh data, with its sellers. Raises BenchFailed, LocalFault."""
        # Short, because Unix sockets lie below it.
        root = Path(tempfile.mkdtemp(prefix="tally-bench-"))
        try:
            (root / OVERRIDES_FILE).write_text(_overrides(shape), encoding="utf-8")
            settings = StackSettings(
                root=root,
                port_base=0,
                is_ray_used=shape.is_ray_used,
                passed_environment=shape.environment,
            )
            state = await _started(settings, progress)
            if state.addresses is None:
                raise BenchFailed("the stack runs, and has not told its addresses")
            home = StackHome(root)
            stores = await _open_stores(home, state, state.addresses)
            stack = cls(
                shape=shape,
                root=root,
                home=home,
                addresses=state.addresses,
                stores=stores,
                api_key=home.secret(SANDBOX_KEY_FILE),
            )
            await stores.fetch("make_sellers", home.secret(SANDBOX_MERCHANT_FILE), SELLERS)
            await stack.wait_spread()
        except BaseException:
            await asyncio.to_thread(remove, root, progress)
            raise
        return stack

    async def close(self, progress: Progress) -> None:
        """Stop it and delete everything."""
        await self.stores.close()
        await asyncio.to_thread(remove, self.root, progress)

    @property
    def gateway(self) -> tuple[str, int]:
        """Host and port of the API."""
        url = urlsplit(self.addresses.gateway_url)
        return url.hostname or "", url.port or 0

    def database_dsn(self, name: str) -> str:
        """The superuser's URL of a database on the primary."""
        return _dsn(self.home, self.addresses.postgres_primary, name)

    def roles(self) -> dict[int, str]:
        """The role of each process of the stack, by pid; children are not in it."""
        state = self._state()
        roles = {record.pid: str(record.role) for record in state.processes}
        roles[state.daemon_pid] = DAEMON
        return roles

    async def names(self) -> dict[int, str]:
        """The name of each process of the stack, by pid; no two share one."""
        state = self._state()
        hosts = {row["pid"]: row["host_name"] for row in await self.stores.fetch("hosts")}
        names: dict[int, str] = {state.daemon_pid: DAEMON}
        for record in state.processes:
            name = hosts.get(record.pid, record.name)
            names[record.pid] = name if name not in names.values() else f"{name}-{record.pid}"
        return names

    def host_pids(self) -> Sequence[int]:
        return [record.pid for record in self._state().processes if record.role is Role.HOST]

    async def rest_hosts(self) -> None:
        """Have every host give its partitions up, and wait until nobody owns any."""
        await self._set_drain(is_wanted=True)
        await self._wait_owned(lambda owned: owned == 0)

    async def work_hosts(self) -> float:
        """Let the hosts own partitions again; return when the first is owned (monotonic)."""
        await self._set_drain(is_wanted=False)
        return await self._wait_owned(lambda owned: owned > 0)

    @asynccontextmanager
    async def database(self, name: str) -> AsyncIterator[str]:
        """An empty database of that name, by its URL, while a run needs it.

        It goes with the run that filled it: autovacuum would come to its rows within a minute, and whatever
        runs then would be charged with it.
        """
        await self.stores.execute(f'CREATE DATABASE "{name}"')
        try:
            yield self.database_dsn(name)
        finally:
            await self.stores.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    async def taken_in_count(self) -> int:
        """How many orders the books ever took in."""
        return int((await self.stores.fetchrow("progress"))["taken_in"])

    async def settled_count(self) -> int:
        """How many orders have an outcome, counted row by row."""
        return int((await self.stores.fetchrow("settled"))["settled"])

    async def wait_quiet(self, taken_in_count: int) -> float:
        """Wait until so many orders are in the books and none is open; return when (monotonic).

        Raises BenchFailed when that takes too long.
        """
        deadline_s = time.monotonic() + QUIET_TIMEOUT_S
        row = None
        while time.monotonic() < deadline_s:
            row = await self.stores.fetchrow("progress")
            if row["taken_in"] >= taken_in_count and row["open"] == 0:
                return time.monotonic()
            await asyncio.sleep(_LOOK_EVERY_S)
        raise BenchFailed(
            f"not quiet after {QUIET_TIMEOUT_S:.0f} s: {row}, {taken_in_count} wanted"
        )

    async def wait_spread(self) -> None:
        """Wait until every host owns partitions, and all are owned. Raises BenchFailed."""
        deadline_s = time.monotonic() + SPREAD_TIMEOUT_S
        row = None
        while time.monotonic() < deadline_s:
            row = await self.stores.fetchrow("owners")
            is_spread = row["owners"] == len(self.host_pids()) == self.shape.host_count
            if is_spread and row["owned"] == self._state().partition_count:
                return
            await asyncio.sleep(_LOOK_EVERY_S)
        raise BenchFailed(f"partitions are not spread after {SPREAD_TIMEOUT_S:.0f} s: {row}")

    async def _wait_owned(self, is_enough: Callable[[int], bool]) -> float:
        deadline_s = time.monotonic() + SPREAD_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if is_enough((await self.stores.fetchrow("owners"))["owned"]):
                return time.monotonic()
            await asyncio.sleep(_LOOK_EVERY_S)
        raise BenchFailed(
            f"hosts did not hear within {SPREAD_TIMEOUT_S:.0f} s that they shall drain"
        )

    async def _set_drain(self, *, is_wanted: bool) -> None:
        config = read_config(self.root, {})
        pool = read_pool(
            config,
            config.postgres.shards[0],
            "gateway",
            application_name="tally bench",
            session_count_max=1,
        )
        try:
            for index in range(self.shape.host_count):
                await IntentStore(pool).set_drain(
                    host_name(index), is_wanted=is_wanted, actor="tally bench"
                )
        finally:
            await pool.close()

    def _state(self) -> StackState:
        state = read_state(self.root)
        if state is None or not state.is_daemon_alive:
            raise BenchFailed(f"the stack of {self.root} has died")
        return state


async def _started(settings: StackSettings, progress: Progress) -> StackState:
    """Start a stack. Whoever is cancelled meanwhile waits for it: half a stack can't be ended whole."""
    starting = asyncio.create_task(asyncio.to_thread(start_stack, settings, progress))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting])
        raise


def remove(root: Path, progress: Progress) -> None:
    """Stop whatever runs in a home, and delete it."""
    try:
        stop_stack(root, progress)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _overrides(shape: StackShape) -> str:
    lines = [
        *("[gateway]", f"process_count = {shape.gateway_count}", "drain_s = 6", ""),
        *("[actors]", f"host_count = {shape.host_count}", ""),
    ]
    if shape.psp == "in_process":
        lines += ["[[psps]]", f'name = "{PSP_NAME}"', 'kind = "in_process"', ""]
    return "\n".join(lines)


def _dsn(home: StackHome, address: str, database: str) -> str:
    password = quote(home.secret("postgres_superuser"), safe="")
    return f"postgresql://{SUPERUSER}:{password}@{address}/{database}"


async def _open_stores(home: StackHome, state: StackState, addresses: Addresses) -> Stores:
    pids = {record.role: record.pid for record in state.processes}
    primary: asyncpg.Connection[Any] = await asyncpg.connect(
        _dsn(home, addresses.postgres_primary, DATABASE)
    )
    standby: asyncpg.Connection[Any] = await asyncpg.connect(
        _dsn(home, addresses.postgres_standbys[0], DATABASE)
    )
    return Stores(
        primary,
        standby,
        valkey_password=home.secret("valkey"),
        valkey_primary=ValkeyServer(
            port=_port(addresses.redis_primary), pid=pids[Role.REDIS_PRIMARY]
        ),
        valkey_replica=ValkeyServer(
            port=_port(addresses.redis_replicas[0]), pid=pids[Role.REDIS_REPLICA]
        ),
    )


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
