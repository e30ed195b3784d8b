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
