"""``python -m loadtest.bench.baselines.responder PORT``: answers every request with the same bytes.

What the generator is measured against before a run: it shows how fast the generator itself is.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import cast

import uvloop

from loadtest.bench.baselines.serving import HOST

_ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"
# The generator's bodies end so, and it never sends two requests at once.
_REQUEST_END = b"}"


class Responder(asyncio.Protocol):
    """Answers when a request's last byte has come."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if data.endswith(_REQUEST_END) and self._transport is not None:
            self._transport.write(_ANSWER)


async def _serve(port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(Responder, HOST, port, backlog=1_024)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
