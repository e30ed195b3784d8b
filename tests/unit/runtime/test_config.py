"""The configuration: one file and the environment in, one checked value or a clear refusal out."""

from __future__ import annotations

from pathlib import Path

import pytest

from payments.partitioning import ShardRange
from runtime.config import ConfigError, load_config

EXAMPLE = """
[deployment]
id = "0d9c2f8e-8f3c-4b52-9f43-6f2a7c0e9d11"
partition_count = 64
is_sandbox = true

[[postgres.shards]]
name = "east"
partition_first = 0
partition_end = 40
addresses = ["10.0.0.1:5432", "10.0.0.2:5432"]

[[postgres.shards]]
name = "west"
partition_first = 40
partition_end = 64
addresses = ["10.0.1.1:5432"]
database = "tally"

[postgres]
gateway_password_file = "secrets/gateway"
owner_password_file = "secrets/owner"
reader_password_file = "secrets/reader"

[redis]
address = "10.0.0.5:6390"
replica_addresses = ["10.0.0.6:6390"]
password_file = "secrets/redis"

[gateway]
port = 8081
process_count = 4

[actors]
host_count = 3
beat_ms = 300
lease_ms = 1200

[[psps]]
name = "simulator"
url = "http://127.0.0.1:8100"

[ray]
address = "10.0.0.9:6379"
token_file = "secrets/ray"

[secrets]
api_key_pepper_file = "secrets/pepper"
fingerprint_key_file = "secrets/fingerprint"
"""


def write(folder: Path, text: str = EXAMPLE) -> Path:
    path = folder / "tally.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_example_says_what_it_says(tmp_path: Path) -> None:
    """Every section arrives, what is left out has its default, and secrets start at the file's folder."""
    config = load_config(write(tmp_path), {})
    assert str(config.deployment.id) == "0d9c2f8e-8f3c-4b52-9f43-6f2a7c0e9d11"
    assert config.shard_map().ranges == (
        ShardRange(name="east", first_index=0, end_index=40),
        ShardRange(name="west", first_index=40, end_index=64),
    )
    assert (config.gateway.port, config.gateway.host) == (8081, "127.0.0.1")
    assert (config.actors.lease_ms, config.actors.lane_count) == (1_200, 2)
    assert config.redis.replicas_awaited == 1
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/owner").write_text("p@ss/word\n", encoding="utf-8")
    assert config.postgres_dsn(config.postgres.shards[0], "owner") == (
        "postgresql://tally_owner:p%40ss%2Fword@10.0.0.1:5432,10.0.0.2:5432/tallystick"
        "?target_session_attrs=primary"
    )


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    """A variable for a section's key wins, as TOML where it is, as text where it is not."""
    environment = {
        "TALLY__GATEWAY__PORT": "0",
        "TALLY__GATEWAY__HOST": "::1",
        "TALLY__REDIS__REPLICA_ADDRESSES": '["a:1", "b:2"]',
        "TALLY__DEPLOYMENT__IS_SANDBOX": "false",
        "TALLY_HOME": "/elsewhere",
        "PATH": "/bin",
    }
    config = load_config(write(tmp_path), environment)
    assert (config.gateway.port, config.gateway.host) == (0, "::1")
    assert config.redis.replica_addresses == ["a:1", "b:2"]
    assert not config.deployment.is_sandbox


def test_where_others_promote_every_replica_is_awaited(tmp_path: Path) -> None:
    """With Sentinels and in a cluster there are as many replicas as are waited for."""
    replicas = 'replica_addresses = ["10.0.0.6:6390"]'
    sentinels = """mode = "sentinel"
sentinel_name = "orders"
sentinel_addresses = ["10.0.0.7:26390"]"""
    address = next(line for line in EXAMPLE.splitlines() if line.startswith("address = "))
    text = EXAMPLE.replace(replicas, sentinels).replace(address, "", 1)
    redis = load_config(write(tmp_path, text), {}).redis
    assert (redis.mode, redis.replica_count, redis.address) == ("sentinel", 1, "")
    text = EXAMPLE.replace(replicas, 'mode = "cluster"\nreplicas_awaited = 2')
    redis = load_config(write(tmp_path, text), {}).redis
    assert (redis.mode, redis.replica_count) == ("cluster", 2)


@pytest.mark.parametrize(
    ("old", "new", "field", "rule"),
    [
        ("beat_ms = 300", "beat_ms = 400", "lease_ms=1200", "three beats of 400"),
        ("beat_ms = 300", "beat_ms = 0", "$.actors.beat_ms", ">= 1"),
        ("beat_ms = 300", "beat_msec = 300", "$.actors", "beat_msec"),
        ("[actors]", '[actors]\nmetrics_address = "x"', "metrics_address='x'", "host:port"),
        ("[actors]", '[actors]\nmetrics_address = "x:70000"', "x:70000", "host:port"),
        ("partition_count = 64", "partition_count = 5000", "$.deployment.partition_count", "4096"),
        ("partition_first = 40", "partition_first = 41", "postgres.shards", "next partition"),
        ("partition_end = 64", "partition_end = 63", "postgres.shards", "63 partitions of 64"),
        ("port = 8081", "port = 70000", "$.gateway.port", "65535"),
        ("port = 8081", 'port = "8081"', "$.gateway.port", "int"),
        (
            'replica_addresses = ["10.0.0.6:6390"]',
            "replica_addresses = []",
            "replicas_awaited=1",
            "0 replica_addresses",
        ),
        ("[redis]", '[redis]\nmode = "ring"', "$.redis.mode", "ring"),
        ("[redis]", '[redis]\nmode = "sentinel"', "redis", "needs sentinel_addresses"),
        ("[redis]", '[redis]\nsentinel_name = "orders"', "redis", "mode sentinel"),
        (
            "[redis]",
            '[redis]\nmode = "sentinel"\nsentinel_name = "o"\nsentinel_addresses = ["s:1"]',
            "redis",
            "takes no address",
        ),
        ("0d9c2f8e-8f3c", "hello", "$.deployment.id", "UUID"),
        ("[ray]", '[[psps]]\nname = "simulator"\n[ray]', "psps", "names must differ"),
        ("[secrets]", "[secret]", "secret", ""),
        ("port = 8081", "port = ", "tally.toml", "line"),
    ],
)
def test_an_error_names_the_field_and_the_rule(
    tmp_path: Path, old: str, new: str, field: str, rule: str
) -> None:
    """Whoever wrote the file learns where it is wrong and why, before anything starts."""
    assert EXAMPLE.count(old) == 1
    with pytest.raises(ConfigError) as refused:
        load_config(write(tmp_path, EXAMPLE.replace(old, new)), {})
    assert field in str(refused.value)
    assert rule in str(refused.value)


@pytest.mark.parametrize("name", ["TALLY__GATEWAY", "TALLY__GATEWAY__", "TALLY__PSPS__NAME"])
def test_a_variable_of_the_wrong_form_is_refused(tmp_path: Path, name: str) -> None:
    """A misspelt override is never silently without effect."""
    with pytest.raises(ConfigError, match=name):
        load_config(write(tmp_path), {name: "1"})


def test_a_misspelt_key_in_the_environment_is_refused(tmp_path: Path) -> None:
    """A variable for a field that does not exist is no override."""
    with pytest.raises(ConfigError, match="prot"):
        load_config(write(tmp_path), {"TALLY__GATEWAY__PROT": "1"})


def test_a_psp_in_process_is_for_sandboxes(tmp_path: Path) -> None:
    """A PSP that forgets its charges is never given real orders."""
    text = EXAMPLE.replace('url = "http://127.0.0.1:8100"', 'kind = "in_process"')
    assert load_config(write(tmp_path, text), {}).psps[0].kind == "in_process"
    with pytest.raises(ConfigError, match="sandbox"):
        load_config(write(tmp_path, text), {"TALLY__DEPLOYMENT__IS_SANDBOX": "false"})


def test_files_that_can_not_be_read_are_named(tmp_path: Path) -> None:
    """A missing, empty or binary file is a refusal that names it."""
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load_config(tmp_path / "none.toml", {})
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary\.toml"):
        load_config(binary, {})
    config = load_config(write(tmp_path), {})
    (tmp_path / "empty").write_text(" \n", encoding="utf-8")
    for secret in ("missing", "empty", "binary.toml"):
        with pytest.raises(ConfigError, match=secret):
            config.secret(secret)
