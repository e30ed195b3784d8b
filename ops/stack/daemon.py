"""The stack's daemon: starts everything in order, keeps it alive, stops it in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from ops.counting import counted
from ops.local.faults import DataRefused
from ops.local.layout import StackHome
from ops.local.leftovers import marked_leftovers, stop_leftovers
from ops.local.logs import keep_bounded
from ops.local.ports import LOOPBACK, STORE_PORT_NAMES, claim_ports, require_free
from ops.local.stores import LocalStores, store_directories
from ops.merchants import ensure_sandbox
from ops.stack.books import prepare_books
from ops.stack.config_file import write_config
from ops.stack.host_fleet import HostFleet
from ops.stack.plan import (
    dispatcher_service,
    gateway_services,
    host_fleet,
    simulator_services,
)
from ops.stack.ray_head import RayService
from ops.stack.secret_files import require_secrets
from ops.stack.services import Service, StoresService
from ops.stack.settings import StackSettings
from ops.stack.state import Addresses, Phase
from ops.stack.store_serving import StoreCare
from ops.stack.telling import StateTeller
from ops.stack.waiting import canceled, together, together_with_death, wait_for_owners
from ops.stack.watching import LOOK_EVERY_S, keep_alive
from runtime.clock import SystemClock
from runtime.config import Config, ConfigError
from runtime.faults import Fault
from runtime.logs import get_logger
from storage.deployments import DeploymentDiffers
from storage.intent import IntentStore
from storage.migrations import MigrationChanged, MigrationUnknown
from storage.opening_books import read_pool
from storage.read_pool import ReadPool
from storage.reaping import ReapedLeases, reaped_leases

_log = get_logger(__name__)

LEFTOVER_TIMEOUT_S = 10.0

# What keeps a stack from starting, and what an operator can do something about.
StartFault = (Fault, ConfigError, MigrationChanged, MigrationUnknown, DeploymentDiffers)

# The processes of Ray are found by looking through /proc: rarely.
TELL_EVERY_S = 1.0


class StackDaemon:
    """All services of one home. `run` is the whole life of it."""

    def __init__(self, home: StackHome, settings: StackSettings, teller: StateTeller) -> None:
        self._home = home
        self._settings = settings
        self._teller = teller
        # In the order of the start: the last is stopped first.
        self._stages: list[Sequence[Service]] = []
        self._closables: list[ReadPool | ReapedLeases] = []
        self._stores: LocalStores | None = None
        self._ray: RayService | None = None
        self._config: Config | None = None

    async def run(self, stop: asyncio.Event) -> bool:
        """Start, watch until `stop` is set, and stop again. Returns whether it ever ran."""
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        error: str | None = None
        is_config_wrong = False
        if starting.done():
            fault = starting.exception()
            if fault is None:
                self._teller.phase(Phase.RUNNING)
                error = await self._watch(stopping)
            elif isinstance(fault, StartFault):
                error = str(fault)
                is_config_wrong = isinstance(fault, ConfigError)
            else:
                _log.error("start_failed", exc_info=fault)
                error = f"{type(fault).__name__}: {fault} (see {self._home.log_path('stack')})"
        else:
            await canceled(starting)
        stopping.cancel()
        await self._stop(error, is_config_wrong=is_config_wrong)
        return error is None

    async def _start(self) -> None:
        teller, home = self._teller, self._home
        await self._end_leftovers()
        require_secrets(home)
        ports = claim_ports(home, self._settings.port_base)
        stores = LocalStores(home, ports)
        redis_ports = (stores.valkey.primary.port, stores.valkey.replica.port)
        passed = self._settings.passed_environment
        config = write_config(home, ports, redis_ports, passed)
        require_free(ports, [name for name in ports if name not in STORE_PORT_NAMES])
        require_free({"gateway": config.gateway.port}, ["gateway"])
        ray = RayService(home, ports, passed) if self._settings.is_ray_used else None
        simulators = simulator_services(home, ports, config.gateway.port, passed)
        stores_service = StoresService(stores)
        self._stores, self._config, self._ray = stores, config, ray
        self._stages += [[stores_service], simulators, [ray] if ray else []]

        async def start_books() -> None:
            await stores_service.start(teller.progress)
            teller.progress("Books: bringing the schema up to date")
            dsn = stores.postgres.dsn(stores.postgres.superuser, stores.postgres.password)
            applied = await prepare_books(config, dsn)
            await ensure_sandbox(home, config)
            teller.progress(f"Books: ready ({counted(len(applied), 'migration')} applied)")

        heads = [] if ray is None else [ray.start_head(teller.progress)]
        starts = [simulator.start(teller.progress) for simulator in simulators]
        await together(start_books(), *starts, *heads)
        self._tell_addresses()
        await self._start_payers(config, ray)

    async def _start_payers(self, config: Config, ray: RayService | None) -> None:
        """Start what makes payments of the running stores: hosts and gateways, side by side."""
        teller, home = self._teller, self._home
        passed = self._settings.passed_environment
        shard = config.postgres.shards[0]
        pool = read_pool(
            config, shard, "owner", application_name="tally stack", session_count_max=1
        )
        self._closables.append(pool)
        gateways = gateway_services(home, config, passed)
        if ray is None:
            leases = reaped_leases(config, application_name="tally stack")
            self._closables.append(leases)
            fleet = host_fleet(
                home, config, passed, _host_count_of(pool), partial(_release_lease, leases)
            )
            self._stages.append([fleet])
            teller.progress("Hosts: starting")
            hosts = fleet.start(teller.progress)
        else:
            hosts = ray.start_supervisor(teller.progress)
        dispatcher = dispatcher_service(home, config, passed)
        self._stages += [[dispatcher], gateways]
        teller.progress("Gateway: starting")
        started = [dispatcher, *gateways]
        await together(hosts, *(service.start(teller.progress) for service in started))
        self._tell_processes()
        await together_with_death(
            wait_for_owners(
                pool,
                config.deployment.partition_count,
                default_host_count=config.actors.host_count,
            ),
            self._services(),
        )
        teller.progress(f"All {config.deployment.partition_count} partitions have an owner")

    async def _watch(self, stopping: asyncio.Task[bool]) -> str | None:
        """Keep everything alive until the stop is wanted. Returns the defect that ended it, if one did."""
        teller = self._teller
        watches = [
            asyncio.create_task(keep_alive(service, teller.problem))
            for service in self._services()
            if not isinstance(service, StoresService)
        ]
        if self._stores is not None:
            care = StoreCare(self._stores, teller.problem, clock=SystemClock())
            watches.append(asyncio.create_task(care.run()))
        watches.append(asyncio.create_task(keep_bounded(self._home.logs)))
        watches.append(asyncio.create_task(self._keep_telling()))
        watches += [
            asyncio.create_task(_keep_as_wanted(service))
            for service in self._services()
            if isinstance(service, HostFleet)
        ]
        # A watch ends only by a defect; then everything stops.
        await asyncio.wait([stopping, *watches], return_when=asyncio.FIRST_COMPLETED)
        await canceled(*watches)
        for result in await asyncio.gather(*watches, return_exceptions=True):
            if isinstance(result, Exception):
                _log.error("watch_failed", exc_info=result)
                return f"a defect of the stack itself: {result!r}"
        return None

    async def _keep_telling(self) -> None:
        while True:
            # While it is not clear which copy leads, there is nothing new to tell.
            with contextlib.suppress(DataRefused):
                self._tell_processes()
                self._tell_addresses()
            if self._ray is not None:
                for name, problem in self._ray.problems().items():
                    self._teller.problem(name, problem)
            await asyncio.sleep(TELL_EVERY_S)

    def _tell_addresses(self) -> None:
        """They stay, but a promotion changes which of them is whose."""
        if self._stores is None or self._config is None:
            return
        self._teller.addresses(
            addresses_of(self._config, self._stores),
            partition_count=self._config.deployment.partition_count,
        )

    def _tell_processes(self) -> None:
        self._teller.processes(
            [record for service in self._services() for record in service.processes()]
        )

    async def _stop(self, error: str | None, *, is_config_wrong: bool) -> None:
        """Stop stage by stage, the last first, and leave nothing behind."""
        self._teller.phase(Phase.STOPPING, error=error, is_config_wrong=is_config_wrong)
        for closable in self._closables:
            await closable.close()
        for stage in reversed(self._stages):
            if stage:
                self._teller.progress(f"Stopping {', '.join(service.name for service in stage)}")
            await asyncio.gather(*(service.stop() for service in stage))
        await self._end_leftovers()
        self._teller.processes([])
        self._teller.phase(Phase.STOPPED if error is None else Phase.FAILED)

    def _services(self) -> list[Service]:
        return [service for stage in self._stages for service in stage]

    async def _end_leftovers(self) -> None:
        """End what a daemon that died has left; Postgres first gets the chance to stop well."""
        home = self._home
        leftovers = marked_leftovers(home.stack_id(), store_directories(home))
        if leftovers:
            self._teller.progress(f"Ending {len(leftovers)} processes that were left over")
            await stop_leftovers(leftovers, timeout_s=LEFTOVER_TIMEOUT_S)


def addresses_of(config: Config, stores: LocalStores) -> Addresses:
    """Where everything listens, for whoever asks for the stack's status."""
    return Addresses(
        gateway_url=f"http://{config.gateway.host}:{config.gateway.port}",
        psp_url=config.psps[0].url,
        postgres_primary=f"{LOOPBACK}:{stores.postgres.primary.port}",
        postgres_standbys=[f"{LOOPBACK}:{stores.postgres.standby.port}"],
        redis_primary=f"{LOOPBACK}:{stores.valkey.primary.port}",
        redis_replicas=[f"{LOOPBACK}:{stores.valkey.replica.port}"],
        ray=config.ray.address or None,
    )


async def _keep_as_wanted(fleet: HostFleet) -> None:
    """Without Ray it is for us to tell of dead hosts, and to follow the operator's wish."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        await fleet.release_dead()
        if not await fleet.is_as_wanted():
            await fleet.start(lambda _: None)


async def _release_lease(leases: ReapedLeases, host_name: str, pid: int) -> None:
    # As hosts name the machine in their leases.
    await leases.release(host_name=host_name, node=socket.gethostname(), pid=pid)


def _host_count_of(pool: ReadPool) -> Callable[[], Coroutine[Any, Any, int | None]]:
    intents = IntentStore(pool)

    async def read() -> int | None:
        return (await intents.read()).host_count

    return read
