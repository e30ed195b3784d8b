"""The server of a connection, without an application: what it changes of aiohttp's own handler."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from aiohttp import web

from gateway.door import Door
from gateway.server import GatewayServer, ProblemRequestHandler

# So few bytes are taken at once that reading is paused for five chunks: in production for sixteen thousand.
_READ_BYTES = 64
_PAUSED_AT = 5


@pytest.mark.parametrize("crumb_count", range(_PAUSED_AT - 1, 2 * _PAUSED_AT))
async def test_a_body_is_read_whatever_came_before_it(crumb_count: int) -> None:
    """Reading is paused by the last crumb of a body, which is complete by then: the next one is not held up."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"read %d!" % len(await request.read()))

    site = web.Server(handle)
    loop = asyncio.get_running_loop()

    def of_connection() -> ProblemRequestHandler:
        return ProblemRequestHandler(
            cast("GatewayServer", site),
            door=cast("Door", None),
            first_request_s=5.0,
            loop=loop,
            access_log=None,
            read_bufsize=_READ_BYTES,
        )

    server = await loop.create_server(of_connection, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        async with asyncio.timeout(2.0):
            head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            writer.write(head + b"1\r\na\r\n" * crumb_count + b"0\r\n\r\n")
            assert (await reader.readuntil(b"!")).endswith(b"read %d!" % crumb_count)
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
            assert (await reader.readuntil(b"!")).endswith(b"read 3!")
        writer.close()
        await site.shutdown()
