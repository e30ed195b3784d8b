"""``/v1/webhook_endpoints``: where a merchant wants to be told, of what, and what signs it."""

from __future__ import annotations

import base64
import secrets
from datetime import datetime
from typing import TypeVar

import msgspec
from aiohttp import web

from gateway import webhook_declarations as declared
from gateway.authentication import Merchant
from gateway.bodies import decode_body, read_body
from gateway.door import Answer
from gateway.openapi.declarations import documented
from gateway.parameters import read_limit, single_parameters
from gateway.problems import Code, Problem, store_unavailable
from gateway.rendering import json_response, rfc3339
from gateway.settings import GatewaySettings
from gateway.webhook_requests import (
    OVERLAP_S_MAX,
    TYPES_MAX,
    EndpointRequest,
    NothingRequest,
    RotationRequest,
)
from payments.event_types import TYPE_PATTERNS
from payments.feed import endpoint_id, parse_endpoint_id
from payments.webhook_targets import url_refusal
from psp.webhooks import SECRET_PREFIX
from runtime.faults import StorageUnavailable
from storage.sealing import seal
from storage.webhook_ports import ABOVE_ALL_ENDPOINTS, Endpoint, EndpointStatus, Webhooks

T = TypeVar("T")

SECRET_BYTES = 32  # as long as what HMAC-SHA256 gives
# Each is sent every event that it asks for.
ENDPOINTS_MAX = 20

WEBHOOKS_AWAY = store_unavailable("Webhook endpoints can't be read now.", may_run=False)
UNCERTAIN = store_unavailable(
    "What was asked for may or may not have been done. Look, and send the same request again.",
    may_run=True,
)
ENDPOINT_NOT_FOUND = Problem(
    code=Code.WEBHOOK_ENDPOINT_NOT_FOUND,
    detail="This merchant and mode has no endpoint of that id.",
)
_TOO_MANY = Problem(
    code=Code.TOO_MANY_ENDPOINTS,
    detail=f"A merchant has at most {ENDPOINTS_MAX} endpoints in each mode. Delete one.",
)
_TYPES_UNKNOWN = Problem(
    code=Code.WEBHOOK_TYPES_INVALID,
    detail="Name 1 or more types of events, such as payment_order.succeeded, payment_order.* or *.",
    param="$.types",
    details={"types": sorted(TYPE_PATTERNS)},
)
_BAD_OVERLAP = Problem(
    code=Code.WEBHOOK_OVERLAP_INVALID,
    detail=f"The overlap is 0 to {OVERLAP_S_MAX} seconds.",
    param="$.overlap_s",
)
_BAD_CURSOR = Problem(
    code=Code.PARAMETER_INVALID,
    detail="The cursor is no webhook endpoint's id.",
    param="query:starting_after",
)


_ENDPOINT = msgspec.json.Decoder(EndpointRequest)
_ROTATION = msgspec.json.Decoder(RotationRequest)
NOTHING = msgspec.json.Decoder(NothingRequest)


class WebhookEndpoints:
    """The handlers of the endpoints' routes."""

    def __init__(self, webhooks: Webhooks, settings: GatewaySettings) -> None:
        self._webhooks = webhooks
        self._settings = settings

    @documented(declared.CREATE)
    async def create(self, request: web.Request, merchant: Merchant) -> Answer:
        """POST /v1/webhook_endpoints: 201 with the secret, which is shown this once."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        body = await read_body(request, self._settings.body_s)
        if isinstance(body, Problem):
            return body
        wanted = decode_body(body, _ENDPOINT)
        if isinstance(wanted, Problem):
            return wanted
        refusal = url_refusal(wanted.url, is_sandbox=self._settings.is_sandbox)
        if refusal is not None:
            return Problem(
                code=Code.WEBHOOK_URL_INVALID, detail=f"A webhook URL {refusal}.", param="$.url"
            )
        types = list(dict.fromkeys(wanted.types))
        if not 1 <= len(wanted.types) <= TYPES_MAX or not TYPE_PATTERNS.keys() >= set(types):
            return _TYPES_UNKNOWN
        secret, sealed = _new_secret()
        try:
            endpoint = await self._webhooks.create(
                merchant.merchant_no,
                merchant.mode,
                url=wanted.url,
                types=types,
                sealed_secret=sealed,
                count_max=ENDPOINTS_MAX,
            )
        except StorageUnavailable:
            return UNCERTAIN
        if endpoint is None:
            return _TOO_MANY
        return json_response({**endpoint_document(endpoint), "secret": secret}, 201)

    @documented(declared.LIST)
    async def list_all(self, request: web.Request, merchant: Merchant) -> Answer:
        """GET /v1/webhook_endpoints: one page, newest first."""
        parameters = single_parameters(request, ("limit", "starting_after"))
        if isinstance(parameters, Problem):
            return parameters
        limit = read_limit(parameters)
        if isinstance(limit, Problem):
            return limit
        below: int | None = ABOVE_ALL_ENDPOINTS
        if "starting_after" in parameters:
            below = parse_endpoint_id(parameters["starting_after"])
        if below is None:
            return _BAD_CURSOR
        try:
            page = await self._webhooks.endpoints(
                merchant.merchant_no, merchant.mode, below=below, count_max=limit + 1
            )
        except StorageUnavailable:
            return WEBHOOKS_AWAY
        data = [endpoint_document(endpoint) for endpoint in page[:limit]]
        return json_response({"object": "list", "data": data, "has_more": len(page) > limit})

    @documented(declared.READ)
    async def show(self, request: web.Request, merchant: Merchant) -> Answer:
        """GET /v1/webhook_endpoints/{id}: one, without its secret."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        endpoint = await find_endpoint(self._webhooks, request, merchant)
        if isinstance(endpoint, Problem):
            return endpoint
        return json_response(endpoint_document(endpoint))

    @documented(declared.DELETE)
    async def delete(self, request: web.Request, merchant: Merchant) -> Answer:
        """DELETE /v1/webhook_endpoints/{id}: nothing is sent there any more."""
        number = await self._number_of_plain_request(request)
        if isinstance(number, Problem):
            return number
        try:
            is_deleted = await self._webhooks.delete(merchant.merchant_no, merchant.mode, number)
        except StorageUnavailable:
            return UNCERTAIN
        if not is_deleted:
            return ENDPOINT_NOT_FOUND
        deleted = {"id": endpoint_id(number), "object": "webhook_endpoint", "deleted": True}
        return json_response(deleted)

    @documented(declared.ENABLE)
    async def enable(self, request: web.Request, merchant: Merchant) -> Answer:
        """POST /v1/webhook_endpoints/{id}/enable: go on where it stopped."""
        return await self._set_status(request, merchant, EndpointStatus.ENABLED)

    @documented(declared.DISABLE)
    async def disable(self, request: web.Request, merchant: Merchant) -> Answer:
        """POST /v1/webhook_endpoints/{id}/disable: send nothing until it is enabled."""
        return await self._set_status(request, merchant, EndpointStatus.DISABLED)

    @documented(declared.ROTATE)
    async def rotate_secret(self, request: web.Request, merchant: Merchant) -> Answer:
        """POST /v1/webhook_endpoints/{id}/rotate_secret: a new secret, beside the one before for a while."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        wanted = await read_optional_body(request, self._settings.body_s, _ROTATION)
        if isinstance(wanted, Problem):
            return wanted
        if not 0 <= wanted.overlap_s <= OVERLAP_S_MAX:
            return _BAD_OVERLAP
        endpoint = await find_endpoint(self._webhooks, request, merchant)
        if isinstance(endpoint, Problem):
            return endpoint
        secret, sealed = _new_secret()
        try:
            await self._webhooks.rotate(
                merchant.merchant_no,
                merchant.mode,
                endpoint.endpoint_no,
                sealed_secret=sealed,
                overlap_s=wanted.overlap_s,
            )
        except StorageUnavailable:
            return UNCERTAIN
        return await self._shown(request, merchant, secret=secret)

    async def _set_status(
        self, request: web.Request, merchant: Merchant, status: EndpointStatus
    ) -> Answer:
        number = await self._number_of_plain_request(request)
        if isinstance(number, Problem):
            return number
        try:
            is_set = await self._webhooks.set_status(
                merchant.merchant_no, merchant.mode, number, status, None
            )
        except StorageUnavailable:
            return UNCERTAIN
        return await self._shown(request, merchant) if is_set else ENDPOINT_NOT_FOUND

    async def _number_of_plain_request(self, request: web.Request) -> int | Problem:
        """Return the endpoint's number of a request without parameters and body."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        nothing = await read_optional_body(request, self._settings.body_s, NOTHING)
        if isinstance(nothing, Problem):
            return nothing
        number = parse_endpoint_id(request.match_info["id"])
        return ENDPOINT_NOT_FOUND if number is None else number

    async def _shown(
        self, request: web.Request, merchant: Merchant, *, secret: str | None = None
    ) -> Answer:
        endpoint = await find_endpoint(self._webhooks, request, merchant)
        if isinstance(endpoint, Problem):
            return endpoint
        document = endpoint_document(endpoint)
        return json_response(document if secret is None else {**document, "secret": secret})


async def find_endpoint(
    webhooks: Webhooks, request: web.Request, merchant: Merchant
) -> Endpoint | Problem:
    """Return the merchant's endpoint that the path names."""
    number = parse_endpoint_id(request.match_info["id"])
    if number is None:
        return ENDPOINT_NOT_FOUND
    try:
        endpoint = await webhooks.endpoint(merchant.merchant_no, merchant.mode, number)
    except StorageUnavailable:
        return WEBHOOKS_AWAY
    return ENDPOINT_NOT_FOUND if endpoint is None else endpoint


async def read_optional_body(
    request: web.Request, timeout_s: float, decoder: msgspec.json.Decoder[T]
) -> T | Problem:
    """Return the body, where none stands for an empty object."""
    if not request.can_read_body:
        return decoder.decode(b"{}")
    body = await read_body(request, timeout_s)
    if isinstance(body, Problem):
        return body
    decoded = decode_body(body, decoder)
    return decoded  # noqa: RET504  # mypy would take the Problem of this function for a part of T


def endpoint_document(endpoint: Endpoint) -> dict[str, object]:
    """Return an endpoint as the API shows it."""
    return {
        "id": endpoint_id(endpoint.endpoint_no),
        "object": "webhook_endpoint",
        "url": endpoint.url,
        "types": list(endpoint.types),
        "status": endpoint.status.wire,
        "status_reason": endpoint.status_reason,
        "status_at": rfc3339(endpoint.status_at),
        "failing_since": _time(endpoint.failing_since),
        "secrets": endpoint.secret_count,
        "secret_expires_at": _time(endpoint.secret_expires_at),
        "created_at": rfc3339(endpoint.created_at),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _new_secret() -> tuple[str, bytes]:
    """Return a secret as its merchant gets it, and sealed as it is kept."""
    secret = secrets.token_bytes(SECRET_BYTES)
    return f"{SECRET_PREFIX}{base64.b64encode(secret).decode()}", seal(secret)
