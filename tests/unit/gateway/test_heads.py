"""Heads that are no HTTP/1.1: refused as problems, and their connections closed."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import pytest

from runtime.metrics import GATEWAY_ANSWERS
from tests.unit.gateway.stack import GatewayStack, payment

_BODY = json.dumps(payment()).encode()
_CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(_BODY), _BODY)


async def _raw(stack: GatewayStack, data: bytes) -> bytes:
    """Send bytes on a connection of their own; return what came until it was closed."""
    host, port = stack.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        async with asyncio.timeout(3):
            return await reader.read()
    finally:
        writer.close()


def _order(
    stack: GatewayStack, *lines: bytes, body: bytes = _BODY, version: bytes = b"HTTP/1.1"
) -> bytes:
    """Return a good order but for these lines of its head and its version; its length is among the lines."""
    head = [
        b"POST /v1/payments " + version,
        b"Host: x",
        b"Authorization: Bearer " + stack.key.encode(),
        b"Idempotency-Key: " + str(uuid4()).encode(),
        b"Content-Type: application/json",
        *lines,
    ]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


_LENGTH = b"Content-Length: %d" % len(_BODY)


def _code_of(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), json.loads(body)["code"]


@pytest.mark.parametrize("host", ["xn--a", "xn--", "xn--a-ecp.ru"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_a_host_that_is_no_name_is_malformed(
    stack: GatewayStack, capsys: pytest.CaptureFixture[str], method: str, host: str
) -> None:
    """A target's host that can't be decoded is refused as any head is that can't be read, and counted so."""
    data = f"{method} http://{host}/healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await _raw(stack, data.encode())
    assert _code_of(answer) == (400, "request_malformed")
    assert b"Request-Id: req_" in answer
    assert host.encode() not in answer
    assert capsys.readouterr().out == ""
    exposed = (await stack.get("/metrics")).body.decode()
    assert f'{GATEWAY_ANSWERS.name}{{route="unreadable",status="400"}} 1' in exposed


@pytest.mark.parametrize(
    "coding",
    [
        b"gzip, chunked",
        b"Identity, chunked",
        b",chunked",
        b"\xff, chunked",
        b"chunked, chunked",
        b"gzip\r\nTransfer-Encoding: chunked",
        b"gzip",
    ],
)
async def test_chunks_of_something_coded_are_malformed(stack: GatewayStack, coding: bytes) -> None:
    """Chunks are all that is unpacked: whoever says that there is more to undo is refused, on every route."""
    coded = _order(stack, b"Transfer-Encoding: " + coding, body=_CHUNKS)
    for data in (coded, coded.replace(b"/payments", b"/sellers", 1)):
        answer = await _raw(stack, data)
        assert _code_of(answer) == (400, "request_malformed")
    assert stack.queued() == []


async def test_a_coding_beside_a_length_is_malformed(stack: GatewayStack) -> None:
    """An empty coding is one that the parser passes over, and that the next reader need not."""
    answer = await _raw(stack, _order(stack, b"Transfer-Encoding:", _LENGTH))
    assert _code_of(answer) == (400, "request_malformed")
    assert stack.queued() == []


async def test_plain_chunks_are_an_order(stack: GatewayStack) -> None:
    """Chunks alone are taken, in any case, on the longer way."""
    for coding in (b"chunked", b"CHUNKED"):
        lines = (b"Transfer-Encoding: " + coding, b"Connection: close")
        answer = await _raw(stack, _order(stack, *lines, body=_CHUNKS))
        assert answer.startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9"])
async def test_another_version_is_malformed(stack: GatewayStack, version: bytes) -> None:
    """A head in words of another version is none of it. The answer is in a version that is spoken here."""
    for data in (
        _order(stack, _LENGTH, version=version),
        b"GET /healthz %s\r\nHost: x\r\n\r\n" % version,
    ):
        answer = await _raw(stack, data)
        assert answer.startswith(b"HTTP/1.0 400 ")
        assert _code_of(answer) == (400, "request_malformed")
    assert stack.queued() == []


async def test_the_old_version_has_lengths_and_no_chunks(stack: GatewayStack) -> None:
    """HTTP/1.0 is spoken, as proxies do; a coded body in it is malformed."""
    answer = await _raw(stack, _order(stack, _LENGTH, version=b"HTTP/1.0"))
    assert answer.startswith(b"HTTP/1.0 202 ")
    coded = _order(stack, b"Transfer-Encoding: chunked", body=_CHUNKS, version=b"HTTP/1.0")
    assert _code_of(await _raw(stack, coded)) == (400, "request_malformed")
    assert len(stack.queued()) == 1


@pytest.mark.parametrize("second", [b"foo", b"100-continue", b"", b"\xff"])
async def test_two_expectations_are_one_list(stack: GatewayStack, second: bytes) -> None:
    """What can't be met is refused on a line of its own as it is on the first."""
    lines = (b"Expect: 100-continue", b"Expect: " + second, b"Connection: close")
    answer = await _raw(stack, _order(stack, *lines, _LENGTH))
    assert _code_of(answer) == (417, "expectation_failed")
    assert stack.queued() == []


@pytest.mark.parametrize(
    "pair", [(b"2026-11-01", b"1999-01-01"), (b"1999-01-01", b"2026-11-01"), (b"2026-11-01",) * 2]
)
async def test_two_versions_are_none(stack: GatewayStack, pair: tuple[bytes, bytes]) -> None:
    """A request that names two versions is read by neither: a proxy may have looked at the other."""
    lines = [b"Tallystick-Version: " + version for version in pair]
    answer = await _raw(stack, _order(stack, *lines, b"Connection: close", _LENGTH))
    assert _code_of(answer) == (400, "version_unknown")
    assert stack.queued() == []
