"""Builds a host from the configuration: real stores, real PSPs, the machine's clock."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol
from uuid import UUID

from uuid_utils import uuid7

from actors.breakers import BreakerSettings
from actors.host import PartitionHost
from actors.host_ports import HostPorts
from actors.measuring import HostMetrics
from actors.metrics_serving import MetricsServing, listen_address
from actors.planning import OrderedPlanner
from actors.psp_lines import PspLimits
from actors.sacrificed import Setting
from actors.sacrificing import ChildProcessSacrifice, survivors_of_rows
from actors.settings import HostSettings
from psp.directory import open_psps
from psp.port import Psp
from psp.routes import table_of
from psp.settings import PspSettings, PspSettingsInvalid
from psp.stripe.connector import STRIPE_URL
from runtime.clock import SystemClock
from runtime.config import Config, ConfigError, ShardConfig
from runtime.crash_points import CrashPoints
from runtime.mutation import mutate
from runtime.psp_config import PspConfig
from storage.intent import IntentStore
from storage.ledger import PostgresLedger
from storage.opening import owner_queue, queue_settings
from storage.opening_books import connector, read_pool
from storage.ownership import PostgresOwnership
from storage.read_pool import ReadPool
from storage.unparking import PostgresUnparking


class Closable(Protocol):
    """What a host opened and has to close."""

    async def close(self) -> None: ...


class HostProcess:
    """All of one host process: a PartitionHost a shard, and what they share. Closes what it opened."""

    def __init__(
        self,
        hosts: Sequence[PartitionHost],
        resources: Sequence[Closable],
        serving: MetricsServing | None = None,
    ) -> None:
        self.hosts = hosts
        self._resources = resources
        self._serving = serving

    async def run(self) -> None:
        """Run every shard's host; the first that fails ends them all."""
        try:
            if self._serving is not None:
                # First, because a lease tells where the metrics are.
                await self._serving.start()
            async with asyncio.TaskGroup() as group:
                for host in self.hosts:
                    group.create_task(host.run())
        finally:
            await self.close()

    def stop(self) -> None:
        """Begin a drain: ``run`` ends when everything is handed over."""
        for host in self.hosts:
            host.stop()

    async def close(self) -> None:
        if self._serving is not None:
            await self._serving.close()
        for resource in self._resources:
            # The process ends: a connection that can't be closed in good order is closed by the kernel.
            with contextlib.suppress(OSError):
                await resource.close()


def build_host(config: Config, *, name: str, environment: Mapping[str, str]) -> HostProcess:
    """Open everything a host named ``name`` needs. Raises ConfigError; connects to nothing yet."""
    mutate(environment, is_sandbox=config.deployment.is_sandbox)
    clock = SystemClock()
    crash_points = CrashPoints.from_environment(
        environment, is_sandbox=config.deployment.is_sandbox
    )
    settings_of_psps = tuple(psp_settings(psp, config) for psp in config.psps)
    psps = open_psps(settings_of_psps, clock=clock)
    planner = OrderedPlanner(psps, table_of(config))
    metrics = HostMetrics()
    sacrifice = ChildProcessSacrifice(
        Setting(
            psps=settings_of_psps,
            policy=_settings(config, name).policy,
            is_sandbox=config.deployment.is_sandbox,
        )
    )
    resources: list[Closable] = [*psps.values(), sacrifice]
    hosts: list[PartitionHost] = []
    for shard in config.postgres.shards:
        ports, opened = _ports(
            config, shard, name, psps, planner, crash_points, clock, metrics, sacrifice
        )
        resources += opened
        incarnation = UUID(bytes=uuid7().bytes)
        hosts.append(PartitionHost(_settings(config, name), ports, incarnation, os.getpid()))
    listen = listen_address(config.actors.metrics_address, name)
    serving = MetricsServing(config, listen, metrics, hosts, clock) if listen else None
    return HostProcess(hosts, resources, serving)


def _ports(
    config: Config,
    shard: ShardConfig,
    name: str,
    psps: Mapping[str, Psp],
    planner: OrderedPlanner,
    crash_points: CrashPoints,
    clock: SystemClock,
    metrics: HostMetrics,
    sacrifice: ChildProcessSacrifice,
) -> tuple[HostPorts, list[Closable]]:
    link = connector(config, shard, "owner", application_name=f"tally host {name}")
    ledger = PostgresLedger(link, lane_count=config.actors.lane_count, probe=crash_points.reach)
    ownership = PostgresOwnership(
        link, ledger, tried=partial(survivors_of_rows, sacrifice), meets=crash_points.meet
    )
    settings = queue_settings(config)
    reading_queue, reply_queue = (
        owner_queue(settings, clock=clock),
        owner_queue(settings, clock=clock),
    )
    pool: ReadPool = read_pool(
        config, shard, "owner", application_name=f"tally host {name} intents", session_count_max=1
    )
    intents = IntentStore(pool)

    async def read_draining() -> frozenset[str]:
        return (await intents.read()).drains

    ports = HostPorts(
        ledger=ledger,
        ownership=ownership,
        reading_queue=reading_queue,
        reply_queue=reply_queue,
        psps=psps,
        planner=planner,
        read_draining=read_draining,
        clock=clock,
        crash_points=crash_points,
        metrics=metrics,
        sacrifice=sacrifice,
        unparking=PostgresUnparking(pool),
    )
    return ports, [ownership, ledger, reading_queue, reply_queue, pool]


def _settings(config: Config, name: str) -> HostSettings:
    actors = config.actors
    return HostSettings(
        name=name,
        node=socket.gethostname(),
        partition_count=config.deployment.partition_count,
        beat_ms=actors.beat_ms,
        lease_ms=actors.lease_ms,
        commands_per_flush_max=actors.commands_per_flush_max,
        partitions_per_flush_max=actors.partitions_per_flush_max,
        open_orders_max=actors.open_orders_max,
        drain_s=actors.drain_s,
        policy=config.retry.policy(),
        psp_limits={psp.name: _limits(psp, config) for psp in config.psps},
        resume_per_s=config.breaker.resume_per_s,
    )


def _limits(psp: PspConfig, config: Config) -> PspLimits:
    """What a PSP may take of a host: its own figures where it has them."""
    timeout_ms, breaker = config.actors.call_timeout_ms, config.breaker
    return PspLimits(
        in_flight_max=_in_flight_max(psp, config),
        charge_timeout_ms=psp.charge_timeout_ms or timeout_ms,
        query_timeout_ms=psp.query_timeout_ms or timeout_ms,
        cancel_timeout_ms=psp.cancel_timeout_ms or timeout_ms,
        is_success_watched=any(
            rule.success_percent_min and psp.name in rule.psps for rule in config.routing.rules
        ),
        breaker=BreakerSettings(
            window_calls=breaker.window_calls,
            calls_min=breaker.calls_min,
            failure_share=breaker.failure_share,
            streak_s=breaker.streak_s,
            open_ms=breaker.open_ms,
            open_ms_max=breaker.open_ms_max,
            probes=breaker.probes,
        ),
    )


def _in_flight_max(psp: PspConfig, config: Config) -> int:
    return psp.calls_in_flight_max or config.actors.calls_in_flight_max


def psp_settings(psp: PspConfig, config: Config) -> PspSettings:
    try:
        return _connector_settings(psp, config)
    except PspSettingsInvalid as invalid:
        raise ConfigError(f"psps: {invalid}") from invalid


def _connector_settings(psp: PspConfig, config: Config) -> PspSettings:
    if psp.kind == "in_process":
        return PspSettings(name=psp.name, kind="in_process", account=psp.account, seed=psp.seed)
    if psp.kind == "simulator":
        return PspSettings(
            name=psp.name,
            kind="simulator",
            url=psp.url,
            account=psp.account,
            connections_max=_in_flight_max(psp, config),
        )
    if psp.kind == "stripe":
        return PspSettings(
            name=psp.name,
            kind="stripe",
            url=psp.url or STRIPE_URL,
            account=psp.account,
            connections_max=_in_flight_max(psp, config),
            secret_key=config.secret(psp.secret_key_file),
            is_live=psp.mode == "live",
            return_url=psp.return_url,
        )
    raise ConfigError(f"psps: {psp.name}: unknown kind {psp.kind!r}")
