"""The short way of a call to a PSP: aiohttp's connections and parser, past what its session does for browsers.

A session prepares each request for cookies, redirects, proxies, packed bodies and tracing, and writes it in a
task of its own; of these a PSP's call needs nothing, and they are half of what it costs. What is kept: the pool
of connections and its bounds, name resolution, TLS, and the parser. Nothing is ever sent twice here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.helpers import EMPTY_BODY_STATUS_CODES
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import EofStream, StreamReader
from yarl import URL

# What would end a line of a request, or the request itself (RFC 9112, section 11.1).
_LINE_END = re.compile(r"[\r\n\0]")
_TARGET = re.compile(r"/[!-~]*")

_SWITCHING_PROTOCOLS = 101


class Exchanges:
    """Requests to one origin by one connector. Build it in the event loop it is used in."""

    def __init__(
        self, connector: aiohttp.BaseConnector, url: str, headers: Mapping[str, str]
    ) -> None:
        """``headers`` go with every request, beside its own, which have other names. Raises ValueError for one that
        can't be sent.
        """
        self._connector = connector
        origin = URL(url)
        self._path = origin.raw_path.rstrip("/")
        # Never sent: says to the connector where to, and has the headers that aiohttp adds.
        self._template = aiohttp.ClientRequest(
            "GET", origin, headers=headers, loop=asyncio.get_running_loop()
        )
        self._lines_of_all = _lines(self._template.headers)

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: aiohttp.ClientTimeout,
        answer_bytes_max: int,
    ) -> tuple[RawResponseMessage, bytes | None]:
        """Send one request and return its answer, with None where the body is longer than allowed.

        ``path`` begins with a slash and is encoded. Raises aiohttp.ClientConnectorError or
        aiohttp.ConnectionTimeoutError before the first byte is sent; afterwards, when it may have arrived,
        another aiohttp.ClientError, TimeoutError or OSError. Raises ValueError for what can't be sent.
        """
        request = self._request(method, path, headers, body)
        async with asyncio.timeout(timeout.total):
            connection, protocol = await self._connected(timeout)
            is_over = False
            try:
                message, payload = await _answered(protocol, request)
                received = await _read(message, payload, answer_bytes_max)
                is_over = received is not None and not _may_go_on(message)
            except (RuntimeError, EofStream) as fault:
                # How aiohttp tells who still reads that the pool was closed.
                raise aiohttp.ClientPayloadError(repr(fault)) from fault
            finally:
                if is_over:
                    connection.release()
                else:
                    # What is still to come must not be taken for the answer to another request.
                    connection.close()
        return message, received

    def _request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> bytes:
        if _TARGET.fullmatch(path) is None:
            raise ValueError(f"{path!r} is no path of a request")
        lines = f"{method} {self._path}{path} HTTP/1.1\r\n{self._lines_of_all}{_lines(headers)}"
        if body is None:
            return f"{lines}\r\n".encode()
        return f"{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def _connected(
        self, timeout: aiohttp.ClientTimeout
    ) -> tuple[Connection, ResponseHandler]:
        while True:
            try:
                connection = await self._connector.connect(self._template, [], timeout)
            except TimeoutError as late:
                host = self._template.url.origin()
                raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {host}") from late
            protocol = connection.protocol
            if protocol is not None and not protocol.should_close and not _hears_more(protocol):
                return connection, protocol
            # What a server says unasked is no answer to what was not sent yet.
            connection.close()
            # A new connection, which nothing public tells: another would fare no better.
            if protocol is None or protocol._parser is None:  # noqa: SLF001
                raise aiohttp.ClientConnectorError(
                    self._template.connection_key, ConnectionAbortedError("it spoke first")
                )


async def _answered(
    protocol: ResponseHandler, request: bytes
) -> tuple[RawResponseMessage, StreamReader]:
    if protocol.transport is None:
        raise aiohttp.ClientConnectionResetError("the connection was closed before it was used")
    protocol.set_response_params(read_until_eof=True, auto_decompress=False)
    protocol.transport.write(request)
    while True:
        try:
            message, payload = await protocol.read()
        except HttpProcessingError as fault:
            raise aiohttp.ClientPayloadError(f"{fault.code}, {fault.message}") from fault
        if message.code == _SWITCHING_PROTOCOLS:
            raise aiohttp.ClientPayloadError("it speaks another protocol from now on, unasked")
        # Interim answers come before the one that counts (RFC 9110, section 15.2).
        if not 100 <= message.code < 200:
            return message, payload
        if _may_go_on(message):
            # What follows is its body for the server, and the next answer for the parser.
            raise aiohttp.ClientPayloadError(f"an interim answer, HTTP {message.code}, has a body")


async def _read(message: RawResponseMessage, payload: StreamReader, bytes_max: int) -> bytes | None:
    """Read to the end, if it comes within the bound."""
    if _is_longer(message.headers.get("Content-Length", "0"), bytes_max):
        return None
    if payload.is_eof():
        received = payload.read_nowait()
        return received if len(received) <= bytes_max else None
    gathered = bytearray()
    async for chunk in payload.iter_any():
        gathered += chunk
        if len(gathered) > bytes_max:
            return None
    return bytes(gathered)


def _is_longer(length: str, bytes_max: int) -> bool:
    # Python reads no number of some thousand digits, and the parser takes leading zeros.
    digits = length.lstrip("0")
    return len(digits) > len(str(bytes_max)) or int(digits or "0") > bytes_max


def _may_go_on(message: RawResponseMessage) -> bool:
    """Whether a server may believe that its answer has a body, where it has none (RFC 9112, section 6.3)."""
    return message.code in EMPTY_BODY_STATUS_CODES and (
        "Content-Length" in message.headers or "Transfer-Encoding" in message.headers
    )


def _hears_more(protocol: ResponseHandler) -> bool:
    """Whether an answer to nothing has begun, as far as its head has come.

    Nothing public tells. The next request has a parser of its own, which would take the rest of it for a beginning.
    """
    parser = protocol._parser  # noqa: SLF001
    if parser is None:
        return False
    try:
        return parser.feed_eof() is not None
    except HttpProcessingError:
        return True


def _lines(headers: Mapping[str, str]) -> str:
    """Raises ValueError for a header that would be more than one."""
    text = ""
    for name, value in headers.items():
        if _LINE_END.search(name) or _LINE_END.search(value):
            raise ValueError(f"the header {name!r} can't be sent")
        text += f"{name}: {value}\r\n"
    return text
