"""Builds a dispatcher from the configuration: real stores, the network, the machine's clock."""

from __future__ import annotations

from datetime import timedelta

from actors.dispatcher import Dispatcher
from actors.dispatcher_settings import DispatcherSettings
from actors.metrics_serving import listen_address
from actors.webhook_sending import WebhookSender
from runtime.clock import SystemClock
from runtime.config import Config, ConfigError
from runtime.metrics import Metrics
from runtime.metrics_server import MetricsServer
from storage.dispatching import PostgresDispatchStore
from storage.event_feed import FEED_SETTINGS, PostgresEventFeed
from storage.opening_books import connector, read_pool

# The loops that read: the feed, what is due, and how far the feed is.
FEED_SESSIONS_MAX = 3


class DispatcherProcess:
    """One dispatcher with what it opened. Connects to nothing before it runs."""

    def __init__(self, config: Config, *, name: str) -> None:
        """Raises ConfigError."""
        if len(config.postgres.shards) != 1:
            raise ConfigError("postgres.shards: a dispatcher reads one shard in this release")
        (shard,) = config.postgres.shards
        webhooks = config.webhooks
        clock = SystemClock()
        metrics = Metrics()
        metrics.add_process()
        self._pool = read_pool(
            config,
            shard,
            "owner",
            application_name=f"tally {name} feed",
            session_count_max=FEED_SESSIONS_MAX,
            settings=FEED_SETTINGS,
        )
        self._sender = WebhookSender(clock, is_sandbox=config.deployment.is_sandbox)
        self._dispatcher = Dispatcher(
            DispatcherSettings(
                name=name,
                connections_per_endpoint=webhooks.connections_per_endpoint,
                pause_after=timedelta(hours=webhooks.pause_after_h),
                keep=timedelta(days=webhooks.keep_days),
                drain_s=float(webhooks.drain_s),
            ),
            feed=PostgresEventFeed(self._pool),
            store=PostgresDispatchStore(
                connector(config, shard, "owner", application_name=f"tally {name}")
            ),
            sender=self._sender,
            clock=clock,
            metrics=metrics,
        )
        listen = listen_address(webhooks.metrics_address, name)
        self._server = (
            None if listen is None else MetricsServer(metrics, host=listen[0], port=listen[1])
        )

    def stop(self) -> None:
        """Have ``run`` end, once what is on its way was recorded."""
        self._dispatcher.stop()

    async def run(self) -> None:
        """Deliver until stopped. Raises what is a defect."""
        try:
            if self._server is not None:
                await self._server.start()
                self._dispatcher.metrics_address = self._server.address
            await self._dispatcher.run()
        finally:
            if self._server is not None:
                await self._server.close()
            await self._sender.close()
            await self._pool.close()
