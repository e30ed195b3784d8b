"""What the configuration says about the queue, as settings and as connections."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.clock import SystemClock
from runtime.config import Config, ConfigError, load_config
from storage.opening import gateway_queue, owner_queue, queue_settings
from storage.queue import RedisGatewayQueue, RedisOwnerQueue
from storage.queue_cluster_gateway import ClusterGatewayQueue
from storage.queue_cluster_owner import ClusterOwnerQueue
from storage.queue_settings import QueueMode

TEXT = """
[deployment]
id = "0d9c2f8e-8f3c-4f0e-9d55-0c3f6f3d1c11"
[postgres]
shards = [{ name = "s0", partition_first = 0, partition_end = 16, addresses = ["127.0.0.1:1"] }]
gateway_password_file = "secret"
owner_password_file = "secret"
reader_password_file = "secret"
[redis]
password_file = "secret"
%s
[[psps]]
name = "simulator"
[secrets]
api_key_pepper_file = "secret"
fingerprint_key_file = "secret"
"""


def config_of(directory: Path, redis: str) -> Config:
    (directory / "secret").write_text("the password")
    (directory / "watch").write_text("the Sentinels' password")
    path = directory / "tally.toml"
    path.write_text(TEXT % redis)
    return load_config(path, {})


def test_a_pair_is_reached_at_both_addresses(tmp_path: Path) -> None:
    """Any of the addresses may be the primary's."""
    settings = queue_settings(
        config_of(tmp_path, 'address = "a:1"\nreplica_addresses = ["b:2", "c:3"]')
    )
    assert [(a.host, a.port) for a in settings.addresses()] == [("a", 1), ("b", 2), ("c", 3)]
    assert {a.password for a in settings.addresses()} == {"the password"}
    assert (settings.replicas_awaited, settings.replica_count) == (1, 2)
    assert isinstance(gateway_queue(settings), RedisGatewayQueue)
    assert isinstance(owner_queue(settings, clock=SystemClock()), RedisOwnerQueue)


def test_sentinels_are_asked_with_their_own_password(tmp_path: Path) -> None:
    """The primary's address is theirs to tell, and all replicas are awaited."""
    redis = """mode = "sentinel"
sentinel_addresses = ["s:1", "t:2"]
sentinel_name = "orders"
sentinel_password_file = "watch"
replicas_awaited = 2"""
    settings = queue_settings(config_of(tmp_path, redis))
    assert [(a.host, a.port) for a in settings.sentinels()] == [("s", 1), ("t", 2)]
    assert settings.sentinels()[0].password == "the Sentinels' password"
    assert settings.address().password == "the password"
    assert (settings.mode, settings.replica_count) == (QueueMode.SENTINEL, 2)
    assert isinstance(gateway_queue(settings), RedisGatewayQueue)


def test_a_cluster_has_queues_of_its_own(tmp_path: Path) -> None:
    """There is a connection to each server, and none is opened before it is used."""
    settings = queue_settings(config_of(tmp_path, 'mode = "cluster"\naddress = "a:1"'))
    assert (settings.mode, settings.replica_count) == (QueueMode.CLUSTER, 1)
    assert isinstance(gateway_queue(settings), ClusterGatewayQueue)
    assert isinstance(owner_queue(settings, clock=SystemClock()), ClusterOwnerQueue)


def test_an_address_without_a_port_is_refused(tmp_path: Path) -> None:
    """Before anything starts, with the name of the section."""
    with pytest.raises(ConfigError, match="redis"):
        queue_settings(config_of(tmp_path, 'address = "a:1"\nreplica_addresses = ["b"]'))
