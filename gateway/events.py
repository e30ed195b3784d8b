"""``/v1/events``: the feed of what happened, which a receiver that was down catches up by."""

from __future__ import annotations

from aiohttp import web

from gateway import event_declarations as declared
from gateway.authentication import Merchant
from gateway.door import Answer
from gateway.openapi.declarations import documented
from gateway.parameters import read_limit, single_parameters
from gateway.problems import Code, Problem, store_unavailable
from gateway.rendering import json_bytes_response
from payments.feed import (
    FEED_START,
    FeedPosition,
    feed_cursor,
    parse_event_id,
    parse_feed_cursor,
)
from runtime.faults import StorageUnavailable
from storage.event_feed import EventFeed, FeedQuery

# Gateways read one shard, so a cursor holds one place.
SHARD_COUNT = 1

FEED_AWAY = store_unavailable("Events can't be read now.", may_run=False)


class Events:
    """The handlers of the feed, but for the stream."""

    def __init__(self, feed: EventFeed) -> None:
        self._feed = feed

    @documented(declared.LIST)
    async def list_all(self, request: web.Request, merchant: Merchant) -> Answer:
        """GET /v1/events: what came behind a cursor, oldest first; without one from the beginning."""
        parameters = single_parameters(request, ("after", "limit"))
        if isinstance(parameters, Problem):
            return parameters
        limit = read_limit(parameters)
        if isinstance(limit, Problem):
            return limit
        after = read_cursor(parameters.get("after"), "query:after")
        if isinstance(after, Problem):
            return after
        wanted = FeedQuery(merchant.merchant_no, merchant.mode, after or FEED_START, limit)
        try:
            (page,) = await self._feed.pages([wanted])
            keys = [entry.position.key for entry in page.entries]
            events = await self._feed.events(keys)
        except StorageUnavailable:
            return FEED_AWAY
        data = b",".join(events[key].body for key in keys)
        return json_bytes_response(
            b'{"object":"list","data":[%b],"has_more":%b,"next_cursor":"%b"}'
            % (
                data,
                b"true" if page.is_full else b"false",
                feed_cursor([page.reached]).encode(),
            )
        )

    @documented(declared.READ)
    async def show(self, request: web.Request, merchant: Merchant) -> Answer:
        """GET /v1/events/{id}: one event, the same bytes as in the feed."""
        parameters = single_parameters(request, ())
        if isinstance(parameters, Problem):
            return parameters
        key = parse_event_id(request.match_info["id"])
        if key is None:
            return declared.EVENT_NOT_FOUND
        try:
            event = (await self._feed.events([key])).get(key)
        except StorageUnavailable:
            return FEED_AWAY
        if event is None or (event.merchant_no, event.mode) != (
            merchant.merchant_no,
            merchant.mode,
        ):
            return declared.EVENT_NOT_FOUND
        return json_bytes_response(event.body)


def read_cursor(text: str | None, param: str) -> FeedPosition | Problem | None:
    """Return the place that a cursor names, None without one, or the problem with it."""
    if text is None:
        return None
    places = parse_feed_cursor(text, shard_count=SHARD_COUNT)
    if places is None:
        return Problem(
            code=Code.PARAMETER_INVALID,
            detail="The cursor is none of this feed's. Take next_cursor, or the id of a stream's event.",
            param=param,
        )
    return places[0]
