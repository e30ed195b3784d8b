"""The connector to the PSP simulator over HTTP.

What aiohttp's client does was read in its source, because a silent second send would be a second
charge: it re-sends on a broken keep-alive connection only for idempotent *methods* (never POST),
and it would re-send a POST on a 307 or 308, so redirects are off. A connection that the server
closed while it was idle fails after our bytes were written: that is UNKNOWN, although most likely
nothing ran.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from urllib.parse import quote

import aiohttp
import msgspec

from payments.attempts import PspAnswer
from psp.classification import (
    classify_query,
    classify_send,
    not_sent,
    of_another_request,
    unknown,
)
from psp.port import Capabilities, ChargeTerms, PspUnavailable, SettlementLine
from psp.sandbox_format import CAPABILITIES, canonical_charge, settlement_line
from psp.settings import CONNECTIONS_MAX
from psp.simulator.wire import UNREADABLE, SettlementRow

CONNECT_TIMEOUT_S = 1.0
"""How long to wait for a free connection or a new one. Nothing was sent when it ends, so it ends
early: a loopback or regional connection takes milliseconds.
"""

CONNECT_SHARE_MAX = 0.5
"""The part of a short deadline that connecting may take, so that NOT_SENT can still be told from
UNKNOWN.
"""

ANSWER_BYTES_MAX = 65_536
"""Largest answer that is read; ours have about 300 bytes."""

REPORT_SILENCE_S_MAX = 30.0
"""A settlement report may be long, but not silent for longer than this."""

KEEP_ALIVE_S = 15.0
"""How long an idle connection is kept: less than common servers and proxies do (60 s), so that we
close first.
"""

_ROW = msgspec.json.Decoder(SettlementRow)


class SimulatorPsp:
    """One account at a PSP simulator. Build it anywhere; use and close it in one event loop."""

    def __init__(
        self, *, name: str, account: str, url: str, connections_max: int = CONNECTIONS_MAX
    ) -> None:
        self._name = name
        self._account = account
        self._url = url.rstrip("/")
        self._connections_max = connections_max
        self._session: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def account(self) -> str:
        return self._account

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def canonical_charge(self, terms: ChargeTerms) -> bytes:
        return canonical_charge(terms)

    async def charge(self, psp_key: str, request: bytes, *, timeout_s: float) -> PspAnswer:
        return await self._send(psp_key, "/v1/charges", request, timeout_s)

    async def capture(
        self, psp_key: str, reference: str, amount_minor: int, *, timeout_s: float
    ) -> PspAnswer:
        body = msgspec.json.encode({"amount": amount_minor})
        return await self._send(psp_key, _charge_path(reference, "capture"), body, timeout_s)

    async def void(self, psp_key: str, reference: str, *, timeout_s: float) -> PspAnswer:
        return await self._send(psp_key, _charge_path(reference, "void"), b"", timeout_s)

    async def refund(
        self, psp_key: str, reference: str, amount_minor: int, *, timeout_s: float
    ) -> PspAnswer:
        body = msgspec.json.encode({"amount": amount_minor})
        return await self._send(psp_key, _charge_path(reference, "refund"), body, timeout_s)

    async def query(self, *, psp_key: str, reference: str | None, timeout_s: float) -> PspAnswer:
        """Ask by key, which the simulator always can: a refund's key must not be answered with the
        state of its charge, which is all that ``reference`` could find.
        """
        path = f"/v1/charges?key={quote(psp_key, safe='')}"
        answered = await self._request("GET", path, {}, None, timeout_s)
        if isinstance(answered, PspAnswer):
            return of_another_request(answered)
        return classify_query(psp_key, *answered)

    async def cancel(self, *, psp_key: str, reference: str | None, timeout_s: float) -> PspAnswer:
        path = f"/v1/keys/{quote(psp_key, safe='')}/cancel"
        answered = await self._request("POST", path, {}, b"", timeout_s)
        if isinstance(answered, PspAnswer):
            return of_another_request(answered)
        return classify_query(psp_key, *answered)

    async def settlement_report(self, *, since: datetime) -> AsyncIterator[SettlementLine]:
        timeout = aiohttp.ClientTimeout(
            total=None, connect=CONNECT_TIMEOUT_S, sock_read=REPORT_SILENCE_S_MAX
        )
        try:
            async with self._open_session().get(
                f"{self._url}/v1/settlements",
                params={"since": since.isoformat()},
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    raise PspUnavailable(self._name, f"HTTP {response.status}")
                async for line in response.content:
                    yield settlement_line(_ROW.decode(line))
        except (aiohttp.ClientError, TimeoutError, *UNREADABLE) as fault:
            raise PspUnavailable(self._name, _named(fault)) from fault

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _send(self, psp_key: str, path: str, body: bytes, timeout_s: float) -> PspAnswer:
        headers = {"Idempotency-Key": psp_key}
        answered = await self._request("POST", path, headers, body, timeout_s)
        if isinstance(answered, PspAnswer):
            return answered
        return classify_send(psp_key, *answered)

    async def _request(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None, timeout_s: float
    ) -> tuple[int, bytes] | PspAnswer:
        """Return status and body, or what the lack of an answer means for *this* request."""
        timeout = aiohttp.ClientTimeout(
            total=timeout_s,
            connect=min(CONNECT_TIMEOUT_S, timeout_s * CONNECT_SHARE_MAX),
            # Otherwise deadlines above 5 s are rounded up to a whole second.
            ceil_threshold=timeout_s + 1,
        )
        try:
            async with self._open_session().request(
                method,
                self._url + path,
                headers=headers,
                data=body,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                length_bytes = response.content_length
                if length_bytes is None or length_bytes > ANSWER_BYTES_MAX:
                    return unknown(f"HTTP {response.status} of unknown or excessive length")
                return response.status, await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as fault:
            # Both are raised while connecting, before the first byte of the request.
            return not_sent(_named(fault))
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            return unknown(_named(fault), is_silent=True)

    def _open_session(self) -> aiohttp.ClientSession:
        """Return the session, made on first use because it belongs to the running event loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections_max, keepalive_timeout=KEEP_ALIVE_S
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
            )
        return self._session


def _charge_path(reference: str, change: str) -> str:
    return f"/v1/charges/{quote(reference, safe='')}/{change}"


def _named(fault: Exception) -> str:
    return f"{type(fault).__name__}: {fault}"
