"""Serving: a shared port, and an end that cuts nobody off."""

from __future__ import annotations

import asyncio
import socket

from aiohttp import web

from gateway.app import Gateway
from gateway.server import GatewayRunner
from gateway.settings import GatewaySettings
from runtime.logs import get_logger

# Connections that the kernel may hold before we accept them: a second's worth at a burst.
BACKLOG = 1_024

# The loop accepts one connection a turn and listening socket, and under load a turn takes tens of
# milliseconds: with a single socket 256 clients that came at once waited up to 3.5 s for their first
# answer, while those that were connected already went on.
LISTENING_COUNT = 8


class GatewayFailed(Exception):
    """A part that every request needs has died of a defect. The process must be started again."""


def shared_socket(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket that other processes of this user may share the port with."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


async def serve(
    gateway: Gateway,
    settings: GatewaySettings,
    *,
    stop: asyncio.Event,
    listening: socket.socket | None = None,
) -> None:
    """Serve until ``stop`` is set, then drain: what is in flight is finished within ``drain_s``.

    ``listening`` is used instead of a new socket on the settings' port. Raises OSError when a port
    is taken, GatewayFailed when the gateway can't go on.
    """
    log = get_logger("gateway.serving")
    runner = GatewayRunner(
        gateway.app, door=gateway.door, settings=settings, metrics=gateway.metrics
    )
    await runner.setup()
    try:
        first = listening or shared_socket(settings.host, settings.port)
        port = first.getsockname()[1]
        more = [shared_socket(settings.host, port) for _ in range(LISTENING_COUNT - 1)]
        for one in (first, *more):
            await web.SockSite(runner, one, backlog=BACKLOG).start()
        if settings.direct_port is not None:
            await web.TCPSite(runner, settings.host, settings.direct_port).start()
        addresses = dict.fromkeys(f"{host}:{port}" for host, port, *_ in runner.addresses)
        log.info("listening", addresses=list(addresses))
        failed = asyncio.create_task(gateway.accepting.run_until_failure())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait((failed, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if failed.done():
            raise GatewayFailed(str(failed.exception())) from failed.exception()
        failed.cancel()
        log.info("draining", drain_s=settings.drain_s)
        gateway.health.start_draining()
        await asyncio.sleep(settings.drain_notice_s)
    finally:
        # Closes the ports, then idle connections, waits for requests in flight, then ends the rest.
        await runner.cleanup()
    log.info("stopped")
