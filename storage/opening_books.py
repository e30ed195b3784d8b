"""From the configuration to open books: the one place that turns names and files into connections to them."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.config import Config, ShardConfig
from storage.connections import PLANNED_ONCE, Connector
from storage.read_pool import ReadPool


def connector(config: Config, shard: ShardConfig, role: str, *, application_name: str) -> Connector:
    """Connections to the shard's primary as ``role`` ("gateway", "owner", "reader")."""
    return Connector(config.postgres_dsn(shard, role), application_name=application_name)


def read_pool(
    config: Config,
    shard: ShardConfig,
    role: str,
    *,
    application_name: str,
    session_count_max: int,
    settings: Mapping[str, str] = PLANNED_ONCE,
) -> ReadPool:
    """A pool of sessions on the shard's primary."""
    return ReadPool(
        connector(config, shard, role, application_name=application_name),
        session_count_max=session_count_max,
        settings=settings,
    )
