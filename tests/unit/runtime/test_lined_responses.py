"""An answer of lines is, byte for byte, what aiohttp makes of the same headers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from unittest.mock import AsyncMock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.door import finish
from runtime.lined_responses import LinedResponse

_BODY = b'{"id":"one"}'
_HEADERS = {
    "Content-Type": "application/json",
    "Location": "/v1/payments/one",
    "Cache-Control": "no-store",
}
_LINES = "".join(f"{name}: {value}\r\n" for name, value in _HEADERS.items())
_POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"

Change = Callable[[web.Response], object]


def _look_at(response: web.Response) -> None:
    response.headers["Preference-Applied"] = "wait=1"


CHANGES: dict[str, Change] = {
    "as it is": lambda _response: None,
    "looked at": _look_at,
    "closed": web.Response.force_close,
}
REQUESTS = {
    "kept": _POST + _POST,
    "closed by its client": _POST.replace(b"a\r\n", b"a\r\nConnection: close\r\n"),
    "HTTP/1.0": _POST.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "HTTP/1.0, kept": _POST.replace(b"1.1\r\n", b"1.0\r\nConnection: keep-alive\r\n") * 2,
    "HEAD": b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" * 2,
    "body after its head": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


async def _sent(make: Callable[[], web.Response], change: Change, request: bytes) -> bytes:
    """Return all that a client gets which sends this, and nothing more."""

    async def handle(_request: web.BaseRequest) -> web.StreamResponse:
        response = make()
        change(response)
        finish(response, "req_bcdf")
        return response

    site = web.Server(handle)
    server = await asyncio.get_running_loop().create_server(site, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request)
        answers = 1 if b"close" in request else request.count(b"HTTP/1.")
        sent = b""
        async with asyncio.timeout(2.0):
            while sent.count(b"HTTP/1.") < answers or not sent.endswith((b"\r\n\r\n", _BODY)):
                if not (some := await reader.read(65_536)):
                    break
                sent += some
        writer.close()
        await site.shutdown()
    return re.sub(rb"\r\nDate: [^\r]+ GMT\r\n", b"\r\nDate: now\r\n", sent)


@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize("change_name", CHANGES)
async def test_it_has_the_bytes_of_aiohttps_own(change_name: str, request_name: str) -> None:
    """Whatever the request asks of the connection, and whatever was done to the answer before."""
    change, request = CHANGES[change_name], REQUESTS[request_name]
    lined = await _sent(lambda: LinedResponse(202, _BODY, _LINES), change, request)
    plain = await _sent(
        lambda: web.Response(status=202, body=_BODY, headers=_HEADERS), change, request
    )
    assert lined == plain
    assert lined.startswith(b"HTTP/1.")
    assert b"\r\nDate: now\r\n" in lined
    assert b"\r\nRequest-Id: req_bcdf\r\n" in lined


async def test_it_is_sent_once() -> None:
    """Also where a handler has sent it already, as it may any answer of aiohttp's."""
    writer = AsyncMock()
    request = make_mocked_request("POST", "/", writer=writer)
    response = LinedResponse(202, _BODY, _LINES)
    for _ in range(2):
        await response.prepare(request)
        await response.write_eof()
    assert writer.write_eof.await_count == 1


def test_its_headers_can_be_read_and_changed() -> None:
    """Who looks at the headers sees all of them, also those that are added later."""
    response = LinedResponse(202, _BODY, _LINES)
    assert dict(response.headers) == _HEADERS
    finish(response, "req_bcdf")
    assert response.headers["Request-Id"] == "req_bcdf"
    assert list(response.headers)[:3] == list(_HEADERS)
