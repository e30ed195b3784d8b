"""One PSP's HTTP, as every connector speaks it: what an answer, or the lack of one, proves.

A silent second send would be a second charge: each request is sent once, on one connection, and no redirect is
followed. A connection that the server closed while it was idle fails after our bytes were written: that is
UNKNOWN, although most likely nothing ran.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import aiohttp

from payments.attempts import PspAnswer
from psp.classification import not_sent, unknown
from psp.http_exchange import Exchanges

CONNECT_TIMEOUT_S = 1.0
"""How long to wait for a free connection or a new one. Nothing was sent when it ends, so it ends
early: a loopback or regional connection takes milliseconds.
"""

CONNECT_SHARE_MAX = 0.5
"""The part of a short deadline that connecting may take, so that NOT_SENT can still be told from
UNKNOWN.
"""

KEEP_ALIVE_S = 15.0
"""How long an idle connection is kept: less than common servers and proxies do (60 s), so that we
close first.
"""


class HttpAnswer(NamedTuple):
    """An answer that came whole."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}
    """Case does not matter in their names."""


class PspHttp:
    """Requests to one PSP. Build it anywhere; use and close it in one event loop."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        connections_max: int,
        answer_bytes_max: int,
    ) -> None:
        """``headers`` go with every request, and appear in no message and no repr."""
        self.url = url.rstrip("/")
        self._headers = headers
        self._connections_max = connections_max
        self._answer_bytes_max = answer_bytes_max
        self._opened: tuple[aiohttp.ClientSession, Exchanges] | None = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_s: float,
    ) -> HttpAnswer | PspAnswer:
        """Return the answer, or what the lack of one means for *this* request."""
        try:
            message, received = await self._open()[1].exchange(
                method,
                path,
                headers=headers,
                body=body,
                timeout=_client_timeout(timeout_s),
                answer_bytes_max=self._answer_bytes_max,
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as fault:
            # Both are raised while connecting, before the first byte of the request.
            return not_sent(named(fault))
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            return unknown(named(fault), is_silent=True)
        if received is None:
            return unknown(f"HTTP {message.code} of excessive length")
        return HttpAnswer(message.code, received, message.headers)

    def session(self) -> aiohttp.ClientSession:
        """Return a session on the same connections, for what is read as it comes.

        It sends a GET once more where a kept connection breaks, and follows redirects unless told not to.
        """
        return self._open()[0]

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened[0].close()
            self._opened = None

    def _open(self) -> tuple[aiohttp.ClientSession, Exchanges]:
        """On first use, because they belong to the running event loop."""
        if self._opened is None:
            connector = aiohttp.TCPConnector(
                limit=self._connections_max, keepalive_timeout=KEEP_ALIVE_S
            )
            # We ask for nothing packed, and what is packed all the same may be a thousand times as long as any
            # bound: then it is no answer that can be read.
            headers = {**self._headers, "Accept-Encoding": "identity"}
            exchanges = Exchanges(connector, self.url, headers)
            session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=headers,
                auto_decompress=False,
            )
            self._opened = session, exchanges
        return self._opened


# Nearly all are one of a connector's few; what is left of a deadline is a new one each time.
@lru_cache(maxsize=64)
def _client_timeout(timeout_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=timeout_s,
        connect=min(CONNECT_TIMEOUT_S, timeout_s * CONNECT_SHARE_MAX),
        # Otherwise deadlines above 5 s are rounded up to a whole second.
        ceil_threshold=timeout_s + 1,
    )


def named(fault: Exception) -> str:
    """What failed, for people."""
    return f"{type(fault).__name__}: {fault}"
