"""``/v1/requests``: a merchant looks up what it asked and was answered, by request or by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec
from aiohttp import web

from gateway import request_declarations as declared
from gateway.authentication import Merchant
from gateway.door import Answer
from gateway.openapi.declarations import documented
from gateway.parameters import read_limit, single_parameters
from gateway.problems import Code, Problem, store_unavailable
from gateway.rendering import json_response, rfc3339
from payments.identity import parse_idempotency_key, parse_request_id, request_id
from runtime.faults import StorageUnavailable
from storage.request_log import RequestLogStore
from storage.request_rows import LAST_OF_ALL, LoggedRequest, Whose

_PARAMETERS = ("limit", "request_id", "idempotency_key", "after", "starting_after")

_OFF = Problem(code=Code.NOT_FOUND, detail="This deployment keeps no log of requests.")
_AWAY = store_unavailable("The request log can't be read now.", may_run=False)
_EXCLUDES = Problem(
    code=Code.PARAMETER_INVALID,
    detail="request_id and after are given alone.",
    param="query:after",
)


class Requests:
    """The handler of the request log's route."""

    def __init__(self, store: RequestLogStore | None) -> None:
        self._store = store

    @documented(declared.LIST)
    async def list_all(self, request: web.Request, merchant: Merchant) -> Answer:
        """GET /v1/requests: newest first; behind ``after`` oldest first, so that one can follow."""
        if self._store is None:
            return _OFF
        parameters = single_parameters(request, _PARAMETERS)
        if isinstance(parameters, Problem):
            return parameters
        limit = read_limit(parameters)
        if isinstance(limit, Problem):
            return limit
        wanted = _wanted(parameters)
        if isinstance(wanted, Problem):
            return wanted
        whose = Whose(merchant.merchant_no, merchant.mode)
        try:
            found = await _found(self._store, whose, wanted, limit + 1)
        except StorageUnavailable:
            return _AWAY
        shown = [request_document(each) for each in found[:limit]]
        return json_response({"object": "list", "data": shown, "has_more": len(found) > limit})


def _wanted(parameters: Mapping[str, str]) -> Mapping[str, UUID] | Problem:
    """Return the ids that were given, by parameter."""
    wanted: dict[str, UUID] = {}
    for name in ("request_id", "after", "starting_after", "idempotency_key"):
        text = parameters.get(name)
        if text is None:
            continue
        is_key = name == "idempotency_key"
        number = parse_idempotency_key(text) if is_key else parse_request_id(text)
        if number is None:
            kind = "an idempotency key" if is_key else "a Request-Id"
            return Problem(
                code=Code.PARAMETER_INVALID, detail=f"This is not {kind}.", param=f"query:{name}"
            )
        wanted[name] = number
    if len(wanted) > 1 and ("request_id" in wanted or "after" in wanted):
        return _EXCLUDES
    return wanted


async def _found(
    store: RequestLogStore, whose: Whose, wanted: Mapping[str, UUID], count_max: int
) -> Sequence[LoggedRequest]:
    if "request_id" in wanted:
        one = await store.one(whose, wanted["request_id"])
        return [] if one is None else [one]
    if "after" in wanted:
        return await store.newer(whose, after=wanted["after"], count_max=count_max)
    before = wanted.get("starting_after", LAST_OF_ALL)
    if "idempotency_key" in wanted:
        key = wanted["idempotency_key"]
        return await store.of_key(whose, key, before=before, count_max=count_max)
    return await store.older(whose, before=before, count_max=count_max)


def request_document(logged: LoggedRequest) -> dict[str, object]:
    """Return a request as the API shows it."""
    return {
        "id": request_id(logged.request_no),
        "object": "request",
        "method": logged.method,
        "route": logged.route,
        "status": logged.status,
        "code": logged.code,
        "idempotency_key": None if logged.idempotency_key is None else str(logged.idempotency_key),
        "duration_ms": round(logged.duration_us / 1_000, 3),
        "received_at": rfc3339(logged.received_at),
        **msgspec.json.decode(logged.bodies, type=dict[str, msgspec.Raw]),
    }
