"""A small payments API in memory that keeps every promise about idempotency, or breaks a chosen one.

Orders settle without a clock: slow ones (``tok_slow_…``) when a request waits at least two seconds for
them, all others when they are next looked at.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from aiohttp import web

from loadtest.idempotency.processes import Victims
from ops.local.ports import free_port
from tests.unit.loadtest.operating_server import Money, Operations
from tests.unit.loadtest.operating_server import problem as _problem

MERCHANT = "sk_test_mine"
STRANGER = "sk_test_theirs"
LIVE = "sk_live_mine"

_KEY = re.compile(r'"?([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})"?', re.IGNORECASE)
_FIELDS = (
    "amount", "currency", "seller", "payment_method", "capture", "description", "metadata", "buyer",
)  # fmt: skip
_FORGOTTEN_AFTER_S = 0.04
_CARD = "4111 1111"


@dataclass(slots=True)
class Order:
    """One order and what became of it."""

    key: str
    owner: str
    fields: dict[str, object]
    marks: object
    """What a server that breaks a promise compares besides the fields."""
    created_no: int
    created_at_s: float = field(default_factory=time.monotonic)
    attempts: int = 0
    charges: int = 0
    frozen: bytes | None = None
    checkout: str | None = None

    @property
    def is_declined(self) -> bool:
        return str(self.fields["payment_method"]).startswith("tok_decline")

    @property
    def is_held(self) -> bool:
        return self.fields["capture"] == "manual"

    def body(self) -> dict[str, object]:
        is_over = self.attempts > 0
        ended = "requires_capture" if self.is_held else "succeeded"
        status = ("failed" if self.is_declined else ended) if is_over else "processing"
        return {
            "id": self.key,
            "object": "payment_order",
            "status": status,
            "outcome": "known",
            "amount": self.fields["amount"],
            "currency": self.fields["currency"],
            "seller": self.fields["seller"],
            "fee": 0,
            "metadata": self.fields["metadata"],
            "attempts": self.attempts,
            "psp_reference": f"ch_{self.created_no}" if self.attempts else None,
            "created_at": f"2026-11-01T12:00:00.{self.created_no:06}Z",
        }


class IdempotentServer(Victims):
    """The server. ``broken`` names the promise that it breaks."""

    def __init__(self, broken: str = "", *, has_manual: bool = False) -> None:
        self.broken = broken
        self.has_manual = has_manual
        self._orders: dict[tuple[str, str], Order] = {}
        self._all: list[Order] = []
        self._sellers: set[str] = set()
        self._checkouts: dict[tuple[str, str], dict[str, Any]] = {}
        self._operations = Operations(broken)
        self._record: list[dict[str, str]] = []
        self._away_left = 2 if broken.startswith("away") else 0
        self._request_count = 0

    # --- what is killed ------------------------------------------------------------------------------

    async def recovered(self) -> None:
        pass

    def kill_gateway(self, ports: Sequence[int]) -> None:
        assert ports
        self._crash()

    def kill_host(self) -> None:
        self._crash()

    def _crash(self) -> None:
        if self.broken == "forgets_at_a_kill":
            self._orders.clear()
        if self.broken == "charges_again_after_a_kill":
            for order in self._all:
                order.attempts += 1
                self._charge(order, 1)

    # --- routes --------------------------------------------------------------------------------------

    def application(self) -> web.Application:
        application = web.Application()
        application.add_routes(
            [
                web.post("/v1/payments", self._post),
                web.get("/v1/payments", self._list),
                web.get("/v1/payments/{key}", self._get),
                web.get("/v1/payments/{key}/transfers", self._transfers),
                web.post("/v1/payments/{key}/{path:captures|void|refunds}", self._operate),
                web.post("/v1/checkouts", self._post_checkout),
                web.get("/v1/checkouts/{id}", self._get_checkout),
                web.post("/v1/sellers", self._seller),
                web.get("/v1/wallets/{seller}", self._wallet),
                web.get("/_oracle/charges", self._oracle),
            ]
        )
        return application

    def _owner(self, request: web.Request) -> str:
        owner = request.headers["Authorization"].removeprefix("Bearer ")
        is_shared = self.broken == "keys_are_global" or (
            self.broken == "modes_share" and owner == LIVE
        )
        return MERCHANT if is_shared else owner

    async def _list(self, _request: web.Request) -> web.Response:
        return _json({"object": "list", "data": [], "has_more": False})

    async def _seller(self, request: web.Request) -> web.Response:
        self._sellers.add((await request.json())["id"])
        return _json({}, 201)

    async def _get(self, request: web.Request) -> web.Response:
        order = self._orders.get((self._owner(request), request.match_info["key"]))
        if order is None or (self.broken == "reads_late" and order.frozen is None):
            return _problem(404, "payment_not_found")
        return _json(order.body())

    async def _transfers(self, request: web.Request) -> web.Response:
        order = self._orders[self._owner(request), request.match_info["key"]]
        count = order.charges + (self.broken == "transfers_twice")
        charge = {"kind": "charge", "amount": order.fields["amount"]}
        return _json({"data": [charge] * count})

    async def _wallet(self, request: web.Request) -> web.Response:
        seller = request.match_info["seller"]
        amounts = [
            self._operations.money[order.owner, order.key].left_minor
            if (order.owner, order.key) in self._operations.money
            else int(str(order.fields["amount"])) * self._credits(order)
            for order in self._all
            if order.fields["seller"] == seller and order.charges
        ]
        balances = [{"currency": "USD", "posted": sum(amounts)}] if amounts else []
        return _json({"balances": balances})

    async def _oracle(self, request: web.Request) -> web.Response:
        after = int(request.query["after"])
        text = "".join(
            json.dumps({"n": n, **line}) + "\n"
            for n, line in enumerate(self._record, 1)
            if n > after
        )
        return web.Response(text=text)

    # --- the order -----------------------------------------------------------------------------------

    async def _post(self, request: web.Request) -> web.Response:
        try:
            raw = await request.read()
        except (OSError, web.RequestPayloadError):
            if self.broken == "runs_half_requests":
                wanted = request.headers["Idempotency-Key"]
                self._new(
                    self._owner(request),
                    wanted,
                    self._filled({"amount": 1, "payment_method": "tok_x"}),
                    None,
                )
            return _problem(400, "request_malformed")
        key: str | web.Response = self._key(request)
        if isinstance(key, web.Response):
            return key
        found = re.search(r"wait=(\d+)", request.headers.get("Prefer", ""))
        wait_s = int(found[1]) if found else 0
        owner = self._owner(request)
        fields = self._checked(raw, owner)
        if isinstance(fields, web.Response):
            if self.broken == "keeps_refused":
                self._new(owner, key, self._filled({"amount": 0, "payment_method": "tok_x"}), None)
            return fields
        return await self._answer(request, raw, owner, key, fields, wait_s)

    def _key(self, request: web.Request) -> str | web.Response:
        given = request.headers.getall("Idempotency-Key", [])
        if not given:
            if self.broken == "takes_no_key":
                return "00000000-0000-4000-8000-000000000000"
            return _problem(400, "idempotency_key_missing", param="header:Idempotency-Key")
        if self.broken == "takes_any_spelling" and len(given) == 1 and "-" not in given[0]:
            try:
                return str(UUID(given[0]))
            except ValueError:
                pass
        found = _KEY.fullmatch(given[0])
        is_half_quoted = given[0].startswith('"') != given[0].endswith('"')
        if len(given) != 1 or found is None or is_half_quoted:
            return _problem(400, "idempotency_key_invalid", param="header:Idempotency-Key")
        return found[1] if self.broken == "case_counts" else found[1].lower()

    def _filled(self, given: dict[str, object]) -> dict[str, object]:
        defaults: dict[str, object] = {
            "currency": "USD", "seller": "mrc_own", "capture": "automatic",
            "description": None, "metadata": {}, "buyer": {},
        }  # fmt: skip
        filled = {**defaults, **{name: value for name, value in given.items() if value is not None}}
        buyer = filled["buyer"]
        assert isinstance(buyer, dict)
        filled["buyer"] = {name: value for name, value in buyer.items() if value is not None}
        return filled

    def _checked(self, raw: bytes, owner: str) -> dict[str, object] | web.Response:
        try:
            given = json.loads(raw)
        except ValueError:
            return _problem(400, "json_invalid")
        if _CARD in raw.decode():
            return _problem(422, "pan_not_accepted")
        refusals = {
            (400, "field_unknown"): bool(given.keys() - set(_FIELDS)),
            (400, "field_missing"): "payment_method" not in given,
            (422, "amount_too_small"): given["amount"] < 1,
            (422, "currency_not_supported"): given["currency"] == "XXX",
            (422, "seller_unknown"): str(given.get("seller", "")).startswith("idem-none"),
            (422, "payment_method_invalid"): " " in given.get("payment_method", ""),
            (422, "sandbox_token_refused"): owner == LIVE,
            (422, "not_supported_yet"): given.get("capture") == "manual" and not self.has_manual,
        }
        refused = next((refusal for refusal, is_so in refusals.items() if is_so), None)
        return self._filled(given) if refused is None else _problem(*refused)

    def _marks(self, request: web.Request, raw: bytes) -> object:
        """What counts besides the fields; nothing, unless the promise is broken."""
        return {
            "members_count": list(json.loads(raw)),
            "white_space_counts": raw.count(b"\n"),
            "escapes_count": raw.count(b"\\"),
            "nulls_count": sorted(json.loads(raw)),
            "headers_count": request.headers.get("User-Agent"),
        }.get(self.broken)

    def _new(self, owner: str, key: str, fields: dict[str, object], marks: object) -> Order:
        order = Order(key, owner, fields, marks, created_no=len(self._all))
        self._all.append(order)
        self._orders[owner, key] = order
        return order

    def _known(self, owner: str, key: str, fields: dict[str, object]) -> Order | None:
        order = self._orders.get((owner, key))
        if order is None:
            return None
        age_s = time.monotonic() - order.created_at_s
        is_forgotten = (
            (self.broken == "forgets" and age_s > _FORGOTTEN_AFTER_S)
            or (self.broken == "runs_repeats" and order.frozen is None)
            or (self.broken == "retries_declined" and order.is_declined and order.frozen is not None
                and fields != order.fields)
        )  # fmt: skip
        return None if is_forgotten else order

    async def _answer(
        self,
        request: web.Request,
        raw: bytes,
        owner: str,
        key: str,
        fields: dict[str, object],
        wait_s: int,
    ) -> web.Response:
        marks = self._marks(request, raw)
        order = self._known(owner, key, fields)
        if self.broken == "races":
            await asyncio.sleep(0.3)
        is_replay = order is not None
        if is_replay and self._away_left:
            self._away_left -= 1
            return self._away()
        if order is None:
            order = self._new(owner, key, fields, marks)
        differs = [
            name
            for name in _FIELDS
            if fields[name] != order.fields[name] and self.broken != f"ignores_{name}"
        ]
        if order.checkout is not None and self.broken != "checkout_orders_are_free":
            differs = ["checkout", *differs]
        if differs or marks != order.marks:
            named = differs[:1] if self.broken == "names_one_field" else differs
            return _problem(422, "idempotency_key_reused", details={"differs": named})
        if not is_replay and "User-Agent" not in request.headers:
            # Whoever hangs up is a raw connection.
            self._charge(order, int(self.broken == "charges_again_after_a_hang_up"))
        is_slow = str(fields["payment_method"]).startswith("tok_slow")
        is_settling = wait_s >= 2 or (not is_slow and (is_replay or wait_s > 0))
        if self.broken == "waits_always" or (is_settling and not self._ignores_wait(is_replay)):
            self._settle(order)
        elif wait_s == 1 and self.broken != "waits_too_short":
            await asyncio.sleep(wait_s)
        return self._rendered(request, order, is_replay=is_replay, wait_s=wait_s)

    # --- operations ----------------------------------------------------------------------------------

    async def _operate(self, request: web.Request) -> web.Response:
        owner, payment = self._owner(request), request.match_info["key"]
        order = self._orders.get((owner, payment))
        if order is None:
            return _problem(404, "payment_not_found")
        key: str | web.Response = self._key(request)
        assert isinstance(key, str)
        kind = {"captures": "capture", "refunds": "refund"}.get(request.match_info["path"], "void")
        captured_minor = 0 if order.is_held else int(str(order.fields["amount"]))
        self._operations.money.setdefault((owner, payment), Money(captured_minor))
        return await self._operations.answer(owner, payment, kind, key, await request.json())

    def _credits(self, order: Order) -> int:
        return order.charges + (self.broken == "credits_twice")

    # --- checkouts -----------------------------------------------------------------------------------

    async def _post_checkout(self, request: web.Request) -> web.Response:
        key: str | web.Response = self._key(request)
        assert isinstance(key, str)
        owner, body = self._owner(request), await request.json()
        known = self._checkouts.get((owner, key))
        if self.broken == "races":
            await asyncio.sleep(0.3)
        differs = [
            name
            for name in ("orders", "payment_method", "metadata")
            if known is not None and known.get(name) != body.get(name)
        ]
        if differs and self.broken != "checkout_ignores_body":
            return _problem(422, "idempotency_key_reused", details={"differs": differs})
        if known is None and self.broken != "checkout_takes_ids":
            for position, wanted in enumerate(body["orders"]):
                taken = self._orders.get((owner, wanted["id"]))
                if taken is not None and taken.checkout is None:
                    return _problem(422, "order_id_reused", param=f"$.orders[{position}].id")
        self._checkouts.setdefault((owner, key), body)
        is_again = self.broken == "checkout_runs_again" or (self.broken == "races" and not known)
        for wanted in body["orders"]:
            order = self._orders.get((owner, wanted["id"]))
            if order is None or is_again:
                fields = {name: value for name, value in wanted.items() if name != "id"}
                fields["payment_method"] = body["payment_method"]
                order = self._new(owner, wanted["id"], self._filled(fields), None)
                order.checkout = key
            self._settle(order)
        return self._checkout(owner, key, body, is_replay=known is not None)

    async def _get_checkout(self, request: web.Request) -> web.Response:
        owner, key = self._owner(request), request.match_info["id"].rpartition("_")[2]
        return self._checkout(owner, key, self._checkouts[owner, key], is_replay=False)

    def _checkout(
        self, owner: str, key: str, body: dict[str, Any], *, is_replay: bool
    ) -> web.Response:
        orders = [self._orders[owner, wanted["id"]].body() for wanted in body["orders"]]
        is_done = all(order["status"] == "succeeded" for order in orders)
        told = {"id": f"co_{owner}_{key}", "object": "checkout", "is_payment_done": is_done}
        headers = {"Idempotent-Replayed": "true"} if is_replay else {}
        return web.json_response({**told, "orders": orders}, status=201, headers=headers)

    def _away(self) -> web.Response:
        members = {"retryable": self.broken != "away_for_good", "details": {"may_run": True}}
        away = _problem(503, "store_unavailable", **members)
        if self.broken != "away_without_a_hint":
            away.headers["Retry-After"] = "1"
        return away

    def _ignores_wait(self, is_replay: bool) -> bool:
        return self.broken == "never_waits" or (self.broken == "no_waiting_repeat" and is_replay)

    def _charge(self, order: Order, count: int) -> None:
        order.charges += count
        times = count * (2 if self.broken == "captures_twice" else 1)
        line = {"merchant": order.owner, "order_key": order.key, "status": "captured"}
        self._record += [line] * times

    def _settle(self, order: Order) -> None:
        if order.frozen is None or (self.broken == "declines_again" and order.is_declined):
            token = order.fields["payment_method"]
            is_unclear = (
                self.broken == "charges_unclear_again" and token == "tok_charge_then_timeout"
            )
            order.attempts += 1 + is_unclear
            self._charge(order, 0 if order.is_declined else 1 + is_unclear)
            order.frozen = json.dumps(order.body()).encode()

    def _rendered(
        self, request: web.Request, order: Order, *, is_replay: bool, wait_s: int
    ) -> web.Response:
        self._request_count += 1
        headers = {
            "Location": f"/v1/payments/{order.key}",
            "Request-Id": f"req_{self._request_count}",
        }
        is_marked = is_replay and not (
            self.broken == "other_on_other_connections"
            and request.headers.get("Connection") == "close"
        )
        if is_marked:
            headers["Idempotent-Replayed"] = "true"
        if wait_s:
            headers["Preference-Applied"] = f"wait={wait_s}"
        if self.broken == "defers":
            headers["Tallystick-Key-Check"] = "deferred"
        if order.frozen is None:
            return web.json_response(order.body(), status=202, headers=headers)
        body = json.loads(order.frozen)
        if self.broken == "renders_anew":
            body["rendered"] = self._request_count
        if self.broken == "prefer_changes_bytes":
            body["waited"] = wait_s
        if not order.is_declined:
            return web.json_response(body, status=201, headers=headers)
        problem = {"status": 402, "code": "declined", "retryable": False, "payment": body}
        return web.json_response(
            problem, status=402, headers=headers, content_type="application/problem+json"
        )


def _json(document: object, status: int = 200) -> web.Response:
    return web.json_response(document, status=status)


@asynccontextmanager
async def serving(server: IdempotentServer) -> AsyncIterator[str]:
    """Serve it on a free port; yields its URL."""
    runner = web.AppRunner(server.application(), shutdown_timeout=0.1)
    await runner.setup()
    try:
        port = free_port(set())
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()
