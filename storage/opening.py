"""From the configuration to the open queue: the one place that turns names and files into connections to it.

Apart from the books' (storage/opening_books.py): whoever reads books alone, as most commands do, is spared the
import of the queue's client library.
"""

from __future__ import annotations

from runtime.clock import Clock
from runtime.config import Config, ConfigError
from storage.queue_cluster_gateway import ClusterGatewayQueue
from storage.queue_cluster_owner import ClusterOwnerQueue
from storage.queue_gateway import RedisGatewayQueue
from storage.queue_owner import RedisOwnerQueue
from storage.queue_ports import GatewayQueue, OwnerQueue
from storage.queue_settings import QueueMode, QueueSettings, QueueSettingsInvalid


def queue_settings(config: Config) -> QueueSettings:
    """The queue as the configuration describes it. Raises ConfigError for an unreadable secret."""
    redis = config.redis
    sentinel_password = redis.sentinel_password_file and config.secret(redis.sentinel_password_file)
    try:
        return QueueSettings(
            url=f"redis://{redis.address or redis.sentinel_addresses[0]}",
            password=config.secret(redis.password_file),
            mode=QueueMode(redis.mode),
            other_addresses=tuple(redis.replica_addresses),
            sentinel_addresses=tuple(redis.sentinel_addresses),
            sentinel_name=redis.sentinel_name,
            sentinel_password=sentinel_password or None,
            replicas_awaited=redis.replicas_awaited,
            replica_count=redis.replica_count,
            stream_length_max=redis.stream_length_max,
            record_count_max=redis.record_count_max,
        )
    except QueueSettingsInvalid as invalid:
        raise ConfigError(f"redis: {invalid}") from invalid


def gateway_queue(settings: QueueSettings) -> GatewayQueue:
    """A connection, or one to each server of a cluster, for appending and finding."""
    if settings.mode is QueueMode.CLUSTER:
        return ClusterGatewayQueue(settings)
    return RedisGatewayQueue(settings)


def owner_queue(settings: QueueSettings, *, clock: Clock) -> OwnerQueue:
    """A connection, or one to each server of a cluster, for reading and removing."""
    if settings.mode is QueueMode.CLUSTER:
        return ClusterOwnerQueue(settings, clock=clock)
    return RedisOwnerQueue(settings, clock=clock)
