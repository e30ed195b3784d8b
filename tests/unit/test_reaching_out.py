"""The guard of the unit tests (tests/unit/conftest.py) itself."""

from __future__ import annotations

import asyncio
import socket

import pytest

# TEST-NET-1 (RFC 5737): no machine has it, so nothing is reached even where the guard fails.
NOWHERE = ("192.0.2.1", 443)


def test_a_connection_to_elsewhere_is_refused() -> None:
    """A unit test that reaches for the network fails at once, instead of depending on it."""
    with socket.socket() as one:
        one.settimeout(0.01)
        with pytest.raises(AssertionError, match="unit test connects"):
            one.connect(NOWHERE)


async def test_loopback_is_open() -> None:
    """Servers within the test may be talked to."""

    def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(host, port)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
