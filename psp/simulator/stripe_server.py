"""The simulator's other HTTP face: the same charges in Stripe's shapes. No rule lives here.

What Stripe is known for, and shown: a PaymentIntent that runs only once it is confirmed, answers kept
under their key and replayed (failures, too), parameters compared, 409 for a twin. One thing is shown
otherwise: a replayed confirmation has the PaymentIntent as it stands now, not as it stood then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from psp.simulator.behaviour import fingerprint_of_request
from psp.simulator.decided import Decision, Delivery
from psp.simulator.delivering import Delivering
from psp.simulator.records import FailureRecord, IntentRecord, Record
from psp.simulator.replies import FAILED, IN_PROGRESS
from psp.simulator.sandbox import Sandbox
from psp.simulator.stripe_intents import StripeIntents, charge_request, metadata_of
from psp.simulator.stripe_movements import StripeMovements
from psp.simulator.stripe_requests import fields_of, is_done, key_of, refusal_of, reply_of
from psp.simulator.stripe_shapes import (
    StripeAnswer,
    error,
    failed,
    intent_shape,
    key_reused,
    missing,
    of_problem,
)
from psp.simulator.wire import UNREADABLE, AnswerBody, ChangeKind

_UNEXPECTED_STATE = "payment_intent_unexpected_state"


class StripeServer:
    """Serves one Sandbox in Stripe's shapes, under any test key."""

    def __init__(
        self,
        sandbox: Sandbox,
        intents: StripeIntents,
        *,
        append: Callable[[Record], Awaitable[None]],
    ) -> None:
        self._sandbox = sandbox
        self._intents = intents
        self._append = append
        self._movements = StripeMovements(sandbox, intents)
        self._delivering = Delivering()
        self._creating: set[str] = set()

    def routes(self, delivering: Delivering) -> list[web.RouteDef]:
        """Return the routes, none of which the simulator has in its own shape."""
        self._delivering = delivering
        intent = "/v1/payment_intents/{id}"
        return [
            web.post("/v1/payment_intents", self._authorized(self._create)),
            web.get(intent, self._authorized(self._retrieve)),
            web.post(f"{intent}/confirm", self._authorized(self._confirm)),
            web.post(f"{intent}/capture", self._authorized(self._capture)),
            web.post(f"{intent}/cancel", self._authorized(self._cancel)),
            web.post("/v1/refunds", self._authorized(self._movements.refund)),
            web.get("/v1/refunds", self._authorized(self._movements.refunds)),
            web.get("/v1/balance_transactions", self._authorized(self._movements.balance)),
        ]

    def _authorized(
        self, handler: Callable[[web.Request], Awaitable[StripeAnswer]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            scheme, _, key = request.headers.get("Authorization", "").partition(" ")
            if scheme != "Bearer" or not key.startswith(("sk_test_", "rk_test_")):
                return _response(error(401, "invalid_request_error", message="Invalid API Key."))
            try:
                return _response(await handler(request), request.headers.get("Idempotency-Key"))
            except UNREADABLE as unreadable:
                message = str(unreadable)[:200]
                return _response(error(400, "invalid_request_error", message=message))

        return handle

    # -- PaymentIntents ---------------------------------------------------------------------------

    async def _create(self, request: web.Request) -> StripeAnswer:
        key = key_of(request)
        body = await request.read()
        fields = fields_of(body)
        fingerprint = fingerprint_of_request(body)
        if self._sandbox.scenario.outage or self._sandbox.faults.down:
            return error(503, "api_error", message="Not available.")
        known = self._intents.of_key(key)
        if known is None and key in self._creating:
            return of_problem(IN_PROGRESS)
        state = self._sandbox.state
        is_used = state.change_of_key(key) is not None or state.charge_of_key(key) is not None
        if known.fingerprint != fingerprint if known is not None else is_used:
            return key_reused()
        if known is not None:
            return self._shown(known, None, headers={"Idempotent-Replayed": "true"})
        made = IntentRecord(
            key=key,
            request=charge_request(fields),
            metadata=metadata_of(fields),
            fingerprint=fingerprint,
            at_ms=self._sandbox.now_ms(),
        )
        self._creating.add(key)
        try:
            await self._append(made)
        finally:
            self._creating.discard(key)
        return self._shown(made, None)

    async def _retrieve(self, request: web.Request) -> StripeAnswer:
        intent = self._intents.of_id(request.match_info["id"])
        return missing("payment_intent") if intent is None else await self._as_it_stands(intent)

    async def _confirm(self, request: web.Request) -> StripeAnswer:
        key = key_of(request)
        intent = self._intents.of_id(request.match_info["id"])
        if intent is None:
            return missing("payment_intent")
        if self._intents.has_failed(key):
            return failed(is_replay=True)
        has_run = self._sandbox.state.charge_of_key(intent.key) is not None
        decision = await self._sandbox.charge(intent.key, intent.request)
        answer = self._of_decision(intent, decision)
        if answer.status == FAILED.status and has_run:
            answer = failed(is_replay=True)
        elif answer.status == FAILED.status and decision.delivery is Delivery.ANSWER:
            await self._append(FailureRecord(key=key, at_ms=self._sandbox.now_ms()))
        await self._delivering.hold(request, decision)
        return answer

    async def _cancel(self, request: web.Request) -> StripeAnswer:
        intent = self._intents.of_id(request.match_info["id"])
        if intent is None:
            return missing("payment_intent")
        reply = reply_of(await self._sandbox.cancel(intent.key))
        charge = reply.body if reply.body.object == "charge" else None
        if reply.status == 410:
            return self._shown(intent, charge)
        return (
            of_problem(reply) if charge is None else self._unexpected(self._shown(intent, charge))
        )

    async def _capture(self, request: web.Request) -> StripeAnswer:
        key = key_of(request)
        fields = fields_of(await request.read())
        intent = self._intents.of_id(request.match_info["id"])
        charge = None if intent is None else self._sandbox.state.charge_of_key(intent.key)
        if intent is None or charge is None:
            return missing("payment_intent")
        text = fields.get("amount_to_capture")
        amount_minor = intent.request.amount if text is None else int(text)
        if charge.captured_minor and self._intents.capture_key(intent.key) != key:
            # One capture is all that Stripe takes, if nobody asked for more.
            return self._unexpected(await self._as_it_stands(intent))
        reference = self._intents.charge_id(intent.key)
        decision = await self._sandbox.change(key, reference, ChangeKind.CAPTURE, amount_minor)
        refusal = refusal_of(decision)
        if refusal == "amount_above_authorized":
            return error(
                400, "invalid_request_error", code="amount_too_large", param="amount_to_capture"
            )
        if is_done(decision) and charge.held_minor:
            # What it left is released with it.
            await self._sandbox.change(f"{key}-rest", reference, ChangeKind.VOID, None)
        shown = await self._as_it_stands(intent)
        if refusal is not None:
            return self._unexpected(shown)
        return shown if is_done(decision) else of_problem(reply_of(decision))

    def _of_decision(self, intent: IntentRecord, decision: Decision) -> StripeAnswer:
        reply = reply_of(decision)
        charge = reply.body if reply.body.object == "charge" else None
        if reply.status == 410:
            return self._unexpected(self._shown(intent, charge))
        if charge is not None and reply.status != 402:
            return self._shown(intent, charge)
        if reply.status != 402:
            return of_problem(reply)
        shown = self._shown(intent, reply.body)
        return error(
            402,
            "card_error",
            code="card_declined",
            decline_code=reply.body.decline_code,
            message="Your card was declined.",
            payment_intent=shown.body,
        )

    async def _as_it_stands(self, intent: IntentRecord) -> StripeAnswer:
        reply = await self._sandbox.query(intent.key)
        if reply.body.object == "charge":
            return self._shown(intent, reply.body)
        if self._sandbox.state.charge_of_key(intent.key) is not None or reply.status in (409, 429):
            # What the PSP says against the truth, or in an outage.
            return of_problem(reply)
        return of_problem(reply) if reply.status == 503 else self._shown(intent, None)

    def _shown(
        self,
        intent: IntentRecord,
        charge: AnswerBody | None,
        *,
        headers: dict[str, str] | None = None,
    ) -> StripeAnswer:
        is_burned = self._sandbox.state.is_burned(intent.key)
        body = intent_shape(self._intents, intent, charge, is_burned=is_burned)
        return StripeAnswer(status=200, body=body, headers=headers or {})

    @staticmethod
    def _unexpected(shown: StripeAnswer) -> StripeAnswer:
        message = f"This PaymentIntent has a status of {shown.body['status']}."
        return error(
            400,
            "invalid_request_error",
            code=_UNEXPECTED_STATE,
            message=message,
            payment_intent=shown.body,
        )


def _response(answer: StripeAnswer, key: str | None = None) -> web.Response:
    """Return the answer as bytes, with the key of its request, which Stripe reflects."""
    reflected = {} if key is None or not key.isascii() else {"Idempotency-Key": key}
    return web.Response(
        status=answer.status,
        body=answer.encoded(),
        content_type="application/json",
        headers={**answer.headers, **reflected},
    )
