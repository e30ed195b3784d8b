"""What the queue's connections need to know, checked once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from urllib.parse import unquote, urlsplit

from storage.one_copy import OneCopyWatch

PORT_DEFAULT = 6379
# A server that can't be reached in a second is away: the caller's deadline is what counts.
CONNECT_TIMEOUT_S = 1.0
# Longest time for a reply beyond the wait that the command itself asks for. Commands here take at
# most a millisecond on the server; an fsync on a slow disk can take hundreds.
REPLY_TIMEOUT_S = 2.0
# Longest time for a server to say what it is: a frozen one takes the connection and never answers.
PROBE_TIMEOUT_S = 1.0


class QueueMode(Enum):
    """How the primary is found."""

    SINGLE = "single"
    """One primary, whichever of the addresses it is now."""
    SENTINEL = "sentinel"
    """One primary, which Sentinels know by name."""
    CLUSTER = "cluster"
    """Several primaries, each with some of the partitions; the addresses are where to ask first."""


class QueueSettingsInvalid(ValueError):
    """The settings contradict each other, or leave something out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueAddress:
    """Where the primary is, and who we are there."""

    host: str
    port: int
    database: int
    has_tls: bool
    username: str | None
    password: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """The queue's server and its promises. Raises QueueSettingsInvalid."""

    url: str = field(repr=False)
    """``redis://[user][:password@]host[:port][/database]``, or ``rediss://`` for TLS."""
    password: str | None = field(default=None, repr=False)
    """Takes precedence over one in the URL."""
    other_addresses: tuple[str, ...] = ()
    """``host:port`` of servers beside the URL's, of which any may be the primary now."""
    mode: QueueMode = QueueMode.SINGLE
    sentinel_addresses: tuple[str, ...] = ()
    """``host:port`` of each; the URL then says only who we are at the servers, and whether by TLS."""
    sentinel_name: str = ""
    sentinel_password: str | None = field(default=None, repr=False)
    replicas_awaited: int
    """k: how many replicas hold a write before it is acknowledged."""
    replica_count: int
    """n: how many replicas there are. A promoter must compare more than n - k of them."""
    stream_length_max: int
    """Messages in one partition's stream beyond which new orders are refused."""
    record_count_max: int
    """Keys on the server (key records, and a stream a partition) beyond which they are refused."""
    one_copy: OneCopyWatch | None = None
    """Where an operator may say that the primary alone is enough for a time."""
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    reply_timeout_s: float = REPLY_TIMEOUT_S
    probe_timeout_s: float = PROBE_TIMEOUT_S

    def __post_init__(self) -> None:
        if not 0 <= self.replicas_awaited <= self.replica_count:
            raise QueueSettingsInvalid(
                f"replicas_awaited={self.replicas_awaited} is outside"
                f" 0..replica_count={self.replica_count}: nothing would ever be acknowledged"
            )
        if self.stream_length_max < 1:
            raise QueueSettingsInvalid(f"stream_length_max={self.stream_length_max} takes nothing")
        # Each message has a record, and records outlive messages.
        if self.record_count_max <= self.stream_length_max:
            raise QueueSettingsInvalid(
                f"record_count_max={self.record_count_max} must exceed"
                f" stream_length_max={self.stream_length_max}"
            )
        if self.connect_timeout_s <= 0 or self.reply_timeout_s <= 0:
            raise QueueSettingsInvalid("a timeout must be above zero")
        if self.probe_timeout_s <= 0:
            raise QueueSettingsInvalid("probe_timeout_s must be above zero")
        if (self.mode is QueueMode.SENTINEL) != bool(self.sentinel_addresses):
            raise QueueSettingsInvalid("sentinel_addresses belong to mode sentinel")
        if self.mode is QueueMode.SENTINEL and not self.sentinel_name:
            raise QueueSettingsInvalid("mode sentinel needs sentinel_name")
        if self.mode is not QueueMode.SINGLE and self.replicas_awaited != self.replica_count:
            raise QueueSettingsInvalid(
                f"replicas_awaited={self.replicas_awaited} must be replica_count={self.replica_count}"
                f" in mode {self.mode.value}: its promotions compare no copies"
            )
        self.addresses()
        self.sentinels()

    def addresses(self) -> tuple[QueueAddress, ...]:
        """Return ``url`` and the other addresses, with the same credentials."""
        own = self.address()
        return (own, *(at(own, text) for text in self.other_addresses))

    def sentinels(self) -> tuple[QueueAddress, ...]:
        """Return where the Sentinels are: without a user or a database, with a password of theirs."""
        own = replace(self.address(), username=None, database=0, password=self.sentinel_password)
        return tuple(at(own, text) for text in self.sentinel_addresses)

    @property
    def replicas_awaited_now(self) -> int:
        """``replicas_awaited``, or none while one copy is accepted. To be asked for each wait."""
        is_accepted = self.one_copy is not None and self.one_copy.is_accepted
        return 0 if is_accepted else self.replicas_awaited

    def address(self) -> QueueAddress:
        """Return the parts of ``url``."""
        parts = urlsplit(self.url)
        if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
            raise QueueSettingsInvalid("url is not redis://host:port or rediss://host:port")
        database = parts.path.strip("/") or "0"
        if not database.isdigit() or parts.query:
            raise QueueSettingsInvalid("url ends with something other than a database number")
        try:
            port = parts.port or PORT_DEFAULT
        except ValueError as error:
            raise QueueSettingsInvalid("url has no valid port") from error
        password = parts.password and unquote(parts.password)
        return QueueAddress(
            host=parts.hostname,
            port=port,
            database=int(database),
            has_tls=parts.scheme == "rediss",
            username=(parts.username and unquote(parts.username)) or None,
            password=self.password or password or None,
        )


def at(own: QueueAddress, host_port: str) -> QueueAddress:
    """Return ``own`` at another ``host:port``. Raises QueueSettingsInvalid."""
    host, _, port = host_port.rpartition(":")
    if not host or not port.isdecimal():
        raise QueueSettingsInvalid(f"{host_port!r} is no host:port")
    return replace(own, host=host.strip("[]"), port=int(port))
