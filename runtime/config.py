"""One frozen configuration, from one TOML file and the environment, checked before anything starts.

Every process of a deployment reads the same file. A value may be overridden by an environment variable
``TALLY__<SECTION>__<KEY>`` (for example ``TALLY__GATEWAY__PORT=8090``). Secrets are never in the file: it
names the files that hold them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote
from uuid import UUID

import msgspec

from payments.defects import InvariantViolation
from payments.partitioning import ShardMap, ShardRange
from runtime.psp_config import BreakerConfig, PspConfig, RetryConfig
from runtime.routing_config import RoutingConfig

_ENVIRONMENT_PREFIX = "TALLY__"

PORT_MAX = 65_535
# Gateway processes on one machine: each has a port for its metrics, and stacks keep so many apart.
GATEWAYS_MAX = 64

Port = Annotated[int, msgspec.Meta(ge=0, le=PORT_MAX)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class ConfigError(Exception):
    """The configuration can't be used. The message names the field and the rule."""


class DeploymentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is fixed when a deployment is created; the stores refuse another."""

    id: UUID
    partition_count: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 16
    envelope_version: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    is_sandbox: bool = True
    """Allows sandbox tokens' PSPs, crash points and demonstration keys. Never true where money is real."""


class ShardConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Postgres primary with its replicas, and the partitions it holds: [first, end)."""

    name: str
    partition_first: Annotated[int, msgspec.Meta(ge=0)]
    partition_end: Count
    addresses: Annotated[list[str], msgspec.Meta(min_length=1)]
    """``host:port`` of every server of the shard; connections find the primary among them."""
    database: str = "tallystick"


class PostgresConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    shards: Annotated[list[ShardConfig], msgspec.Meta(min_length=1)]
    gateway_password_file: str
    owner_password_file: str
    reader_password_file: str


class RedisConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The durable queue. n = replica_count replicas, k = replicas_awaited are waited for."""

    mode: Literal["single", "sentinel", "cluster"] = "single"
    """How the primary is found: among the addresses, by Sentinels, or one for each partition."""
    address: str = ""
    """``host:port`` of the primary at first, or of a cluster's first server to be asked."""
    replica_addresses: list[str] = []
    """Its replicas, any of which may be the primary later; in a cluster, more servers to ask."""
    sentinel_addresses: list[str] = []
    sentinel_name: str = ""
    sentinel_password_file: str = ""
    password_file: str
    replicas_awaited: Annotated[int, msgspec.Meta(ge=0)] = 1
    stream_length_max: Count = 20_000
    """Messages waiting in one partition; beyond it new keys get 503 queue_backpressure."""
    record_count_max: Count = 5_000_000
    """Keys on a server, about 200 bytes each: bounds its memory at 1 GB at any rate."""

    def __post_init__(self) -> None:
        if self.mode == "sentinel":
            if not self.sentinel_addresses or not self.sentinel_name:
                raise ValueError("mode sentinel needs sentinel_addresses and sentinel_name")
            if self.address or self.replica_addresses:
                raise ValueError("mode sentinel takes no address: the Sentinels know them")
        elif not self.address:
            raise ValueError(f"mode {self.mode} needs address")
        elif self.sentinel_addresses or self.sentinel_name or self.sentinel_password_file:
            raise ValueError("what names Sentinels belongs to mode sentinel")
        if self.mode == "single" and self.replicas_awaited > len(self.replica_addresses):
            raise ValueError(
                f"replicas_awaited={self.replicas_awaited} must not exceed the"
                f" {len(self.replica_addresses)} replica_addresses"
            )

    @property
    def replica_count(self) -> int:
        """How many replicas a primary has. Where others promote, all of them are awaited."""
        return len(self.replica_addresses) if self.mode == "single" else self.replicas_awaited


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: Port = 8080
    process_count: Annotated[int, msgspec.Meta(ge=1, le=GATEWAYS_MAX)] = 1
    request_timeout_ms: Annotated[int, msgspec.Meta(ge=100, le=60_000)] = 5_000
    """How long a POST may wait for the queue's acknowledgement before it gets 503."""
    drain_s: Annotated[int, msgspec.Meta(ge=0, le=300)] = 35
    """Longer than the longest Prefer: wait, so that a drain cuts nobody off."""
    metrics_port: Port = 0


class ActorsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Partition hosts: how many at first, and how they share and give up partitions."""

    host_count: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 2
    lane_count: Annotated[int, msgspec.Meta(ge=1, le=16)] = 2
    beat_ms: Count = 400
    lease_ms: Count = 1_500
    commands_per_flush_max: Count = 1_024
    partitions_per_flush_max: Count = 8
    calls_in_flight_max: Count = 512
    """Calls of one host to one PSP at one time: the PSP's and our sockets are finite."""
    call_timeout_ms: Annotated[int, msgspec.Meta(ge=50, le=120_000)] = 5_000
    open_orders_max: Count = 50_000
    """Orders a host holds in memory (about 3 kB each); beyond it intake waits in the stream."""
    drain_s: Annotated[int, msgspec.Meta(ge=0, le=300)] = 10
    metrics_address: str = "127.0.0.1:0"
    """Port 0: any free one. Another: host-N takes this plus N. Empty: no metrics are served."""

    def __post_init__(self) -> None:
        # Two lost beats are weather; three mean the owner is gone.
        if self.lease_ms <= 3 * self.beat_ms:
            raise ValueError(
                f"lease_ms={self.lease_ms} must exceed three beats of {self.beat_ms} ms"
            )
        _check_metrics_address(self.metrics_address)


class WebhooksConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sending webhooks: what one endpoint may take of us, and when we stop."""

    connections_per_endpoint: Annotated[int, msgspec.Meta(ge=1, le=256)] = 32
    """Deliveries on their way to one endpoint at a time."""
    pause_after_h: Annotated[int, msgspec.Meta(ge=1, le=75)] = 72
    """An endpoint where no try succeeded for so long is paused: before its first deliveries are given up."""
    keep_days: Annotated[int, msgspec.Meta(ge=1, le=3_650)] = 30
    """How long the log of deliveries that have ended is kept."""
    drain_s: Annotated[int, msgspec.Meta(ge=0, le=60)] = 5
    metrics_address: str = "127.0.0.1:0"
    """Port 0: any free one. Empty: no metrics are served."""

    def __post_init__(self) -> None:
        _check_metrics_address(self.metrics_address)


class RequestLogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What merchants asked and were answered, redacted: how much of it is kept, and for how long."""

    is_on: bool = True
    keep_hours: Annotated[int, msgspec.Meta(ge=1, le=30 * 24)] = 72
    size_mib_max: Annotated[int, msgspec.Meta(ge=64, le=1024 * 1024)] = 2_048
    body_bytes_max: Annotated[int, msgspec.Meta(ge=256, le=65_536)] = 4_096


class RayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    address: str = ""
    token_file: str = ""


class SecretsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    api_key_pepper_file: str
    fingerprint_key_file: str


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. ``directory`` is where relative secret paths start: the file's own folder."""

    deployment: DeploymentConfig
    postgres: PostgresConfig
    redis: RedisConfig
    gateway: GatewayConfig = msgspec.field(default_factory=GatewayConfig)
    actors: ActorsConfig = msgspec.field(default_factory=ActorsConfig)
    psps: Annotated[list[PspConfig], msgspec.Meta(min_length=1)]
    routing: RoutingConfig = msgspec.field(default_factory=RoutingConfig)
    retry: RetryConfig = msgspec.field(default_factory=RetryConfig)
    breaker: BreakerConfig = msgspec.field(default_factory=BreakerConfig)
    webhooks: WebhooksConfig = msgspec.field(default_factory=WebhooksConfig)
    request_log: RequestLogConfig = msgspec.field(default_factory=RequestLogConfig)
    ray: RayConfig = msgspec.field(default_factory=RayConfig)
    secrets: SecretsConfig
    directory: str = ""

    def __post_init__(self) -> None:
        self.shard_map()
        names = [psp.name for psp in self.psps]
        if len(set(names)) != len(names):
            raise ValueError(f"psps: names must differ, and are {names}")
        self.routing.check_psps(names)
        if not self.deployment.is_sandbox and any(psp.kind == "in_process" for psp in self.psps):
            # It forgets every charge when its process ends.
            raise ValueError("psps: kind in_process is for sandbox deployments only")

    def shard_map(self) -> ShardMap:
        """Which shard holds which partition. Raises ValueError for gaps and overlaps."""
        ranges = tuple(
            ShardRange(
                name=shard.name,
                first_index=shard.partition_first,
                end_index=shard.partition_end,
            )
            for shard in self.postgres.shards
        )
        try:
            return ShardMap(partition_count=self.deployment.partition_count, ranges=ranges)
        except InvariantViolation as violation:
            raise ValueError(f"postgres.shards: {violation}") from violation

    def secret(self, path: str) -> str:
        """Read a secret file. Raises ConfigError when it can't be read or is empty."""
        full = Path(self.directory) / path
        try:
            text = full.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(f"secret file {full}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"secret file {full} is not text") from error
        if not text:
            raise ConfigError(f"secret file {full} is empty")
        return text

    def postgres_dsn(self, shard: ShardConfig, role: str) -> str:
        """The DSN of a role ("gateway", "owner", "reader") that follows the shard's primary."""
        files = {
            "gateway": self.postgres.gateway_password_file,
            "owner": self.postgres.owner_password_file,
            "reader": self.postgres.reader_password_file,
        }
        password = quote(self.secret(files[role]), safe="")
        hosts = ",".join(shard.addresses)
        return (
            f"postgresql://tally_{role}:{password}@{hosts}/{shard.database}"
            "?target_session_attrs=primary"
        )


def _check_metrics_address(address: str) -> None:
    host, _, port = address.rpartition(":")
    if address and not (host and port.isdecimal() and int(port) <= PORT_MAX):
        raise ValueError(f"metrics_address={address!r} is no host:port")


# The reader's own error and broken UTF-8 are ValueErrors, as is a number of thousands of digits; and
# brackets may nest deeper than its stack.
_TOML_FAULTS = (ValueError, RecursionError)


def load_config(path: Path, environment: Mapping[str, str]) -> Config:
    """Read and check the file. Raises ConfigError naming the field and the rule."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"configuration {path}: {error.strerror}") from error
    except _TOML_FAULTS as error:
        raise ConfigError(f"configuration {path}: {error}") from error
    _override(table, environment)
    table["directory"] = str(path.resolve().parent)
    try:
        return msgspec.convert(table, Config, strict=True)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(f"configuration {path}: {error}") from error


def _override(table: dict[str, object], environment: Mapping[str, str]) -> None:
    """Apply TALLY__SECTION__KEY variables: parsed as TOML values, or as plain text where that fails."""
    for name, text in environment.items():
        if not name.startswith(_ENVIRONMENT_PREFIX):
            continue
        section_name, separator, key = name[len(_ENVIRONMENT_PREFIX) :].lower().partition("__")
        section = table.setdefault(section_name, {})
        if not separator or not key or not isinstance(section, dict):
            raise ConfigError(f"{name} must have the form TALLY__SECTION__KEY")
        try:
            section[key] = tomllib.loads(f"value = {text}")["value"]
        except _TOML_FAULTS:
            section[key] = text
