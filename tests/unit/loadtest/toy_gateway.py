"""A gateway in memory that remembers orders by key: enough to see what a load sends."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from aiohttp import web

_PAGE = '<tr id="idempotency_key_reused"><td>a</td><td>422</td></tr>'


class ToyGateway:
    """Answers as a gateway would. ``faults`` is how many POSTs it refuses at first, ``delay_s`` how long
    each takes.
    """

    def __init__(self, *, faults: int = 0, delay_s: float = 0.0) -> None:
        self.orders: dict[tuple[str, str], dict[str, Any]] = {}
        self.seen: Counter[str] = Counter()
        self.in_flight_max = 0
        self._in_flight = 0
        self._faults = faults
        self._delay_s = delay_s
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> ToyGateway:
        application = web.Application()
        application.router.add_post("/v1/payments", self._post)
        application.router.add_get("/v1/payments", self._list)
        application.router.add_get("/v1/payments/{key}", self._get)
        application.router.add_get("/v1/wallets/{owner}", self._list)
        application.router.add_get("/docs/problems", self._problems)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self._in_flight)
        await asyncio.sleep(self._delay_s)
        self._in_flight -= 1
        self.seen["post"] += 1
        if "4242" in body.get("description", ""):
            return web.json_response({"code": "pan_not_accepted"}, status=422)
        name = (request.headers["Authorization"], request.headers["Idempotency-Key"])
        known = self.orders.setdefault(name, body)
        if self._faults > 0:
            self._faults -= 1
            return web.json_response(
                {"code": "store_unavailable", "details": {"may_run": True}}, status=503
            )
        if known != body:
            self.seen["reused"] += 1
            return web.json_response({"code": "idempotency_key_reused"}, status=422)
        if known is not body:
            self.seen["repeated"] += 1
        return web.json_response(self._shown(name), status=201)

    async def _get(self, request: web.Request) -> web.Response:
        self.seen["get"] += 1
        name = (request.headers["Authorization"], request.match_info["key"])
        if name not in self.orders:
            return web.json_response({"code": "payment_not_found"}, status=404)
        return web.json_response(self._shown(name))

    async def _list(self, _: web.Request) -> web.Response:
        self.seen["list"] += 1
        return web.json_response({"balances": []})

    async def _problems(self, _: web.Request) -> web.Response:
        return web.Response(text=_PAGE)

    def _shown(self, name: tuple[str, str]) -> dict[str, Any]:
        body = self.orders[name]
        return {"id": name[1], "status": "succeeded", "amount": body["amount"]}
