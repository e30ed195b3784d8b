"""What there is to say of the routes of webhook endpoints and their deliveries; their handlers are in
``gateway.webhook_endpoints`` and ``gateway.webhook_deliveries``."""

from __future__ import annotations

from gateway.openapi.common import LIMIT, number_pattern
from gateway.openapi.declarations import Answered, Body, Declaration, Parameter, Tag
from gateway.problems import Code
from gateway.webhook_requests import (
    EndpointRequest,
    NothingRequest,
    ResendRequest,
    RotationRequest,
)
from payments.event_types import EVENT_TYPES
from payments.feed import ENDPOINT_NO_MAX
from payments.json_schema import TIME, Schema, constant, list_of, nullable, one_of, record, text
from storage.webhook_ports import DeliveryState, EndpointStatus

_MEMBERS: dict[str, Schema] = {
    "id": text(pattern="^we_[b-v]{1,16}$"),
    "object": constant("webhook_endpoint"),
    "url": text(),
    "types": {"type": "array", "items": {"type": "string"}},
    "status": one_of(*(status.wire for status in EndpointStatus)),
    "status_reason": nullable(text("Why it is not enabled.")),
    "status_at": TIME,
    "failing_since": nullable(TIME),
    "secrets": {"type": "integer", "minimum": 0, "description": "How many are valid now."},
    "secret_expires_at": nullable({**TIME, "description": "When the one before ends."}),
    "created_at": TIME,
}
ENDPOINT: Schema = record("WebhookEndpoint", "Where events are sent to.", _MEMBERS)
_WITH_SECRET: Schema = record(
    "WebhookEndpointWithSecret",
    "An endpoint, and what signs its webhooks: shown this once.",
    {**_MEMBERS, "secret": text(pattern="^whsec_")},
)
_ENDPOINTS: Schema = list_of(ENDPOINT)
_DELETED: Schema = record(
    "DeletedWebhookEndpoint",
    "An endpoint that is gone.",
    {
        "id": text(),
        "object": constant("webhook_endpoint"),
        "deleted": {"type": "boolean", "const": True},
    },
)
DELIVERY: Schema = record(
    "WebhookDelivery",
    "What became of one event at one endpoint.",
    {
        "id": text(pattern="^whd_[b-v_]+$"),
        "object": constant("webhook_delivery"),
        "endpoint": text(),
        "event": text("The event's id."),
        "type": nullable(one_of(*(of.wire for of in EVENT_TYPES.values()))),
        "state": one_of(*(state.wire for state in DeliveryState)),
        "tries": {"type": "integer", "minimum": 0},
        "next_try_at": nullable(TIME),
        "first_try_at": TIME,
        "last_try_at": TIME,
        "last_http_status": nullable({"type": "integer"}),
        "last_error": nullable(text("In a word, such as `timeout`.")),
        "last_duration_ms": nullable({"type": "integer", "minimum": 0}),
        "event_created_at": TIME,
    },
)
_DELIVERIES: Schema = list_of(DELIVERY)
_RESENT: Schema = record(
    "WebhookResend",
    "How many deliveries begin anew.",
    {
        "object": constant("webhook_resend"),
        "endpoint": text(),
        "deliveries": {"type": "integer", "minimum": 0},
        "has_more": {"type": "boolean", "description": "Whether there are more in the range."},
    },
)

_ID = Parameter(
    name="id", place="path", text="The endpoint's id.", schema={"type": "string", "minLength": 1}
)
_NOTHING = Body(of=NothingRequest, text="Nothing, or an empty object.", is_required=False)
_NOT_FOUND = (Code.WEBHOOK_ENDPOINT_NOT_FOUND,)
_SHOWN = Answered(status=200, text="The endpoint.", schema=ENDPOINT)


def _of_one(name: str, summary: str, text_: str = "", *, body: Body = _NOTHING) -> Declaration:
    return Declaration(
        name=name,
        tag=Tag.WEBHOOKS,
        summary=summary,
        text=text_,
        parameters=(_ID,),
        body=body,
        answers=(_SHOWN,),
        problems=_NOT_FOUND,
    )


CREATE = Declaration(
    name="create_webhook_endpoint",
    tag=Tag.WEBHOOKS,
    summary="Create an endpoint",
    text="The answer carries the secret, this once. Without types it is sent every event.",
    body=Body(of=EndpointRequest, text="Where to, and what."),
    answers=(Answered(status=201, text="The endpoint with its secret.", schema=_WITH_SECRET),),
    problems=(Code.WEBHOOK_URL_INVALID, Code.WEBHOOK_TYPES_INVALID, Code.TOO_MANY_ENDPOINTS),
)
LIST = Declaration(
    name="list_webhook_endpoints",
    tag=Tag.WEBHOOKS,
    summary="List endpoints",
    text="Newest first.",
    parameters=(
        LIMIT,
        Parameter(
            name="starting_after",
            place="query",
            text="The page after this endpoint.",
            schema={"type": "string", "pattern": f"^we_{number_pattern(ENDPOINT_NO_MAX)}$"},
        ),
    ),
    answers=(Answered(status=200, text="One page.", schema=_ENDPOINTS),),
)
READ = Declaration(
    name="read_webhook_endpoint",
    tag=Tag.WEBHOOKS,
    summary="Read an endpoint",
    parameters=(_ID,),
    answers=(_SHOWN,),
    problems=_NOT_FOUND,
)
DELETE = Declaration(
    name="delete_webhook_endpoint",
    tag=Tag.WEBHOOKS,
    summary="Delete an endpoint",
    text="Nothing is sent there any more.",
    parameters=(_ID,),
    answers=(Answered(status=200, text="It is gone.", schema=_DELETED),),
    problems=(*_NOT_FOUND, Code.CONTENT_TYPE_UNSUPPORTED, Code.FIELD_UNKNOWN),
)
ENABLE = _of_one("enable_webhook_endpoint", "Enable an endpoint", "It goes on where it stopped.")
DISABLE = _of_one("disable_webhook_endpoint", "Disable an endpoint", "Until it is enabled again.")
ROTATE = Declaration(
    name="rotate_webhook_secret",
    tag=Tag.WEBHOOKS,
    summary="Make a new secret",
    text="Beside the one before, which is valid for a while longer.",
    parameters=(_ID,),
    body=Body(of=RotationRequest, text="For how long.", is_required=False),
    answers=(Answered(status=200, text="The endpoint with its secret.", schema=_WITH_SECRET),),
    problems=(*_NOT_FOUND, Code.WEBHOOK_OVERLAP_INVALID),
)
LIST_DELIVERIES = Declaration(
    name="list_webhook_deliveries",
    tag=Tag.WEBHOOKS,
    summary="List an endpoint's deliveries",
    text="Newest first.",
    parameters=(
        _ID,
        LIMIT,
        Parameter(
            name="starting_after",
            place="query",
            text="The page after this delivery, which is one of the endpoint.",
            schema={"type": "string"},
        ),
        Parameter(
            name="state",
            place="query",
            text="Exactly this one.",
            schema=one_of(*(state.wire for state in DeliveryState)),
        ),
    ),
    answers=(Answered(status=200, text="One page.", schema=_DELIVERIES),),
    problems=_NOT_FOUND,
)
RESEND = Declaration(
    name="resend_webhook_delivery",
    tag=Tag.WEBHOOKS,
    summary="Send one event again",
    text="With the same id and bytes.",
    parameters=(
        _ID,
        Parameter(
            name="delivery",
            place="path",
            text="The delivery's id.",
            schema={"type": "string", "minLength": 1},
        ),
    ),
    body=_NOTHING,
    answers=(Answered(status=202, text="It begins anew.", schema=_RESENT),),
    problems=(*_NOT_FOUND, Code.WEBHOOK_DELIVERY_NOT_FOUND),
)
RESEND_RANGE = Declaration(
    name="resend_webhook_deliveries",
    tag=Tag.WEBHOOKS,
    summary="Send the events of a time again",
    text="Oldest first; `has_more` says that the range holds more than one request begins anew.",
    parameters=(_ID,),
    body=Body(of=ResendRequest, text="From when to when; `to` is the later."),
    answers=(Answered(status=202, text="They begin anew.", schema=_RESENT),),
    problems=(*_NOT_FOUND, Code.RESEND_RANGE_INVALID),
)
