"""What becomes of an answer on its way back: in time, late, or not at all."""

from __future__ import annotations

import asyncio

from aiohttp import web

from psp.simulator.decided import Decision, Delivery

HANG_S_MAX = 60.0
"""How long an unanswered connection is kept: longer than any sensible client waits."""

HANG_CHECK_S = 0.1
"""How soon a hanging request notices that its client is gone, or that the server stops."""


class Delivering:
    """Holds answers back, and cuts connections, as decisions say."""

    def __init__(self) -> None:
        self._is_stopping = False

    async def stop(self, _application: web.Application) -> None:
        """Let what hangs go on."""
        self._is_stopping = True

    async def hold(self, request: web.Request, decision: Decision) -> None:
        """Return once the answer may go out; the connection may be cut by then."""
        if decision.answer_delay_ms:
            await self._wait_for_client(request, decision.answer_delay_ms / 1000)
        elif decision.delivery is Delivery.HANG:
            await self._wait_for_client(request, HANG_S_MAX)
        if decision.delivery is not Delivery.ANSWER and request.transport is not None:
            request.transport.abort()

    async def _wait_for_client(self, request: web.Request, wait_s: float) -> None:
        """Wait that long, less if the client goes away or the server stops."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        while (rest_s := deadline_s - loop.time()) > 0:
            if request.transport is None or self._is_stopping:
                return
            await asyncio.sleep(min(HANG_CHECK_S, rest_s))
