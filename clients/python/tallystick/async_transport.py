"""Requests over aiohttp (``pip install tallystick[async]``)."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import aiohttp
from yarl import URL

from tallystick.exchange import ANSWER_BYTES_MAX, NoAnswer, Request, Response

# What a busy storefront needs at once; beyond it requests wait for a connection, within their time.
CONNECTIONS_MAX = 512
# See tallystick.sync_transport.IDLE_S_MAX.
IDLE_S_MAX = 30.0

_READ_BYTES = 64 * 1024


class AsyncTransport:
    """Connections to one gateway, opened on the event loop that first uses it."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = url.rstrip("/")
        self._headers = dict(headers)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: Request, timeout_s: float) -> Response | NoAnswer:
        """Send a request and return what came back within the time."""
        try:
            return await self._exchanged(request, timeout_s)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return NoAnswer(f"{self._url}: {type(error).__name__}", was_sent=False)
        except TimeoutError:
            return NoAnswer(f"{self._url}: no answer within {timeout_s:.1f} s", was_sent=True)
        except (aiohttp.ClientError, OSError) as error:
            # The text may quote what came, which can be anything.
            return NoAnswer(f"{self._url}: {type(error).__name__}", was_sent=True)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _exchanged(self, request: Request, timeout_s: float) -> Response:
        async with self._opened().request(
            request.method,
            URL(self._url + request.target, encoded=True),
            data=request.body,
            headers=request.headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        ) as answer:
            body = bytearray()
            async for piece in answer.content.iter_chunked(_READ_BYTES):
                body += piece
                if len(body) > ANSWER_BYTES_MAX:
                    raise aiohttp.ClientPayloadError("the answer is too long")
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Response(status=answer.status, headers=headers, body=bytes(body))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                skip_auto_headers=("Accept-Encoding",),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(
                    limit=CONNECTIONS_MAX,
                    keepalive_timeout=IDLE_S_MAX,
                    # Made now, as the blocking client does: aiohttp's own is made when it is imported.
                    ssl=ssl.create_default_context(),
                ),
            )
        return self._session
