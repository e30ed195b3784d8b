"""Serves one host process's metrics: where they listen, and what is looked up before each answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from actors.exposing import expose, expose_lag
from actors.host import PartitionHost
from actors.lag import LagWatch
from actors.measuring import HostMetrics
from runtime.clock import Clock
from runtime.config import Config
from runtime.metrics_server import MetricsServer
from storage.opening import queue_settings
from storage.opening_books import read_pool
from storage.queue_status import QueueStatusReader
from storage.read_pool import ReadPool
from storage.status import StandbyStatus, StatusQueries

_NUMBER_AT_END = re.compile(r"[0-9]{1,3}$")


class MetricsServing:
    """The server, and the connections on which it looks at the stores. They are opened at its first answer."""

    def __init__(
        self,
        config: Config,
        listen: tuple[str, int],
        metrics: HostMetrics,
        hosts: Sequence[PartitionHost],
        clock: Clock,
    ) -> None:
        self._metrics = metrics
        self._hosts = hosts
        self._queue = QueueStatusReader(queue_settings(config))
        # Read-only, and apart from the sessions that payments need.
        self._pools: list[ReadPool] = [
            read_pool(config, shard, "owner", application_name="tally metrics", session_count_max=1)
            for shard in config.postgres.shards
        ]
        self._watch = LagWatch(
            self._queue.read,
            self._read_standbys,
            partition_indexes=lambda: frozenset().union(*(h.partition_indexes for h in hosts)),
            clock=clock,
        )
        metrics.metrics.add_process()
        expose(metrics.metrics, [host.parts for host in hosts])
        expose_lag(metrics.metrics, self._watch)
        self._server = MetricsServer(
            metrics.metrics, host=listen[0], port=listen[1], refresh=self._refresh
        )

    async def start(self) -> None:
        """Listen, and let the hosts know where."""
        await self._server.start()
        self._metrics.address = self._server.address

    async def close(self) -> None:
        """Stop listening, and close what was opened."""
        await self._server.close()
        await self._queue.close()
        for pool in self._pools:
            await pool.close()

    async def _refresh(self) -> None:
        for host in self._hosts:
            self._metrics.called(host.calls.take_durations())
        await self._watch.look()

    async def _read_standbys(self) -> Sequence[StandbyStatus]:
        return [standby for pool in self._pools for standby in await StatusQueries(pool).standbys()]


def listen_address(metrics_address: str, name: str) -> tuple[str, int] | None:
    """Where the host ``name`` (``host-0``) listens by the configuration's ``host:port``; None: nowhere.

    Hosts of one machine share one configuration, so a port that is given is the first one's.
    """
    if not metrics_address:
        return None
    host, _, port_text = metrics_address.rpartition(":")
    port = int(port_text)
    number = _NUMBER_AT_END.search(name)
    if port and number is not None:
        port += int(number[0])
    return host.strip("[]"), port
