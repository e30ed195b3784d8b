"""Ray, wrapped once: the only file that imports it. Hosts and supervisor know nothing of Ray.

Ray places and restarts processes; it carries no payment. ``max_restarts=-1`` brings a dead host back as
a new incarnation that rebuilds from the ledger; ``max_task_retries=0`` because the queue redelivers, so
Ray must never repeat an effect on its own.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import ray
import structlog

from actors.building import HostProcess, build_host
from actors.supervisor import Supervisor
from runtime.collector import spare_the_living
from runtime.config import Config, load_config
from runtime.logs import configure_logs
from storage.intent import IntentStore
from storage.opening_books import read_pool

_log = structlog.get_logger(__name__)

SUPERVISOR_NAME = "tally-supervisor"
HOST_PREFIX = "tally-"

# A worker imports everything anew; on a busy machine that takes several seconds.
_START_TIMEOUT_S = 30.0


class HostActor:
    """One partition host in a Ray worker.

    After a crash Ray runs the constructor again and nothing else, so the work begins there.
    """

    def __init__(self, config_path: str, name: str) -> None:
        self._config = load_config(Path(config_path), os.environ)
        configure_logs(process_name=name)
        self._name = name
        self._process: HostProcess | None = None
        self._run: asyncio.Task[None] | None = None
        self._starting = asyncio.get_event_loop().create_task(self.start())
        self._starting.add_done_callback(_exit_on_failure)

    async def start(self) -> int:
        """Begin to own partitions; again does nothing. Returns the process id."""
        if self._run is None:
            self._process = build_host(self._config, name=self._name, environment=os.environ)
            spare_the_living()
            self._run = asyncio.create_task(self._process.run())
            self._run.add_done_callback(_exit_on_failure)
        return os.getpid()

    async def drain(self) -> None:
        """Hand everything over; returns when nothing is owned any more."""
        if self._process is not None and self._run is not None:
            self._process.stop()
            await asyncio.wait([self._run])


class SupervisorActor:
    """The supervisor in a Ray worker."""

    def __init__(self, config_path: str) -> None:
        config = load_config(Path(config_path), os.environ)
        configure_logs(process_name="supervisor")
        pool = read_pool(
            config,
            config.postgres.shards[0],
            "owner",
            application_name="tally supervisor",
            session_count_max=1,
        )
        intents = IntentStore(pool)

        async def read_host_count() -> int | None:
            return (await intents.read()).host_count

        self._supervisor = Supervisor(
            RayHosts(config, config_path),
            read_host_count,
            default_host_count=config.actors.host_count,
        )
        self._run: asyncio.Task[None] | None = None
        self._starting = asyncio.get_event_loop().create_task(self.start())
        self._starting.add_done_callback(_exit_on_failure)

    async def start(self) -> int:
        """Begin to supervise; again does nothing. Returns the process id."""
        if self._run is None:
            self._run = asyncio.create_task(self._supervisor.run())
            self._run.add_done_callback(_exit_on_failure)
        return os.getpid()


def _exit_on_failure(task: asyncio.Task[Any]) -> None:
    """End the worker: only a fresh process rebuilds from the ledger alone, and Ray starts it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("actor_failed", error=repr(error))
        os._exit(1)


class RayHosts:
    """Hosts as named, detached actors: they outlive whoever made them."""

    def __init__(self, config: Config, config_path: str) -> None:
        self._namespace = str(config.deployment.id)
        self._config_path = config_path

    async def running(self) -> frozenset[str]:
        actors = await asyncio.to_thread(ray.util.list_named_actors, all_namespaces=True)
        return frozenset(
            actor["name"].removeprefix(HOST_PREFIX)
            for actor in actors
            if actor["namespace"] == self._namespace
            and actor["name"].startswith(HOST_PREFIX + "host-")
        )

    async def start(self, name: str) -> None:
        handle = await asyncio.to_thread(self._create, name)
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await handle.start.remote()
        except (TimeoutError, ray.exceptions.RayError) as error:
            # Ray goes on starting it; the next look finds it running, or not.
            _log.warning("host_start_unanswered", host=name, error=repr(error))

    async def stop(self, name: str, *, timeout_s: float) -> None:
        try:
            handle = await asyncio.to_thread(
                ray.get_actor, HOST_PREFIX + name, namespace=self._namespace
            )
        except ValueError:
            return  # it is gone already
        try:
            async with asyncio.timeout(timeout_s):
                await handle.drain.remote()
        except (TimeoutError, ray.exceptions.RayError) as error:
            _log.warning("host_drain_failed", host=name, error=repr(error))
        await asyncio.to_thread(ray.kill, handle, no_restart=True)

    def _create(self, name: str) -> Any:
        # Clusters name the machines meant for hosts by this resource; a laptop names none.
        resources: Any = ray.cluster_resources()  # type: ignore[no-untyped-call]
        has_places = "partition_host" in resources
        named = host_actor().options(
            name=HOST_PREFIX + name,
            namespace=self._namespace,
            lifetime="detached",
            get_if_exists=True,
            resources={"partition_host": 1} if has_places else None,
            scheduling_strategy="SPREAD",
        )
        return named.remote(self._config_path, name)


def host_actor() -> Any:
    """Wrap the host for Ray."""
    return ray.remote(max_restarts=-1, max_task_retries=0, num_cpus=0)(HostActor)


def start_supervisor(config: Config, config_path: str, *, timeout_s: float) -> int:
    """Connect to the cluster, make sure that its supervisor runs, and return the supervisor's process id.

    The address is always explicit: "auto" would pick an older cluster of somebody else.
    """
    ray.init(
        address=config.ray.address,
        namespace=str(config.deployment.id),
        log_to_driver=False,
        configure_logging=False,
    )
    wrapped: Any = ray.remote(max_restarts=-1, max_task_retries=0, num_cpus=0)(SupervisorActor)
    named = wrapped.options(
        name=SUPERVISOR_NAME,
        namespace=str(config.deployment.id),
        lifetime="detached",
        get_if_exists=True,
    )
    handle = named.remote(config_path)
    pid: Any = ray.get(handle.start.remote(), timeout=timeout_s)
    ray.shutdown()
    return int(pid)
