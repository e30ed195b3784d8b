"""``POST /v1/psp/{name}/webhooks``: what PSPs tell of charges, verified and queued to their orders' owners.

Nothing is decided here. An event is believed only with its PSP's signature over the bytes as they came, and is
answered 2xx only once it is on every copy of the queue that an order would be on.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from gateway.accepting import Accepting
from gateway.bodies import PAN_PROBLEM, read_body
from gateway.door import Answer
from gateway.idempotency import Verdict
from gateway.parameters import single_parameters
from gateway.problems import Code, Problem, store_unavailable
from gateway.rendering import json_response
from gateway.settings import GatewaySettings
from payments.card_numbers import contains_card_number_in_json
from payments.identity import parse_psp_key
from payments.partitioning import partition_index
from payments.psp_events import PspEvent, event_uuid
from psp.webhooks import (
    HEADER_ID,
    HEADER_SIGNATURE,
    HEADER_TIMESTAMP,
    PspNotice,
    Refusal,
    WebhookUnreadable,
)
from runtime.clock import Clock
from runtime.metrics import GATEWAY_PSP_EVENTS, Metrics
from storage.event_envelope import event_entry, problem_of_event

_NO_PSP = Problem(
    code=Code.PSP_NOT_FOUND, detail="No PSP of that name has a webhook secret configured here."
)
_REFUSALS: Mapping[Refusal, Problem] = {
    Refusal.SIGNATURE: Problem(
        code=Code.WEBHOOK_SIGNATURE_INVALID,
        detail=f"{HEADER_ID}, {HEADER_TIMESTAMP} and the body don't fit {HEADER_SIGNATURE}.",
        param=f"header:{HEADER_SIGNATURE}",
    ),
    Refusal.TIMESTAMP: Problem(
        code=Code.WEBHOOK_TIMESTAMP_INVALID,
        detail="The time of signing is too far from the present. Sign it anew with each try.",
        param=f"header:{HEADER_TIMESTAMP}",
    ),
}
_FULL = Problem(
    code=Code.QUEUE_BACKPRESSURE,
    detail="Too much is waiting. The event was not kept; send it again.",
)
_UNPROVEN = store_unavailable(
    "The event is not known to be on every copy. Send it again: it counts once.", may_run=True
)
_ACCEPTED = frozenset({Verdict.ACCEPTED, Verdict.ACCEPTED_DEFERRED})


class PspWebhooks:
    """The handler of the route."""

    def __init__(
        self,
        settings: GatewaySettings,
        accepting: Accepting,
        *,
        clock: Clock,
        metrics: Metrics,
        reply_to: str,
    ) -> None:
        self._settings = settings
        self._accepting = accepting
        self._clock = clock
        self._metrics = metrics
        self._reply_to = reply_to

    async def receive(self, request: web.Request) -> Answer:
        """POST /v1/psp/{name}/webhooks: 202 once the event is queued, 200 when it concerns no order."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        psp = request.match_info["name"]
        source = self._settings.webhooks.get(psp)
        if source is None:
            return _NO_PSP
        body = await read_body(request, self._settings.body_s)
        if isinstance(body, Problem):
            return body
        refusal = source.verifier.refusal(
            _header(request, HEADER_ID),
            _header(request, HEADER_TIMESTAMP),
            _header(request, HEADER_SIGNATURE),
            body,
            now_s=self._clock.now().timestamp(),
        )
        if refusal is not None:
            return self._told(psp, "refused", _REFUSALS[refusal])
        if contains_card_number_in_json(body):
            return self._told(psp, "refused", PAN_PROBLEM)
        try:
            notice = source.read(body)
            event = None if notice is None else self._event(psp, notice)
        except WebhookUnreadable as unreadable:
            return self._told(psp, "refused", _unreadable(unreadable))
        if event is None:
            return self._told(psp, "ignored", _answer("ignored", 200))
        return await self._queue(event)

    async def _queue(self, event: PspEvent) -> Answer:
        index = partition_index(event.order_uuid, self._settings.partition_count)
        verdict = await self._accepting.accept_event(event_entry(event, index))
        if verdict in _ACCEPTED:
            return self._told(event.psp, "queued", _answer("queued", 202))
        problem = _FULL if verdict is Verdict.BACKPRESSURE else _UNPROVEN
        return self._told(event.psp, "unavailable", problem)

    def _event(self, psp: str, notice: PspNotice) -> PspEvent | None:
        """Return the event, or None when its key is none of ours. Raises WebhookUnreadable."""
        key = parse_psp_key(notice.psp_key)
        if key is None:
            return None
        answer = notice.answer
        event = PspEvent(
            event_uuid=event_uuid(psp, notice.event_id),
            psp=psp,
            event_id=notice.event_id,
            order_uuid=key.order_uuid,
            attempt_no=key.attempt_no,
            result=answer.result,
            reference=answer.reference,
            captured_minor=answer.captured_minor,
            currency=answer.currency,
            failure_code=answer.failure_code,
            decline_code=answer.decline_code,
            message=answer.message,
            effective_at=answer.effective_at,
            accepted_at=self._clock.now(),
            reply_to=self._reply_to,
        )
        if (dispute := notice.dispute) is not None:
            event = event._replace(
                dispute_id=dispute.dispute_id,
                dispute_state=dispute.state,
                disputed_minor=dispute.amount_minor,
            )
        problem = problem_of_event(event)
        if problem is not None:
            raise WebhookUnreadable(problem)
        return event

    def _told(self, psp: str, answer: str, response: Answer) -> Answer:
        self._metrics.counter(GATEWAY_PSP_EVENTS, psp, answer).inc()
        return response


def _header(request: web.Request, name: str) -> str:
    """One header; two of a name are none, since nobody knows which one was signed."""
    values = request.headers.getall(name, [])
    return values[0] if len(values) == 1 else ""


def _answer(status: str, http_status: int) -> web.Response:
    return json_response({"object": "psp_webhook", "status": status}, http_status)


def _unreadable(unreadable: WebhookUnreadable) -> Problem:
    return Problem(code=Code.WEBHOOK_INVALID, detail=f"The body can't be used: {unreadable}.")
