"""The HTTP server around the application: low-level errors as problems, bounds on connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gateway.door import Door, finish, new_request_id
from gateway.heads import answer_in_spoken_version, is_expectation_met, is_malformed
from gateway.settings import BODY_BYTES_MAX, GatewaySettings
from runtime.direct_serving import (
    DIRECT_ROUTES,
    UnpausedRequestHandler,
    past_router,
)
from runtime.metrics import GATEWAY_CONNECTIONS_REFUSED, Metrics

# A kept connection without a request: longer than the usual 60 s of load balancers, so that it is
# the client who closes, and no request meets a closing connection.
KEEPALIVE_S = 75.0
# After an answer to a body that was not read (too large, too slow): so long the rest is taken and
# thrown away, so that the client gets to read the answer before the connection is reset.
LINGERING_S = 1.0
# A request line, or one header: URLs with all list filters stay far below.
LINE_BYTES_MAX = 8_190


class ProblemRequestHandler(UnpausedRequestHandler):
    """One connection. What can't be parsed is answered as a problem, and none of it is logged."""

    __slots__ = ("_door", "_first_request_s", "_first_request_timer")

    def __init__(
        self, manager: GatewayServer, *, door: Door, first_request_s: float, **options: Any
    ) -> None:
        super().__init__(manager, **options)
        self._door = door
        self._first_request_s = first_request_s
        self._first_request_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._first_request_timer = asyncio.get_running_loop().call_later(
            self._first_request_s, self._close_if_silent
        )

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._first_request_timer is not None:
            self._first_request_timer.cancel()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what went wrong outside the application. ``message`` may quote the client: unused."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        response = self._door.of_failure(request, status, exc)
        response.force_close()
        return response

    def _close_if_silent(self) -> None:
        """Close a connection that has not sent one whole request head in time."""
        if self._request_count == 0:
            self.force_close()


class GatewayServer(web.Server):
    """Makes the handlers of connections, and refuses those beyond the limit."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        door: Door,
        settings: GatewaySettings,
        metrics: Metrics,
        request_factory: Any,
    ) -> None:
        super().__init__(handler, request_factory=request_factory)
        self._door = door
        self._settings = settings
        self._refused = metrics.counter(GATEWAY_CONNECTIONS_REFUSED, "limit")

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self._connections) > self._settings.connections_max:
            self._refused.inc()
            transport.abort()

    def __call__(self) -> RequestHandler:
        return ProblemRequestHandler(
            self,
            door=self._door,
            first_request_s=self._settings.first_request_s,
            loop=asyncio.get_running_loop(),
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=LINGERING_S,
            # No encoded body is accepted, so none is unpacked either, also not to throw it away.
            auto_decompress=False,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=LINE_BYTES_MAX,
        )


class GatewayRunner(web.AppRunner):
    """Runs the application on a ``GatewayServer``."""

    def __init__(
        self, app: web.Application, *, door: Door, settings: GatewaySettings, metrics: Metrics
    ) -> None:
        super().__init__(app, shutdown_timeout=settings.drain_s)
        self._door = door
        self._settings = settings
        self._metrics = metrics

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()

        async def routed(request: web.Request) -> web.StreamResponse:
            if is_malformed(request):
                answer_in_spoken_version(request)
                unread = self._door.of_failure(request, 400, None)
                unread.force_close()
                return unread
            try:
                if not is_expectation_met(request):
                    # aiohttp's own refusal quotes the header, and fails on bytes that are no UTF-8.
                    raise web.HTTPExpectationFailed
                return await plain.request_handler(request)
            except web.HTTPException as refusal:
                # Raised before the middleware: an Expect header that can't be met.
                request_id = new_request_id()
                response = self._door.of_refusal(refusal, request_id)
                finish(response, request_id)
                return response

        return GatewayServer(
            past_router(self.app.get(DIRECT_ROUTES, {}), routed),
            door=self._door,
            settings=self._settings,
            metrics=self._metrics,
            request_factory=plain.request_factory,
        )


# aiohttp's own limit, one byte above ours, so that ours is the one that answers.
CLIENT_BYTES_MAX = BODY_BYTES_MAX + 1
