"""The servers of gateway and simulator: a short way for the busiest routes, and an end for every connection.

The short way goes past aiohttp's router, and reads without a pause that nobody made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler, _ErrInfo

AiohttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
DirectRoutes = Mapping[tuple[str, str], AiohttpHandler]
"""Handlers by method and exact request target. They find no ``match_info``, and no middleware runs before them."""

DIRECT_ROUTES: web.AppKey[DirectRoutes] = web.AppKey("direct_routes", Mapping)


SPOKEN_VERSIONS = (HttpVersion11, HttpVersion10)
"""The versions of HTTP that are spoken here. The parser takes 0.9 and 2.0 as well, written in this form."""

_UNREADABLE = "The request's target can't be read."


class UnpausedRequestHandler(RequestHandler):
    """One connection of a server whose requests are small: reading goes on by itself."""

    __slots__ = ("_was_paused",)

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._was_paused = False

    async def start(self) -> None:
        """Answer request after request. A message that no request can be made of is answered 400.

        aiohttp makes the request outside of all that it catches, and yarl reads a host in the target only
        then: ``http://xn--a/`` ended this task, and left a connection that nobody answers and nobody closes.
        Caught around the whole connection, so that no request pays for it.
        """
        try:
            try:
                await super().start()
            except ValueError as unreadable:
                self._messages.appendleft((_ErrInfo(400, unreadable, _UNREADABLE), EMPTY_PAYLOAD))
                await super().start()
        except Exception:
            # Nobody would read this connection again.
            self.force_close()
            raise

    def pause_reading(self) -> None:
        """Stop for a body that is not taken as fast as it comes."""
        self._was_paused = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on, where anything was ever paused: else aiohttp feeds its parser with nothing, and asks the
        transport, twice a request.

        Not only where something is paused now: the parser may keep the pause of a body that ended with it,
        stops within the next one, and goes on only when it is fed again.
        """
        if self._was_paused or self._buffer_paused:
            super().resume_reading(resume_parser)


class DirectRunner(web.AppRunner):
    """Runs an application whose ``DIRECT_ROUTES`` go past its router."""

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        handle = past_router(self.app.get(DIRECT_ROUTES, {}), plain.request_handler)
        return _DirectServer(handle, request_factory=plain.request_factory, options=self._kwargs)


class _DirectServer(web.Server):
    def __init__(
        self,
        handler: Callable[[Any], Awaitable[web.StreamResponse]],
        *,
        request_factory: Any,
        options: Mapping[str, Any],
    ) -> None:
        super().__init__(handler, request_factory=request_factory)
        self._options = options

    def __call__(self) -> RequestHandler:
        loop = asyncio.get_running_loop()
        return UnpausedRequestHandler(self, loop=loop, **self._options)


def past_router(
    direct: DirectRoutes, routed: AiohttpHandler
) -> Callable[[Any], Awaitable[web.StreamResponse]]:
    """Return what calls a direct route's handler itself, and ``routed`` for every other request."""

    def handle(request: Any) -> Awaitable[web.StreamResponse]:
        handler = direct.get((request.method, request.raw_path))
        if handler is None:
            return routed(request)
        headers = request.headers
        # What an Expect header asks for, how a body is coded, and what the version is are the application's to judge.
        if (
            hdrs.EXPECT in headers
            or hdrs.TRANSFER_ENCODING in headers
            or request.version not in SPOKEN_VERSIONS
        ):
            return routed(request)
        return handler(request)

    return handle
