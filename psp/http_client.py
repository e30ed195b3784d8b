"""One PSP's HTTP, as every connector speaks it: what an answer, or the lack of one, proves.

What aiohttp's client does was read in its source, because a silent second send would be a second
charge: it re-sends on a broken keep-alive connection only for idempotent *methods* (never POST),
and it would re-send a POST on a 307 or 308, so redirects are off. A connection that the server
closed while it was idle fails after our bytes were written: that is UNKNOWN, although most likely
nothing ran.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import aiohttp

from payments.attempts import PspAnswer
from psp.classification import not_sent, unknown

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
        self._session: aiohttp.ClientSession | None = None

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
            async with self.session().request(
                method,
                self.url + path,
                headers=headers,
                data=body,
                timeout=_client_timeout(timeout_s),
                allow_redirects=False,
            ) as response:
                received = await self._body(response)
                if received is None:
                    return unknown(f"HTTP {response.status} of excessive length")
                return HttpAnswer(response.status, received, response.headers)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as fault:
            # Both are raised while connecting, before the first byte of the request.
            return not_sent(named(fault))
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            return unknown(named(fault), is_silent=True)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes | None:
        """Read to the end, if it comes within the bound."""
        bound = self._answer_bytes_max
        if response.content_length is not None:
            return None if response.content_length > bound else await response.read()
        received = bytearray()
        async for chunk in response.content.iter_any():
            received += chunk
            if len(received) > bound:
                return None
        return bytes(received)

    def session(self) -> aiohttp.ClientSession:
        """Return the session, made on first use because it belongs to the running event loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections_max, keepalive_timeout=KEEP_ALIVE_S
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={**self._headers, "Accept-Encoding": "identity"},
                # We ask for nothing packed, and what is packed all the same may be a thousand times as long
                # as any bound: then it is no answer that can be read.
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


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
