"""``/v1/webhook_endpoints/{id}/deliveries``: what became of each event there, and sending it again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from gateway import webhook_declarations as declared
from gateway.authentication import Merchant
from gateway.bodies import decode_body, read_body
from gateway.door import Answer
from gateway.openapi.declarations import documented
from gateway.parameters import read_limit, single_parameters
from gateway.problems import Code, Problem
from gateway.rendering import json_response, rfc3339
from gateway.settings import GatewaySettings
from gateway.webhook_endpoints import (
    NOTHING,
    UNCERTAIN,
    WEBHOOKS_AWAY,
    find_endpoint,
    read_optional_body,
)
from gateway.webhook_requests import RESENT_STATES, ResendRequest
from payments.event_types import EVENT_TYPES
from payments.feed import (
    FeedPosition,
    delivery_id,
    endpoint_id,
    event_id,
    parse_delivery_id,
)
from runtime.faults import StorageUnavailable
from storage.event_feed import EventFeed
from storage.feed_times import transaction_bounds
from storage.webhook_ports import (
    ABOVE_ALL_DELIVERIES,
    Delivery,
    DeliveryState,
    Endpoint,
    ResendRange,
    Webhooks,
)

# Begun anew by one request: some seconds' work of the dispatcher.
RESEND_COUNT_MAX = 1_000

_NOT_FOUND = Problem(
    code=Code.WEBHOOK_DELIVERY_NOT_FOUND, detail="This endpoint has no delivery of that id."
)
_BAD_STATE = Problem(
    code=Code.PARAMETER_INVALID,
    detail=f"One of {', '.join(state.wire for state in DeliveryState)}.",
    param="query:state",
)
_BAD_CURSOR = Problem(
    code=Code.PARAMETER_INVALID,
    detail="The cursor is the id of none of this endpoint's deliveries.",
    param="query:starting_after",
)
_BAD_RANGE = Problem(
    code=Code.RESEND_RANGE_INVALID,
    detail="`from` and `to` are RFC 3339 with an offset, such as 2026-11-01T12:00:00Z; `to` is later.",
    param="$.from",
)
_BAD_RANGE_STATE = Problem(
    code=Code.RESEND_RANGE_INVALID,
    detail="The state is delivered or dead; without it both begin anew.",
    param="$.state",
)


_RESEND = msgspec.json.Decoder(ResendRequest)


class WebhookDeliveries:
    """The handlers of the log's routes."""

    def __init__(self, webhooks: Webhooks, feed: EventFeed, settings: GatewaySettings) -> None:
        self._webhooks = webhooks
        self._feed = feed
        self._settings = settings

    @documented(declared.LIST_DELIVERIES)
    async def list_all(self, request: web.Request, merchant: Merchant) -> Answer:
        """GET /v1/webhook_endpoints/{id}/deliveries: one page of the log, newest first."""
        parameters = single_parameters(request, ("limit", "starting_after", "state"))
        if isinstance(parameters, Problem):
            return parameters
        limit = read_limit(parameters)
        if isinstance(limit, Problem):
            return limit
        wanted = parameters.get("state")
        state = None if wanted is None else DeliveryState.from_wire(wanted)
        if wanted is not None and state is None:
            return _BAD_STATE
        endpoint = await find_endpoint(self._webhooks, request, merchant)
        if isinstance(endpoint, Problem):
            return endpoint
        below = _below(parameters, endpoint)
        if isinstance(below, Problem):
            return below
        try:
            page = await self._webhooks.deliveries(
                endpoint.endpoint_no, below=below, state=state, count_max=limit + 1
            )
        except StorageUnavailable:
            return WEBHOOKS_AWAY
        data = [delivery_document(delivery) for delivery in page[:limit]]
        return json_response({"object": "list", "data": data, "has_more": len(page) > limit})

    @documented(declared.RESEND)
    async def resend(self, request: web.Request, merchant: Merchant) -> Answer:
        """POST …/deliveries/{delivery}/resend: begin it anew, with the same id and bytes."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        nothing = await read_optional_body(request, self._settings.body_s, NOTHING)
        if isinstance(nothing, Problem):
            return nothing
        endpoint = await find_endpoint(self._webhooks, request, merchant)
        if isinstance(endpoint, Problem):
            return endpoint
        named = parse_delivery_id(request.match_info["delivery"])
        if named is None or named[0] != endpoint.endpoint_no:
            return _NOT_FOUND
        try:
            if not await self._webhooks.resend(*named):
                return _NOT_FOUND
        except StorageUnavailable:
            return UNCERTAIN
        document = {"object": "webhook_resend", "endpoint": endpoint_id(named[0]), "deliveries": 1}
        return json_response({**document, "has_more": False}, 202)

    @documented(declared.RESEND_RANGE)
    async def resend_range(self, request: web.Request, merchant: Merchant) -> Answer:
        """POST /v1/webhook_endpoints/{id}/resend: begin all deliveries of a time anew, oldest first."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        body = await read_body(request, self._settings.body_s)
        if isinstance(body, Problem):
            return body
        wanted = decode_body(body, _RESEND)
        if isinstance(wanted, Problem):
            return wanted
        times = _times(wanted)
        if times is None:
            return _BAD_RANGE
        states = {state.wire: (state,) for state in RESENT_STATES}
        if wanted.state is not None and wanted.state not in states:
            return _BAD_RANGE_STATE
        endpoint = await find_endpoint(self._webhooks, request, merchant)
        if isinstance(endpoint, Problem):
            return endpoint
        try:
            first, end = await transaction_bounds(
                self._feed, merchant.merchant_no, merchant.mode, *times
            )
            count = await self._webhooks.resend_range(
                endpoint.endpoint_no,
                ResendRange(
                    created_from=times[0],
                    created_to=times[1],
                    transaction_first=first,
                    transaction_end=end,
                    states=RESENT_STATES if wanted.state is None else states[wanted.state],
                    count_max=RESEND_COUNT_MAX,
                ),
            )
        except StorageUnavailable:
            return UNCERTAIN
        document: Mapping[str, object] = {
            "object": "webhook_resend",
            "endpoint": endpoint_id(endpoint.endpoint_no),
            "deliveries": count,
            "has_more": count == RESEND_COUNT_MAX,
        }
        return json_response(document, 202)


def delivery_document(delivery: Delivery) -> dict[str, object]:
    """Return a delivery as the API shows it."""
    of_type = EVENT_TYPES.get(delivery.type)
    return {
        "id": delivery_id(delivery.endpoint_no, delivery.position),
        "object": "webhook_delivery",
        "endpoint": endpoint_id(delivery.endpoint_no),
        "event": event_id(delivery.position.key),
        "type": None if of_type is None else of_type.wire,
        "state": delivery.state.wire,
        "tries": delivery.try_count,
        "next_try_at": None if delivery.due_at is None else rfc3339(delivery.due_at),
        "first_try_at": rfc3339(delivery.first_try_at),
        "last_try_at": rfc3339(delivery.last_try_at),
        "last_http_status": delivery.last_http_status,
        "last_error": delivery.last_error,
        "last_duration_ms": delivery.last_duration_ms,
        "event_created_at": rfc3339(delivery.event_created_at),
    }


def _below(parameters: Mapping[str, str], endpoint: Endpoint) -> FeedPosition | Problem:
    if "starting_after" not in parameters:
        return ABOVE_ALL_DELIVERIES
    named = parse_delivery_id(parameters["starting_after"])
    return named[1] if named is not None and named[0] == endpoint.endpoint_no else _BAD_CURSOR


def _times(wanted: ResendRequest) -> tuple[datetime, datetime] | None:
    """Return both times, or None when one is none or they are in the wrong order."""
    try:
        since, until = (datetime.fromisoformat(text) for text in (wanted.since, wanted.to))
        if since.tzinfo is None or until.tzinfo is None or since >= until:
            return None
        return since.astimezone(UTC), until.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
