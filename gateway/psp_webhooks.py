"""``POST /v1/psp/{name}/webhooks``: what PSPs tell of charges, verified and queued to their orders' owners.

Nothing is decided here. An event is believed only with its PSP's signature over the bytes as they came, and is
answered 2xx only once it is on every copy of the queue that an order would be on.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from aiohttp import web

from gateway.accepting import Accepting
from gateway.bodies import PAN_PROBLEM, read_body
from gateway.door import Answer
from gateway.idempotency import Verdict
from gateway.openapi.common import FIELD_TEXT
from gateway.openapi.declarations import (
    Answered,
    Body,
    Declaration,
    Example,
    Parameter,
    Tag,
    documented,
    problem_answer,
)
from gateway.parameters import single_parameters
from gateway.problems import Code, Problem, store_unavailable
from gateway.rendering import json_response
from gateway.settings import GatewaySettings
from payments.card_numbers import contains_card_number_in_json
from payments.identity import PspKey, parse_psp_key
from payments.json_schema import Schema, constant, one_of, record
from payments.partitioning import partition_index
from payments.psp_events import PspEvent, event_uuid
from psp.webhooks import (
    HEADER_ID,
    HEADER_SIGNATURE,
    HEADER_TIMESTAMP,
    PspNotice,
    Refusal,
    Verifier,
    WebhookUnreadable,
    WebhookVerifier,
)
from runtime.clock import Clock
from runtime.faults import StorageUnavailable
from runtime.metrics import GATEWAY_PSP_EVENTS, Metrics
from storage.event_envelope import event_entry, problem_of_event
from storage.psp_references import PspReferences

_NO_PSP = Problem(
    code=Code.PSP_NOT_FOUND, detail="No PSP of that name has a webhook secret configured here."
)
_FULL = Problem(
    code=Code.QUEUE_BACKPRESSURE,
    detail="Too much is waiting. The event was not kept; send it again.",
)
_UNPROVEN = store_unavailable(
    "The event is not known to be on every copy. Send it again: it counts once.", may_run=True
)
_UNNAMED = store_unavailable(
    "Which order the event is of can't be looked up now. It was not kept; send it again.",
    may_run=False,
)
_ACCEPTED = frozenset({Verdict.ACCEPTED, Verdict.ACCEPTED_DEFERRED})

_TAKEN: Schema = record(
    "PspWebhook",
    "What became of a provider's event.",
    {"object": constant("psp_webhook"), "status": one_of("queued", "ignored")},
)


def _signed(name: str, what: str, example: str) -> Parameter:
    return Parameter(
        name=name,
        place="header",
        text=f"{what} Of providers that sign as Standard Webhooks says.",
        schema={"type": "string", "pattern": FIELD_TEXT},
        example=example,
    )


def _mismatch(detail: str, header: str) -> Problem:
    return Problem(code=Code.WEBHOOK_SIGNATURE_INVALID, detail=detail, param=f"header:{header}")


_STALE = {
    HEADER_ID: "evt_b",
    HEADER_TIMESTAMP: "1793534400",
    HEADER_SIGNATURE: "v1,bm90IHNpZ25lZCBieSBhbnlib2R5IHdlIGtub3cuLi4=",
}
_RECEIVE = Declaration(
    name="receive_psp_webhook",
    tag=Tag.PROVIDERS,
    summary="Take a provider's webhook",
    text=(
        "Signed by the provider over the bytes of the body, and believed for nothing else. A 2xx says that the"
        " event is on every copy of the queue that an order would be on; it counts once."
    ),
    parameters=(
        Parameter(
            name="name",
            place="path",
            text="The provider's name in the configuration.",
            schema={"type": "string", "minLength": 1},
            example="simulator",
        ),
        _signed(HEADER_ID, "The event's id.", _STALE[HEADER_ID]),
        _signed(HEADER_TIMESTAMP, "Seconds since 1970.", _STALE[HEADER_TIMESTAMP]),
        _signed(HEADER_SIGNATURE, "`v1,` and base64.", _STALE[HEADER_SIGNATURE]),
    ),
    body=Body(of={"type": "object"}, text="As the provider writes it."),
    answers=(
        Answered(status=200, text="It concerns no order.", schema=_TAKEN),
        Answered(status=202, text="It is queued to its order.", schema=_TAKEN),
    ),
    problems=(
        Code.PSP_NOT_FOUND,
        Code.WEBHOOK_SIGNATURE_INVALID,
        Code.WEBHOOK_TIMESTAMP_INVALID,
        Code.WEBHOOK_INVALID,
        Code.QUEUE_BACKPRESSURE,
        Code.STORE_UNAVAILABLE,
    ),
    examples=(
        Example(
            name="unsigned",
            text="A signature that is nobody's",
            path={"name": "simulator"},
            headers=_STALE,
            body={"id": "evt_b", "type": "charge.captured"},
            status=403,
            answer=problem_answer(
                _mismatch(WebhookVerifier.mismatch, WebhookVerifier.signature_header)
            ),
        ),
        Example(
            name="unknown",
            text="A provider that there is not",
            path={"name": "nobody"},
            headers=_STALE,
            body={"id": "evt_b", "type": "charge.captured"},
            status=404,
            answer=problem_answer(_NO_PSP),
        ),
    ),
)


class PspWebhooks:
    """The handler of the route."""

    def __init__(
        self,
        settings: GatewaySettings,
        accepting: Accepting,
        references: PspReferences,
        *,
        clock: Clock,
        metrics: Metrics,
        reply_to: str,
    ) -> None:
        self._settings = settings
        self._accepting = accepting
        self._references = references
        self._clock = clock
        # There from the start: an increase from nothing to one would be none to who watches it.
        self._counts = {
            (psp, answer): metrics.counter(GATEWAY_PSP_EVENTS, psp, answer)
            for psp in settings.webhooks
            for answer in ("queued", "ignored", "refused", "unavailable")
        }
        self._reply_to = reply_to

    @documented(_RECEIVE)
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
        refusal = source.verifier.refusal_of(
            lambda name: _header(request, name), body, now_s=self._clock.now().timestamp()
        )
        if refusal is not None:
            return self._told(psp, "refused", _refused(refusal, source.verifier))
        if contains_card_number_in_json(body):
            return self._told(psp, "refused", PAN_PROBLEM)
        try:
            notice = await self._named(psp, source.read(body))
            event = notice and event_of(psp, notice, now=self._clock.now(), reply_to=self._reply_to)
            place = notice and payment_of(notice)
        except WebhookUnreadable as unreadable:
            return self._told(psp, "refused", _unreadable(unreadable))
        except StorageUnavailable:
            return self._told(psp, "unavailable", _UNNAMED)
        if event is None or place is None:
            return self._told(psp, "ignored", _answer("ignored", 200))
        return await self._queue(event, place)

    async def _named(self, psp: str, notice: PspNotice | None) -> PspNotice | None:
        """Return a webhook with its key; one without is looked up. Raises StorageUnavailable."""
        if notice is None or notice.psp_key is not None or notice.answer.reference is None:
            return notice
        key = await self._references.key_of(psp, notice.answer.reference)
        return None if key is None else notice._replace(psp_key=key)

    async def _queue(self, event: PspEvent, payment: UUID) -> Answer:
        index = partition_index(payment, self._settings.partition_count)
        verdict = await self._accepting.accept_event(event_entry(event, index))
        if verdict in _ACCEPTED:
            return self._told(event.psp, "queued", _answer("queued", 202))
        problem = _FULL if verdict is Verdict.BACKPRESSURE else _UNPROVEN
        return self._told(event.psp, "unavailable", problem)

    def _told(self, psp: str, answer: str, response: Answer) -> Answer:
        self._counts[psp, answer].inc()
        return response


def payment_of(notice: PspNotice) -> UUID | None:
    """Return whose partition owns what a webhook tells of: an operation's is its payment's, by its charge's key.

    None where that is no key of ours.
    """
    key = _parsed(notice.psp_key if notice.charge_key is None else notice.charge_key)
    return None if key is None else key.order_uuid


def event_of(psp: str, notice: PspNotice, *, now: datetime, reply_to: str) -> PspEvent | None:
    """Return a webhook as the queue takes it, or None when its key is none of ours. Raises WebhookUnreadable."""
    key = _parsed(notice.psp_key)
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
        accepted_at=now,
        reply_to=reply_to,
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


def _parsed(key: str | None) -> PspKey | None:
    return None if key is None else parse_psp_key(key)


def _refused(refusal: Refusal, verifier: Verifier) -> Problem:
    if refusal is Refusal.TIMESTAMP:
        return Problem(
            code=Code.WEBHOOK_TIMESTAMP_INVALID,
            detail="The time of signing is too far from the present. Sign it anew with each try.",
            param=f"header:{verifier.timestamp_header}",
        )
    return _mismatch(verifier.mismatch, verifier.signature_header)


def _header(request: web.Request, name: str) -> str:
    """One header; two of a name are none, since nobody knows which one was signed."""
    values = request.headers.getall(name, [])
    return values[0] if len(values) == 1 else ""


def _answer(status: str, http_status: int) -> web.Response:
    return json_response({"object": "psp_webhook", "status": status}, http_status)


def _unreadable(unreadable: WebhookUnreadable) -> Problem:
    return Problem(code=Code.WEBHOOK_INVALID, detail=f"The body can't be used: {unreadable}.")
