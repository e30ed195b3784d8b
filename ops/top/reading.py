"""One look at a running stack: every process's metrics, and the books' rows about hosts and standbys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ops.http_probe import http_text
from ops.local.pidfile import identity_of
from ops.top.exposition import NoExposition, Samples
from runtime.asking import in_time
from runtime.config import Config
from storage.opening_books import read_pool
from storage.status import HostStatus, StatusQueries, StoreStatus

# A view that is drawn each second must not wait longer for one that hangs. Longer than a host's own
# look at its stores (actors/lag.py), so that a host is readable while they are not.
ASK_TIMEOUT_S = 1.5

METRICS_PATH = "/metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReading:
    """What one process said. Without samples ``reason`` says why."""

    name: str
    samples: Samples | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReading(ProcessReading):
    """A host, with its row in the books."""

    pid: int
    partition_indexes: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look. None stands for what could not be read."""

    at_s: float
    """Monotonic."""
    partition_count: int
    gateways: Sequence[ProcessReading]
    hosts: Sequence[HostReading] | None
    store: StoreStatus | None


class StackReader:
    """Looks at one stack again and again, on connections that it keeps."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._pool = read_pool(
            config,
            config.postgres.shards[0],
            "reader",
            application_name="tally top",
            session_count_max=2,
        )
        self._queries = StatusQueries(self._pool)

    async def read(self) -> Reading:
        """Ask everything at once; what does not answer in time is unreadable."""
        gateways, rows, store = await asyncio.gather(
            self._gateways(),
            in_time(self._queries.hosts(), ASK_TIMEOUT_S),
            in_time(self._queries.store(), ASK_TIMEOUT_S),
        )
        hosts = None if rows is None else await asyncio.gather(*map(_host, _present(rows)))
        return Reading(
            at_s=time.monotonic(),
            partition_count=self._config.deployment.partition_count,
            gateways=gateways,
            hosts=None if hosts is None else sorted(hosts, key=lambda host: host.name),
            store=store,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    async def _gateways(self) -> Sequence[ProcessReading]:
        gateway = self._config.gateway
        names = [f"gateway-{index}" for index in range(gateway.process_count)]
        if not gateway.metrics_port:
            if len(names) == 1:
                return [await _process(names[0], f"{gateway.host}:{gateway.port}")]
            reason = "on a shared port: set gateway.metrics_port"
            return [ProcessReading(name=name, samples=None, reason=reason) for name in names]
        return await asyncio.gather(
            *(
                _process(name, f"{gateway.host}:{gateway.metrics_port + index}")
                for index, name in enumerate(names)
            )
        )


def _present(rows: Sequence[HostStatus]) -> list[HostStatus]:
    """Leave out leases of the dead that own nothing any more; who dies owning something is shown."""
    return [row for row in rows if row.partition_indexes or identity_of(row.pid) is not None]


async def _host(row: HostStatus) -> HostReading:
    if row.metrics_address is None:
        found = ProcessReading(name=row.host_name, samples=None, reason="serves no metrics")
    else:
        found = await _process(row.host_name, row.metrics_address)
    return HostReading(
        name=row.host_name,
        samples=found.samples,
        reason=found.reason,
        pid=row.pid,
        partition_indexes=row.partition_indexes,
    )


async def _process(name: str, address: str) -> ProcessReading:
    host, _, port = address.rpartition(":")
    text = await http_text(host.strip("[]"), int(port), METRICS_PATH, timeout_s=ASK_TIMEOUT_S)
    if text is None:
        return ProcessReading(name=name, samples=None, reason=f"no answer from {address}")
    try:
        return ProcessReading(name=name, samples=Samples.parse(text))
    except NoExposition:
        return ProcessReading(name=name, samples=None, reason=f"no metrics in {address}'s answer")
