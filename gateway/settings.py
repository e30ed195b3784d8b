"""The gateway's settings: one frozen value, its relations checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from payments.currencies import EXPONENTS
from payments.fingerprint import KEY_BYTES_MAX, KEY_BYTES_MIN
from payments.mode import Mode
from payments.partitioning import PARTITION_COUNT_MAX
from psp.webhooks import PspNotice, Verifier

# Where sandbox tokens begin, whatever the PSP: refused with live keys.
SANDBOX_TOKEN_PREFIX = "tok_"  # noqa: S105  # the beginning of a name, no secret

# The API's promise for Prefer: wait; longer holds would outlive most proxies' patience.
PREFER_WAIT_S_MAX = 30
# The API's promise for one request body.
BODY_BYTES_MAX = 64 * 1024
# After a key was revoked or a fee changed, gateways that can't reach Postgres may go on this long.
CACHE_STALE_S_MAX = 15 * 60


class GatewaySettingsInvalid(ValueError):
    """A setting, or the relation of two, makes no sense. Says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRoute:
    """What one PSP account takes, as its capabilities say."""

    psp: str
    mode: Mode
    token_prefixes: tuple[str, ...]
    currencies: frozenset[str] | None = None
    """None: every ISO 4217 currency."""
    minimum_minor: Mapping[str, int] = field(default_factory=dict)
    """Smallest charge by currency; a currency not named has 1."""

    def takes_currency(self, currency: str) -> bool:
        return currency in EXPONENTS and (self.currencies is None or currency in self.currencies)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSource:
    """How one PSP's webhooks are verified and read."""

    verifier: Verifier
    read: Callable[[bytes], PspNotice | None]
    """Raises WebhookUnreadable; None for an event that is about no charge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLogSettings:
    """What is kept of requests, and for how long."""

    keep_s: int = 72 * 3_600
    bytes_max: int = 2 * 1024**3
    """Of the whole log, indexes included."""
    body_bytes_max: int = 4_096
    """Of one redacted body; a longer one is noted by its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Raises GatewaySettingsInvalid. The secrets never appear in its repr."""

    name: str
    """The process's name, such as ``gateway-0``; part of its reply channel."""
    host: str
    port: int
    partition_count: int
    routes: tuple[PaymentRoute, ...]
    fingerprint_key: bytes = field(repr=False)
    api_key_pepper: bytes = field(repr=False)
    is_sandbox: bool = False
    """Webhooks may go to this machine, and without TLS."""
    direct_port: int | None = None
    """A port of this process alone: health and metrics can't be told apart on a shared one."""
    webhooks: Mapping[str, WebhookSource] = field(default_factory=dict)
    """The PSPs that send webhooks, by name."""
    request_log: RequestLogSettings = field(default_factory=RequestLogSettings)
    request_deadline_s: float = 5.0
    pending_orders_max: int = 4_096
    """Orders that wait for their verdict. At 2,000 a second that is two seconds of work."""
    unreported_orders_max: int = 50_000
    """Acknowledged orders kept until their intake is reported; 1 KiB each, so about 50 MiB."""
    waiters_max: int = 4_096
    connections_max: int = 10_000
    """Idle connections cost about 30 KiB each; beyond this new ones are closed at once."""
    first_request_s: float = 15.0
    """A connection that has sent no whole request by then is closed."""
    body_s: float = 10.0
    """Within this a body must have arrived."""
    drain_s: float = 10.0
    """Within this requests in flight end after SIGTERM."""
    drain_notice_s: float = 0.0
    """How long /readyz says 503 before the port closes, for load balancers that ask."""
    cache_fresh_s: float = 30.0
    """Within this API keys and sellers are not asked for again."""

    def __post_init__(self) -> None:
        if not 1 <= self.partition_count <= PARTITION_COUNT_MAX:
            raise GatewaySettingsInvalid(f"partition_count={self.partition_count}")
        if not KEY_BYTES_MIN <= len(self.fingerprint_key) <= KEY_BYTES_MAX:
            raise GatewaySettingsInvalid(
                f"fingerprint_key needs {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes"
            )
        if not 0 <= self.cache_fresh_s <= CACHE_STALE_S_MAX:
            raise GatewaySettingsInvalid(
                f"cache_fresh_s={self.cache_fresh_s} must be within {CACHE_STALE_S_MAX} s"
            )
        if not self.name or not self.name.isascii() or not self.name.isprintable():
            raise GatewaySettingsInvalid("name must be printable ASCII")
        self._check_positive()
        if self.drain_s <= self.request_deadline_s:
            # Else a drain would cut off requests that are still within their deadline.
            raise GatewaySettingsInvalid(
                f"drain_s={self.drain_s} must exceed request_deadline_s={self.request_deadline_s}"
            )

    def _check_positive(self) -> None:
        for name in (
            "request_deadline_s",
            "pending_orders_max",
            "unreported_orders_max",
            "waiters_max",
            "connections_max",
            "first_request_s",
            "body_s",
        ):
            if getattr(self, name) <= 0:
                raise GatewaySettingsInvalid(f"{name} must be above zero")
