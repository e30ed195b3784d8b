"""From the configuration to open stores: the one place that turns names and files into connections."""

from __future__ import annotations

from runtime.config import Config, ShardConfig
from storage.connections import Connector
from storage.queue_settings import QueueSettings
from storage.read_pool import ReadPool


def queue_settings(config: Config) -> QueueSettings:
    """The queue as the configuration describes it. Raises ConfigError for an unreadable secret."""
    redis = config.redis
    return QueueSettings(
        url=f"redis://{redis.address}",
        password=config.secret(redis.password_file),
        replicas_awaited=redis.replicas_awaited,
        replica_count=len(redis.replica_addresses),
        stream_length_max=redis.stream_length_max,
        record_count_max=redis.record_count_max,
    )


def connector(config: Config, shard: ShardConfig, role: str, *, application_name: str) -> Connector:
    """Connections to the shard's primary as ``role`` ("gateway", "owner", "reader")."""
    return Connector(config.postgres_dsn(shard, role), application_name=application_name)


def read_pool(
    config: Config, shard: ShardConfig, role: str, *, application_name: str, session_count_max: int
) -> ReadPool:
    """A pool of sessions on the shard's primary."""
    return ReadPool(
        connector(config, shard, role, application_name=application_name),
        session_count_max=session_count_max,
    )
