"""Requests over aiohttp (``pip install tallystick[async]``)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import aiohttp
from aiohttp.client import _RequestContextManager
from yarl import URL

from tallystick.exchange import ANSWER_BYTES_MAX, NoAnswer, Request, Response

R = TypeVar("R")

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
        return await self._answered(self._exchanged(request, timeout_s), timeout_s)

    async def open_stream(
        self, request: Request, timeout_s: float
    ) -> OpenStream | Response | NoAnswer:
        """Send a request; return its answer once the head is here, if that is a 200, to be read on.

        Any other answer is returned whole.
        """
        return await self._answered(self._stream(request, timeout_s), timeout_s)

    async def _answered(self, exchange: Coroutine[Any, Any, R], timeout_s: float) -> R | NoAnswer:
        try:
            return await exchange
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
        async with self._request(request, aiohttp.ClientTimeout(total=timeout_s)) as answer:
            return await _whole(answer)

    async def _stream(self, request: Request, timeout_s: float) -> OpenStream | Response:
        # The time is for the head, or for the whole of a refusal; a stream has none.
        async with asyncio.timeout(timeout_s):
            answer = await self._request(request, aiohttp.ClientTimeout(total=None))
            if answer.status == HTTPStatus.OK:
                return OpenStream(answer)
            async with answer:
                return await _whole(answer)

    def _request(self, request: Request, timeout: aiohttp.ClientTimeout) -> _RequestContextManager:
        return self._opened().request(
            request.method,
            URL(self._url + request.target, encoded=True),
            data=request.body,
            headers=request.headers,
            allow_redirects=False,
            timeout=timeout,
        )

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


class OpenStream:
    """An answer whose body is read as it comes."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.head = Response(status=answer.status, headers=_fields(answer), body=b"")

    async def read(self, silence_s: float) -> bytes:
        """Return what came next; nothing when it has ended, was cut off, or was silent for so long."""
        try:
            async with asyncio.timeout(silence_s):
                return await self._answer.content.readany()
        except (aiohttp.ClientError, OSError):  # TimeoutError is one
            return b""

    def close(self) -> None:
        """Close the connection."""
        self._answer.close()


def _fields(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


async def _whole(answer: aiohttp.ClientResponse) -> Response:
    body = bytearray()
    async for piece in answer.content.iter_chunked(_READ_BYTES):
        body += piece
        if len(body) > ANSWER_BYTES_MAX:
            raise aiohttp.ClientPayloadError("the answer is too long")
    return Response(status=answer.status, headers=_fields(answer), body=bytes(body))
