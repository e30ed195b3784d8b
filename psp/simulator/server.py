"""The simulator's HTTP face: routes, headers and what a dropped connection looks like. No rule
lives here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from itertools import islice

import msgspec
from aiohttp import hdrs, web

from psp.simulator.decided import Decision
from psp.simulator.delivering import Delivering
from psp.simulator.faults import FaultSwitch
from psp.simulator.pages import Pages
from psp.simulator.payment_page import PaymentPages
from psp.simulator.replies import NOT_FOUND, Reply, named, problem
from psp.simulator.sandbox import Sandbox, scenario_changed
from psp.simulator.stripe_server import StripeServer
from psp.simulator.webhook_sending import WebhookSender
from psp.simulator.wire import (
    AMOUNT_MINOR_MAX,
    UNREADABLE,
    ChangeKind,
    ChangeRequest,
    ChargeRequest,
    DisputeRequest,
    Key,
)
from runtime.direct_serving import DIRECT_ROUTES
from runtime.lined_responses import LinedResponse

CHARGES_PATH = "/v1/charges"

BODY_BYTES_MAX = 65_536
"""Largest request body; ours have about 300 bytes."""

STREAM_ROWS_PER_WRITE = 500
"""Rows of a report per write, about 150 kB: others are served in between, and memory stays bounded.
"""

_CHARGE = msgspec.json.Decoder(ChargeRequest)
_CHANGE = msgspec.json.Decoder(ChangeRequest)
_DISPUTE = msgspec.json.Decoder(DisputeRequest)
_DISPUTES = {
    "": ChangeKind.DISPUTE,
    "win": ChangeKind.DISPUTE_WON,
    "lose": ChangeKind.DISPUTE_LOST,
}
_ENCODER = msgspec.json.Encoder()
_LINES_OF_ALL = "Content-Type: application/json\r\nServer: psp-simulator\r\n"


class SimulatorServer:
    """Serves one Sandbox."""

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        name: str,
        switch: FaultSwitch | None = None,
        sender: WebhookSender | None = None,
        stripe: StripeServer | None = None,
    ) -> None:
        """``stripe`` serves the same charges in Stripe's shapes, too."""
        self._sandbox = sandbox
        self._delivering = Delivering()
        self._stripe = stripe
        self._sender = sender
        self._pages = Pages(name)
        self._payment_pages = PaymentPages(
            sandbox, self._pages.templates, name=name, now=sandbox.now
        )
        self._switch = switch or FaultSwitch(sandbox)

    def application(self) -> web.Application:
        """Return the routes, ready for a runner."""
        one = f"{CHARGES_PATH}/{{reference}}"
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        application[DIRECT_ROUTES] = {(hdrs.METH_POST, CHARGES_PATH): self._post_charge}
        application.on_shutdown.append(self._delivering.stop)
        if self._stripe is not None:
            application.add_routes(self._stripe.routes(self._delivering))
        application.add_routes(
            [
                web.post(CHARGES_PATH, self._post_charge),
                web.get(CHARGES_PATH, self._get_charge_of_key),
                web.get(one, self._get_charge),
                web.post(f"{one}/{{kind:capture|refund|void}}", self._post_change),
                web.post("/v1/keys/{key}/cancel", self._post_cancel),
                web.get("/v1/settlements", self._get_settlements),
                web.get("/_oracle/charges", self._get_oracle_charges),
                web.get("/_oracle/totals", self._get_oracle_totals),
                web.get("/_sim/scenario", self._get_scenario),
                web.post("/_sim/scenario", self._post_scenario),
                web.post("/_sim/actions/{reference}/{decision:complete|fail}", self._post_action),
                web.post("/_sim/disputes/{reference}", self._post_dispute),
                web.post("/_sim/disputes/{reference}/{decision:win|lose}", self._post_dispute),
                web.get("/actions/{reference}", self._get_action_page),
                web.post("/actions/{reference}", self._post_action_page),
                *self._payment_pages.routes(),
                web.get("/_faults", self._switch.get),
                web.post("/_faults", self._switch.post),
                web.delete("/_faults", self._switch.delete),
                web.get("/_sim/webhooks", self._get_webhooks),
                web.get("/healthz", self._get_health),
                web.get("/", self._get_page),
            ]
        )
        return application

    # -- money ----------------------------------------------------------------------------------

    async def _post_charge(self, request: web.Request) -> web.StreamResponse:
        try:
            key = _key_of(request)
            body = _CHARGE.decode(await request.read())
        except UNREADABLE as unreadable:
            return _invalid(unreadable)
        return await self._deliver(request, await self._sandbox.charge(key, body), key)

    async def _post_change(self, request: web.Request) -> web.StreamResponse:
        kind = ChangeKind(request.match_info["kind"])
        try:
            key = _key_of(request)
            amount_minor = (
                None if kind is ChangeKind.VOID else _CHANGE.decode(await request.read()).amount
            )
        except UNREADABLE as unreadable:
            return _invalid(unreadable)
        reference = request.match_info["reference"]
        decision = await self._sandbox.change(key, reference, kind, amount_minor)
        return await self._deliver(request, decision, key)

    async def _post_cancel(self, request: web.Request) -> web.StreamResponse:
        try:
            key = msgspec.convert(request.match_info["key"], type=Key)
        except msgspec.ValidationError as unreadable:
            return _invalid(unreadable)
        return await self._deliver(request, await self._sandbox.cancel(key), key)

    async def _get_charge_of_key(self, request: web.Request) -> web.Response:
        if (key := request.query.get("key")) is None:
            return _answer(problem(400, "invalid_request", "The parameter `key` is missing."))
        return _answer(named(await self._sandbox.query(key), key))

    async def _get_charge(self, request: web.Request) -> web.Response:
        return _answer(await self._sandbox.query_reference(request.match_info["reference"]))

    async def _deliver(
        self, request: web.Request, decision: Decision, key: str | None = None
    ) -> web.StreamResponse:
        """Answer, late or not at all, as the decision says; ``key`` is the request's own."""
        if decision.reply is None:
            raise web.HTTPInternalServerError
        await self._delivering.hold(request, decision)
        return _answer(decision.reply if key is None else named(decision.reply, key))

    # -- reports and the oracle -----------------------------------------------------------------

    async def _get_settlements(self, request: web.Request) -> web.StreamResponse:
        try:
            since = datetime.fromisoformat(request.query.get("since", "1970-01-01T00:00:00Z"))
        except ValueError:
            since = None
        if since is None or since.tzinfo is None:
            message = "`since` has to be an RFC 3339 time with its offset."
            return _answer(problem(400, "invalid_request", message))
        rows = self._sandbox.state.settlement_rows(int(since.timestamp() * 1000))
        return await _stream(request, rows)

    async def _get_oracle_charges(self, request: web.Request) -> web.StreamResponse:
        after = request.query.get("after", "0")
        if not after.isascii() or not after.isdigit() or int(after) > AMOUNT_MINOR_MAX:
            return _answer(problem(400, "invalid_request", "`after` has to be a whole number."))
        return await _stream(request, self._sandbox.state.oracle_rows(after=int(after)))

    async def _get_oracle_totals(self, _request: web.Request) -> web.Response:
        return _json(self._sandbox.state.totals())

    # -- experiments and pages ------------------------------------------------------------------

    async def _get_scenario(self, _request: web.Request) -> web.Response:
        return _json(self._sandbox.scenario)

    async def _post_scenario(self, request: web.Request) -> web.Response:
        try:
            changed = scenario_changed(self._sandbox.scenario, await request.read())
        except UNREADABLE as unreadable:
            return _invalid(unreadable)
        self._sandbox.scenario = changed
        return _json(changed)

    async def _get_webhooks(self, _request: web.Request) -> web.Response:
        """How its webhooks were answered: ``<kind> <status>``, and how often."""
        answers = {} if self._sender is None else dict(sorted(self._sender.answers.items()))
        return web.json_response(answers)

    async def _post_action(self, request: web.Request) -> web.StreamResponse:
        is_approved = request.match_info["decision"] == "complete"
        decision = await self._sandbox.act(request.match_info["reference"], is_approved=is_approved)
        return await self._deliver(request, decision)

    async def _post_dispute(self, request: web.Request) -> web.StreamResponse:
        kind = _DISPUTES[request.match_info.get("decision", "")]
        try:
            body = await request.read()
            amount_minor = _DISPUTE.decode(body or b"{}").amount
        except UNREADABLE as unreadable:
            return _invalid(unreadable)
        reference = request.match_info["reference"]
        decision = await self._sandbox.dispute(reference, kind, amount_minor)
        return await self._deliver(request, decision)

    async def _get_action_page(self, request: web.Request) -> web.Response:
        reference = request.match_info["reference"]
        charge = self._sandbox.state.charge_of_reference(reference)
        if charge is None:
            return _answer(NOT_FOUND)
        return _html(self._pages.action(charge, reference))

    async def _post_action_page(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        decision = form.get("decision")
        if decision not in ("complete", "fail"):
            return _answer(problem(400, "invalid_request", "`decision` is complete or fail."))
        reference = request.match_info["reference"]
        decided = await self._sandbox.act(reference, is_approved=decision == "complete")
        if decided.reply is NOT_FOUND:
            return _answer(NOT_FOUND)
        raise web.HTTPSeeOther(request.path)

    async def _get_health(self, _request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def _get_page(self, _request: web.Request) -> web.Response:
        return _html(self._pages.charges(self._sandbox.state, self._sandbox.scenario))


def _key_of(request: web.Request) -> str:
    """Return the idempotency key. Raises msgspec.ValidationError."""
    return msgspec.convert(request.headers.get("Idempotency-Key"), type=Key)


def _answer(reply: Reply) -> web.Response:
    lines = _LINES_OF_ALL
    if reply.body.retry_after_s is not None:
        # The header knows whole seconds only; the body has the exact figure.
        lines += f"Retry-After: {math.ceil(reply.body.retry_after_s)}\r\n"
    return LinedResponse(reply.status, _ENCODER.encode(reply.body), lines)


def _invalid(reason: Exception) -> web.Response:
    return _answer(problem(400, "invalid_request", str(reason)[:200]))


def _json(body: msgspec.Struct) -> web.Response:
    return web.Response(body=_ENCODER.encode(body), content_type="application/json")


def _html(page: str) -> web.Response:
    # Nothing is loaded from anywhere; the one inline style is our own.
    policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
    return web.Response(text=page, content_type="text/html", headers=headers)


async def _stream(request: web.Request, rows: Iterator[msgspec.Struct]) -> web.StreamResponse:
    """Send rows as NDJSON, some hundred at a time."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    while chunk := list(islice(rows, STREAM_ROWS_PER_WRITE)):
        await response.write(_ENCODER.encode_lines(chunk))
    await response.write_eof()
    return response
