"""The switch that breaks a whole simulator at run time: ``/_faults``, for chaos and for trying things out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from psp.simulator.sandbox import Sandbox
from psp.simulator.wire import UNREADABLE, Faults

_FAULTS = msgspec.json.Decoder(Faults)

RefusePort = Callable[[float], Awaitable[None]]
"""Close the port and all connections, and listen again after that many seconds."""


class FaultSwitch:
    """Serves ``GET``, ``POST`` (replaces what was on) and ``DELETE`` (off) of ``/_faults``."""

    def __init__(self, sandbox: Sandbox, refuse_port: RefusePort | None = None) -> None:
        self._sandbox = sandbox
        self._refuse_port = refuse_port
        self._refusing: asyncio.Task[None] | None = None

    async def get(self, _request: web.Request) -> web.Response:
        """What is on."""
        return _shown(self._sandbox.faults)

    async def post(self, request: web.Request) -> web.Response:
        """Switch to exactly what the body says."""
        try:
            faults = _FAULTS.decode(await request.read())
        except UNREADABLE as unreadable:
            body = {
                "object": "problem",
                "code": "invalid_request",
                "message": str(unreadable)[:200],
            }
            return web.json_response(body, status=400)
        self._sandbox.faults = msgspec.structs.replace(faults, refuse_ms=0)
        if faults.refuse_ms and self._refuse_port is not None and not self._is_refusing:
            refuse_s = faults.refuse_ms / 1000
            self._refusing = asyncio.ensure_future(self._refuse(self._refuse_port, refuse_s))
        return _shown(faults)

    async def delete(self, _request: web.Request) -> web.Response:
        """Switch everything off; a port that is closed opens at its time."""
        self._sandbox.faults = Faults()
        return _shown(self._sandbox.faults)

    @property
    def _is_refusing(self) -> bool:
        return self._refusing is not None and not self._refusing.done()

    @staticmethod
    async def _refuse(refuse_port: RefusePort, seconds: float) -> None:
        # The answer to the request that asked for this goes out first.
        await asyncio.sleep(0.05)
        await refuse_port(seconds)


def _shown(faults: Faults) -> web.Response:
    return web.Response(body=msgspec.json.encode(faults), content_type="application/json")
