"""The short way of busy routes: what it changes of aiohttp's own handler, and what it leaves to the router."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


# What an address is made of, and what none should hold: yarl reads some of it only when it is asked for.
_PIECES = (
    "http://", "https://", "ftp://", "//", "/", "xn--", "xn--a", "xn--a-ecp.ru", "x", ":", "99999", "[", "]", "::1",
    "%25", "%zz", "@", "?", "#", "*", "..", "é", "\udcff", "\u3002", "\u0130", "a" * 64,
)  # fmt: skip
_targets = st.lists(st.sampled_from(_PIECES), min_size=1, max_size=6).map("".join)


async def _answer(connected: tuple[str, int], data: bytes) -> bytes:
    """Send bytes on a connection of their own; return what came until it was closed."""
    reader, writer = await asyncio.open_connection(*connected)
    try:
        writer.write(data)
        async with asyncio.timeout(3.0):
            return await reader.read()
    finally:
        writer.close()


@pytest.fixture
async def connected() -> AsyncIterator[tuple[str, int]]:
    """Where an application without any path is served, as the simulator is."""
    runner = DirectRunner(web.Application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][:2]
    await runner.cleanup()


@given(method=st.sampled_from(["GET", "POST", "CONNECT", "OPTIONS"]), target=_targets)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_target_is_answered_and_its_connection_closed(
    connected: tuple[str, int], method: str, target: str
) -> None:
    """Whatever stands where a path should, and in whatever method, somebody answers it, and nothing is left open."""
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await _answer(connected, head.encode("utf-8", "surrogateescape"))
    assert answer[:13] in (b"HTTP/1.1 404 ", b"HTTP/1.0 400 "), answer


@pytest.mark.parametrize("target", ["http://xn--a/", "http://xn--/", "http://xn--a-ecp.ru/"])
async def test_what_no_request_is_made_of_ends_its_connection(
    connected: tuple[str, int], target: str
) -> None:
    """The requests before it are answered, and those behind it are not run: what they belong to can't be told."""
    good = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    bad = f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    answers = await _answer(connected, good + bad + good)
    assert answers.count(b"HTTP/1.1 404 Not Found") == 1
    assert answers.count(b"HTTP/1.0 400 Bad Request") == 1
    assert answers.count(b"HTTP/1.") == 2


async def test_a_connection_that_nobody_reads_any_more_is_closed(
    connected: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect that ends the reading of a connection is told by the loop, and ends the connection, too."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))

    async def fail(_self: RequestHandler) -> None:
        raise LookupError("a defect")

    monkeypatch.setattr(RequestHandler, "start", fail)
    assert await _answer(connected, b"") == b""
    gc.collect()
    assert [type(context["exception"]) for context in told] == [LookupError]
