"""A gateway in memory that remembers orders by key: enough to see what a load sends."""

from __future__ import annotations

import asyncio
import json
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
        self.operations: dict[tuple[str, ...], bytes] = {}
        self.checkouts: dict[tuple[str, str], bytes] = {}
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
        for path in ("captures", "void", "refunds"):
            application.router.add_post(f"/v1/payments/{{key}}/{path}", self._operate)
        application.router.add_get("/v1/payments/{key}/refunds", self._list)
        application.router.add_get("/v1/refunds/{id}", self._refund)
        application.router.add_post("/v1/checkouts", self._check_out)
        application.router.add_get("/v1/checkouts/{id}", self._list)
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

    async def _operate(self, request: web.Request) -> web.Response:
        """Every capture, void and refund is done, but one of an odd amount is refused by the books."""
        body = await request.read()
        kind = {"captures": "capture", "refunds": "refund"}.get(request.path.split("/")[-1], "void")
        key = request.headers["Idempotency-Key"]
        name = (request.headers["Authorization"], request.match_info["key"], kind, key)
        self.seen[kind] += 1
        if self.operations.setdefault(name, body) != body:
            self.seen["operation_reused"] += 1
            return web.json_response({"code": "idempotency_key_reused"}, status=422)
        operation = {"id": f"rf_{key}", "status": "succeeded"}
        if (json.loads(body or b"{}").get("amount") or 0) % 2:
            shown = {"code": f"{kind}_exceeds", kind: {**operation, "status": "failed"}}
            return web.json_response(shown, status=422)
        return web.json_response(operation, status=201)

    async def _refund(self, request: web.Request) -> web.Response:
        return web.json_response({"id": request.match_info["id"], "status": "succeeded"})

    async def _check_out(self, request: web.Request) -> web.Response:
        body = await request.read()
        name = (request.headers["Authorization"], request.headers["Idempotency-Key"])
        self.seen["checkout"] += 1
        if self.checkouts.setdefault(name, body) != body:
            self.seen["checkout_reused"] += 1
            return web.json_response({"code": "idempotency_key_reused"}, status=422)
        orders = json.loads(body)["orders"]
        for order in orders:
            self.orders[name[0], order["id"]] = order
        shown = [{"id": order["id"], "status": "succeeded"} for order in orders]
        return web.json_response({"orders": shown, "status": "succeeded"}, status=201)

    async def _list(self, _: web.Request) -> web.Response:
        self.seen["list"] += 1
        return web.json_response({"balances": []})

    async def _problems(self, _: web.Request) -> web.Response:
        return web.Response(text=_PAGE)

    def _shown(self, name: tuple[str, str]) -> dict[str, Any]:
        body = self.orders[name]
        status = "requires_capture" if body.get("capture") == "manual" else "succeeded"
        return {"id": name[1], "status": status, "amount": body["amount"]}
