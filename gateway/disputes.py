"""``/v1/disputes``: what buyers' banks took back, as the books hold it. Providers tell of them by webhook."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from gateway import dispute_declarations as declared
from gateway.authentication import Merchant
from gateway.door import Answer, Door
from gateway.openapi.declarations import documented
from gateway.parameters import cursor_problem, read_limit, single_parameters
from gateway.problems import Code, Problem
from gateway.refusals import BOOKS_AWAY
from gateway.rendering import json_bytes_response
from gateway.settings import GatewaySettings
from payments.dispute_answer import dispute_body, parse_dispute_id
from payments.disputes import DisputeState
from payments.identity import order_uuid, parse_idempotency_key
from payments.partitioning import partition_index
from runtime.faults import StorageUnavailable
from storage.disputes import DisputeKey, DisputePage, DisputeQueries
from storage.read_ports import CursorUnknown

_STATES: Mapping[str, DisputeState] = {state.wire: state for state in DisputeState}
_STATES_TOLD = f"This is no state of a dispute: {', '.join(_STATES)}."
_PARAMETERS = ("limit", "starting_after", "ending_before", "status", "payment")


class Disputes:
    """The handlers of the routes."""

    def __init__(self, queries: DisputeQueries, *, partition_count: int) -> None:
        self._queries = queries
        self._partition_count = partition_count

    @documented(declared.LIST)
    async def list_all(self, request: web.Request, merchant: Merchant) -> Answer:
        """GET /v1/disputes: one page, newest first."""
        parameters = single_parameters(request, _PARAMETERS)
        if isinstance(parameters, Problem):
            return parameters
        wanted = self._wanted(parameters, merchant)
        if isinstance(wanted, Problem):
            return wanted
        try:
            page, has_more = await self._queries.list_disputes(
                merchant.merchant_no, merchant.mode, wanted
            )
        except CursorUnknown:
            name = "ending_before" if wanted.starting_after is None else "starting_after"
            return cursor_problem(name, "The cursor names no dispute of this merchant and mode.")
        except StorageUnavailable:
            return BOOKS_AWAY
        data = b",".join(dispute_body(each.view) for each in page)
        more = b"true" if has_more else b"false"
        return json_bytes_response(b'{"object":"list","data":[%b],"has_more":%b}' % (data, more))

    @documented(declared.READ)
    async def show(self, request: web.Request, merchant: Merchant) -> Answer:
        """GET /v1/disputes/{id}: the dispute as it stands now."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        key = parse_dispute_id(request.match_info["id"])
        if key is None:
            return declared.DISPUTE_NOT_FOUND
        try:
            found = (await self._queries.disputes([key])).get(key)
        except StorageUnavailable:
            return BOOKS_AWAY
        if found is None or (found.merchant_no, found.mode) != (
            merchant.merchant_no,
            merchant.mode,
        ):
            return declared.DISPUTE_NOT_FOUND
        return json_bytes_response(dispute_body(found.view))

    def _wanted(self, parameters: Mapping[str, str], merchant: Merchant) -> DisputePage | Problem:
        limit = read_limit(parameters)
        if isinstance(limit, Problem):
            return limit
        if "starting_after" in parameters and "ending_before" in parameters:
            return cursor_problem(
                "ending_before", "Give starting_after or ending_before, not both."
            )
        after = _cursor(parameters, "starting_after")
        before = _cursor(parameters, "ending_before")
        if isinstance(after, Problem):
            return after
        if isinstance(before, Problem):
            return before
        status = parameters.get("status")
        if status is not None and status not in _STATES:
            return _invalid("status", _STATES_TOLD)
        wanted = DisputePage(
            limit,
            state=None if status is None else _STATES[status],
            starting_after=after,
            ending_before=before,
        )
        if (payment := parameters.get("payment")) is None:
            return wanted
        key = parse_idempotency_key(payment)
        if key is None:
            return _invalid("payment", "This is no id of a payment.")
        order = order_uuid(merchant.merchant_id, merchant.mode, key)
        return wanted._replace(payment=(partition_index(order, self._partition_count), order))


def dispute_routes(
    door: Door, queries: DisputeQueries, settings: GatewaySettings
) -> list[web.RouteDef]:
    """Return the routes of disputes."""
    disputes = Disputes(queries, partition_count=settings.partition_count)
    return [
        web.get("/v1/disputes", door.merchant(disputes.list_all), allow_head=False),
        web.get("/v1/disputes/{id}", door.merchant(disputes.show), allow_head=False),
    ]


def _cursor(parameters: Mapping[str, str], name: str) -> DisputeKey | Problem | None:
    text = parameters.get(name)
    if text is None:
        return None
    return parse_dispute_id(text) or cursor_problem(name, "The cursor must be the id of a dispute.")


def _invalid(name: str, detail: str) -> Problem:
    return Problem(code=Code.PARAMETER_INVALID, detail=detail, param=f"query:{name}")
