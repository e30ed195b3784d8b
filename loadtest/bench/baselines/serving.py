"""What the baseline servers share: one port for several processes, until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import socket

from aiohttp import web

HOST = "127.0.0.1"
# As many as the generator may open at once.
BACKLOG = 1_024


async def serve_until_stopped(app: web.Application, port: int) -> None:
    """Serve on a port that other processes share, until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind((HOST, port))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listening, backlog=BACKLOG).start()
    await stop.wait()
    await runner.cleanup()
