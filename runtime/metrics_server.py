"""``GET /metrics`` for processes that have no HTTP server of their own.

It answers one request a connection, on the event loop that also records: so nothing needs a lock, and
a loop that hangs shows as metrics that can't be read. There is no secret in them, and no way to
change anything; still they are served on loopback unless the configuration says otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

import structlog

from runtime.metrics import CONTENT_TYPE, Metrics

_log = structlog.get_logger(__name__)

METRICS_PATH = "/metrics"

# Prometheus' request has a few hundred bytes of headers; asyncio refuses longer ones.
HEAD_BYTES_MAX = 8_192
# Who asks has its request at hand; who sends nothing, or reads nothing, is let go.
REQUEST_S_MAX = 2.0
# A scraper or two, and somebody's terminal. More would only wait for the same event loop.
CONNECTIONS_MAX = 16


class MetricsServer:
    """Serves one process's metrics. ``refresh`` is awaited before each answer; it must be bounded."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        host: str,
        port: int,
        refresh: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._metrics = metrics
        self._host = host
        self._port = port
        self._refresh = refresh
        self._server: asyncio.Server | None = None
        self._connection_count = 0
        self.address: str | None = None
        """``host:port`` where others find it; None while it does not listen."""

    async def start(self) -> None:
        """Begin to listen. A port that is taken costs the metrics, never the process."""
        try:
            self._server = await asyncio.start_server(
                self._serve, self._host, self._port, limit=HEAD_BYTES_MAX
            )
        except (OSError, OverflowError) as error:
            _log.warning("metrics_not_served", host=self._host, port=self._port, reason=str(error))
            return
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"{_advertised(self._host)}:{port}"

    async def close(self) -> None:
        """Stop listening; answers under way are cut off."""
        if self._server is not None:
            self._server.close()
            self._server = self.address = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connection_count += 1
        try:
            # Whatever a client does or leaves undone ends its own connection, and nothing else.
            with contextlib.suppress(OSError, TimeoutError, EOFError, asyncio.LimitOverrunError):
                async with asyncio.timeout(REQUEST_S_MAX):
                    await self._answer(reader, writer)
        finally:
            self._connection_count -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        status, body = await self._response(head)
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        )
        if not head.startswith(b"HEAD "):
            writer.write(body)
        await writer.drain()

    async def _response(self, head: bytes) -> tuple[str, bytes]:
        method, _, rest = head.partition(b" ")
        if self._connection_count > CONNECTIONS_MAX:
            return "503 Service Unavailable", b"too many connections\n"
        if method not in (b"GET", b"HEAD"):
            return "405 Method Not Allowed", b"only GET\n"
        if rest.partition(b" ")[0].partition(b"?")[0] != METRICS_PATH.encode():
            return "404 Not Found", b"only /metrics\n"
        if self._refresh is not None:
            await self._refresh()
        return "200 OK", self._metrics.exposition()


def _advertised(host: str) -> str:
    """Where others reach an address that we listen on: all of a machine's go by its name."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
