"""Refunds and the account's balance, in Stripe's shapes."""

from __future__ import annotations

from aiohttp import web

from psp.simulator.sandbox import Sandbox
from psp.simulator.stripe_intents import StripeIntents
from psp.simulator.stripe_requests import (
    PAGE_LINES_MAX,
    fields_of,
    is_done,
    key_of,
    page,
    refusal_of,
    reply_of,
)
from psp.simulator.stripe_shapes import (
    StripeAnswer,
    balance_shape,
    error,
    key_reused,
    missing,
    of_problem,
    refund_shape,
)
from psp.simulator.wire import ChangeKind


class StripeMovements:
    """What was paid back, and what came onto the account."""

    def __init__(self, sandbox: Sandbox, intents: StripeIntents) -> None:
        self._sandbox = sandbox
        self._intents = intents

    async def refund(self, request: web.Request) -> StripeAnswer:
        """POST /v1/refunds."""
        key = key_of(request)
        fields = fields_of(await request.read())
        intent = self._intents.of_id(fields.get("payment_intent", ""))
        if intent is None or self._sandbox.state.charge_of_key(intent.key) is None:
            return missing("payment_intent", "payment_intent")
        if self._intents.of_key(key) is not None:
            return key_reused()
        amount_minor = int(fields.get("amount", str(intent.request.amount)))
        reference = self._intents.charge_id(intent.key)
        decision = await self._sandbox.change(key, reference, ChangeKind.REFUND, amount_minor)
        refusal = refusal_of(decision)
        if refusal == "amount_above_captured":
            message = "The refund is greater than what is left of the charge."
            return error(400, "invalid_request_error", message=message, param="amount")
        if refusal is not None:
            return error(400, "invalid_request_error", code=refusal)
        for refund in self._intents.refunds(intent.key):
            if refund.key == key and is_done(decision):
                return StripeAnswer(status=200, body=refund_shape(self._intents, intent, refund))
        return of_problem(reply_of(decision))

    async def refunds(self, request: web.Request) -> StripeAnswer:
        """GET /v1/refunds, of one PaymentIntent; the newest first."""
        intent = self._intents.of_id(request.query.get("payment_intent", ""))
        if intent is None:
            return missing("payment_intent", "payment_intent")
        if self._sandbox.scenario.outage or self._sandbox.faults.down:
            return error(503, "api_error", message="Not available.")
        refunds = self._intents.refunds(intent.key)
        shown = [refund_shape(self._intents, intent, refund) for refund in reversed(refunds)]
        return page(shown)

    async def balance(self, request: web.Request) -> StripeAnswer:
        """GET /v1/balance_transactions: charges that moved money; the newest first."""
        since_ms = int(request.query.get("created[gte]", "0")) * 1_000
        before_ms = int(request.query.get("created[lt]", str(2**53))) * 1_000
        rows = [
            row
            for row in self._sandbox.state.settlement_rows(since_ms)
            if row.at.timestamp() * 1_000 < before_ms
        ]
        shown = [
            balance_shape(self._intents, intent, row)
            for row in reversed(rows)
            if (intent := self._intents.of_key(row.key)) is not None
        ]
        after = request.query.get("starting_after")
        places = [place for place, one in enumerate(shown) if one["id"] == after]
        limit = min(int(request.query.get("limit", "10")), PAGE_LINES_MAX)
        return page(shown[places[0] + 1 if places else 0 :], limit)
