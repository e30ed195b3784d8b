"""Sockets below paths that are too long for them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from loadtest.chaos.proxy.sockets import short_path


async def test_a_socket_deep_down_is_listened_on_and_reached(tmp_path: Path) -> None:
    """The same file by both paths; the short one is lent for a moment only."""
    directory = tmp_path / ("deep" * 30)
    directory.mkdir()
    path = directory / "proxy.sock"
    heard = asyncio.Event()

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set()
        writer.close()

    with short_path(path) as short:
        server = await asyncio.start_unix_server(accept, short)
    assert path.is_socket()
    with short_path(path) as short:
        _, writer = await asyncio.open_unix_connection(short)
    async with asyncio.timeout(5):
        await heard.wait()
    writer.close()
    server.close()
