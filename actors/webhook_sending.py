"""One try of a webhook over HTTP: signed, to an address that was looked at, bounded in time and bytes.

A merchant names the URL, so the receiver is nobody's friend. The socket is made for an address only after
that address was looked at, whatever the name said a moment before. Redirects are not followed, proxies and
cookies not used, and of the answer nothing counts but its status.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple

import aiohttp
from aiohttp.connector import AddrInfoType

from actors.webhook_resolving import AddressRefused, CheckedResolver, require_allowed
from payments.webhook_targets import url_refusal
from psp.webhooks import HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, signature_of
from runtime.clock import Clock
from storage.webhook_ports import DeliveryState

# A 2xx within this is a delivery; a receiver that needs longer shall answer first and work then.
TRY_S_MAX = 15.0
# Of a try: a receiver that does not take a connection within it is away.
CONNECT_S_MAX = 5.0
# Of the answer's body: read only so that the connection can be used again.
ANSWER_BYTES_MAX = 4_096
# Idle connections are kept a while: less than common servers do, so that it is us who close.
KEEP_ALIVE_S = 15.0
# What a name said: a receiver that moved is found as soon.
NAMES_KEPT_S = 10
# An answer's head: a status line and headers.
ANSWER_LINE_BYTES_MAX = 4_096

STATUS_GONE = 410

USER_AGENT = "Tallystick-Webhooks/1"


class TryError(Enum):
    """Why a try failed, in a word for the log. The value is the API's."""

    HTTP_STATUS = "http_status"
    """An answer other than 2xx, a redirect too."""
    GONE = "gone"
    """410: it wants nothing any more."""
    TIMEOUT = "timeout"
    CONNECT = "connect"
    """No connection: refused, unreachable, or no such name."""
    TLS = "tls"
    CONNECTION = "connection"
    """Cut, or no HTTP."""
    TARGET_REFUSED = "target_refused"
    """The URL, or the address that it led to, is none that webhooks go to."""
    UNSIGNED = "no_secret"
    """No secret is valid: it was deleted meanwhile."""


class TryResult(NamedTuple):
    """What became of one try. ``error`` is None of a delivery."""

    http_status: int | None
    error: TryError | None
    duration_ms: int


class WebhookSender:
    """Sends from one event loop. Call ``close`` in the end."""

    def __init__(
        self, clock: Clock, *, is_sandbox: bool, tls: ssl.SSLContext | None = None
    ) -> None:
        """``is_sandbox``: receivers may be on this machine. ``tls``: whose certificates count; else the system's."""
        self._clock = clock
        self._is_sandbox = is_sandbox
        self._tls = tls or ssl.create_default_context()
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self, url: str, secrets: Sequence[bytes], webhook_id: str, body: bytes
    ) -> TryResult:
        """Make one try. Never raises for what a receiver does, or leaves undone."""
        begun_s = self._clock.monotonic_s()
        status, error = await self._tried(url, secrets, webhook_id, body)
        duration_ms = int((self._clock.monotonic_s() - begun_s) * 1000)
        return TryResult(http_status=status, error=error, duration_ms=duration_ms)

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()

    async def _tried(
        self, url: str, secrets: Sequence[bytes], webhook_id: str, body: bytes
    ) -> tuple[int | None, TryError | None]:
        if not secrets:
            return None, TryError.UNSIGNED
        # The URL was looked at when it was given: perhaps by an older release, or in another deployment.
        if url_refusal(url, is_sandbox=self._is_sandbox) is not None:
            return None, TryError.TARGET_REFUSED
        try:
            status = await self._post(url, self._headers(secrets, webhook_id, body), body)
        except AddressRefused:
            return None, TryError.TARGET_REFUSED
        except TimeoutError:
            return None, TryError.TIMEOUT
        except aiohttp.ClientConnectorError as fault:
            return None, _of_connector(fault)
        except (aiohttp.ClientError, OSError, ValueError):
            # ValueError: an answer that is no HTTP makes the client's parser fail in its own ways.
            return None, TryError.CONNECTION
        if 200 <= status < 300:
            return status, None
        return status, TryError.GONE if status == STATUS_GONE else TryError.HTTP_STATUS

    def _headers(self, secrets: Sequence[bytes], webhook_id: str, body: bytes) -> Mapping[str, str]:
        """Signed as Standard Webhooks says, with every secret that is valid: the receiver knows one of them."""
        timestamp_s = int(self._clock.now().timestamp())
        signatures = (signature_of(secret, webhook_id, timestamp_s, body) for secret in secrets)
        return {
            HEADER_ID: webhook_id,
            HEADER_TIMESTAMP: str(timestamp_s),
            HEADER_SIGNATURE: " ".join(signatures),
        }

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        async with self._opened().post(
            url, data=body, headers=headers, allow_redirects=False
        ) as answer:
            try:
                await answer.content.readexactly(ANSWER_BYTES_MAX)
            except asyncio.IncompleteReadError:
                # All of it was read: the connection can be used again.
                return answer.status
            answer.close()
            return answer.status

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                # Each endpoint is bounded by its line: a common bound would let one hold up others.
                limit=0,
                keepalive_timeout=KEEP_ALIVE_S,
                ssl=self._tls,
                # One look-up a name at a time. What it said is looked at again by the socket.
                ttl_dns_cache=NAMES_KEPT_S,
                resolver=CheckedResolver(is_sandbox=self._is_sandbox),
                # Called with the very address that is connected to next, also for hosts that are addresses.
                socket_factory=self._socket_to,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=TRY_S_MAX, connect=CONNECT_S_MAX),
                headers={"Content-Type": "application/json", "User-Agent": USER_AGENT},
                skip_auto_headers=("Accept", "Accept-Encoding"),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                max_line_size=ANSWER_LINE_BYTES_MAX,
                max_field_size=ANSWER_LINE_BYTES_MAX,
            )
        return self._session

    def _socket_to(self, found: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = found
        require_allowed(str(address[0]), is_sandbox=self._is_sandbox)
        return socket.socket(family, kind, protocol)


def next_delay_s(round_try_count: int) -> float | None:
    """Return how long after a failed try the next one is made; None when that was the last one."""
    return DELAYS_S[round_try_count - 1] if round_try_count <= len(DELAYS_S) else None


_MINUTE_S, _HOUR_S = 60.0, 3_600.0
DELAYS_S = (
    *(5.0, 5 * _MINUTE_S, 30 * _MINUTE_S, 2 * _HOUR_S, 5 * _HOUR_S),
    *(10 * _HOUR_S, 14 * _HOUR_S, 20 * _HOUR_S, 24 * _HOUR_S),
)
"""Between one try and the next: ten tries in three days. So a weekend's outage loses nothing."""


def state_after(error: TryError | None, round_try_count: int) -> tuple[DeliveryState, float]:
    """Return how a delivery stands after a try, and how long it waits for the next one."""
    if error is None:
        return DeliveryState.DELIVERED, 0.0
    delay_s = next_delay_s(round_try_count)
    return (DeliveryState.DEAD, 0.0) if delay_s is None else (DeliveryState.WAITING, delay_s)


def _of_connector(fault: aiohttp.ClientConnectorError) -> TryError:
    if isinstance(fault, aiohttp.ClientSSLError):
        return TryError.TLS
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, AddressRefused):
            return TryError.TARGET_REFUSED
        cause = cause.__cause__ or cause.__context__
    return TryError.CONNECT
