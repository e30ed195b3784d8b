"""The short way of busy routes: what it changes of aiohttp's own handler, and what it leaves to the router."""

from __future__ import annotations

import asyncio
from typing import cast

import aiohttp
import pytest
from aiohttp import web

from gateway.door import Door
from gateway.server import GatewayServer, ProblemRequestHandler
from runtime.direct_serving import DIRECT_ROUTES, DirectRunner, UnpausedRequestHandler

# So few bytes are taken at once that reading is paused for five chunks: in production for sixteen thousand.
_READ_BYTES = 64
_PAUSED_AT = 5


@pytest.mark.parametrize("is_gateway", [False, True])
@pytest.mark.parametrize("crumb_count", range(_PAUSED_AT - 1, 2 * _PAUSED_AT))
async def test_a_body_is_read_whatever_came_before_it(crumb_count: int, is_gateway: bool) -> None:
    """Reading is paused by the last crumb of a body, which is complete by then: the next one is not held up."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"read %d!" % len(await request.read()))

    site = web.Server(handle)
    loop = asyncio.get_running_loop()

    def of_connection() -> UnpausedRequestHandler:
        if not is_gateway:
            return UnpausedRequestHandler(site, loop=loop, read_bufsize=_READ_BYTES)
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


async def test_only_its_very_target_goes_past_the_router() -> None:
    """Another method, a query and an Expect header are the application's. Its bound on bodies holds on both ways."""
    ways: list[str] = []

    async def direct(request: web.Request) -> web.StreamResponse:
        ways.append("direct")
        return web.Response(text=f"direct {len(await request.read())}")

    async def routed(request: web.Request) -> web.StreamResponse:
        ways.append("routed")
        return web.Response(text=f"routed {len(await request.read())}")

    application = web.Application(client_max_size=100)
    application[DIRECT_ROUTES] = {("POST", "/busy"): direct}
    application.add_routes([web.post("/busy", routed), web.get("/busy", routed)])
    runner = DirectRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    url = f"http://{host}:{port}/busy"
    seen = []
    async with aiohttp.ClientSession() as http:
        for method, target, body, is_awaited in [
            ("POST", url, b"a" * 100, False),
            ("POST", url, b"a" * 101, False),
            ("POST", url, b"a", True),
            ("POST", url + "?a=1", b"a", False),
            ("GET", url, b"", False),
            ("PUT", url, b"a", False),
        ]:
            async with http.request(method, target, data=body, expect100=is_awaited) as answer:
                seen.append((answer.status, (await answer.text()) if answer.ok else ""))
        assert runner.server is not None
        kinds = {type(connection) for connection in runner.server.connections}
    await runner.cleanup()
    assert kinds == {UnpausedRequestHandler}
    assert ways == ["direct", "direct", "routed", "routed", "routed"]
    assert seen == [
        (200, "direct 100"),
        (413, ""),
        (200, "routed 1"),
        (200, "routed 1"),
        (200, "routed 0"),
        (405, ""),
    ]
