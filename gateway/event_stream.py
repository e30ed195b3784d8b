"""``GET /v1/events/stream``: the feed as server-sent events, for whoever wants to be told at once.

One reader for all subscribers of a gateway process: it looks for news for those that have written what they
got before. A subscriber that reads slowly is asked for less, and delays nobody. Nothing is kept for one that
went: it comes again with the id of the last event that it saw.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import hdrs, web

from gateway import event_declarations as declared
from gateway.authentication import Merchant
from gateway.door import REQUEST_ID, finish
from gateway.events import FEED_AWAY, SHARD_COUNT, read_cursor
from gateway.openapi.declarations import documented
from gateway.parameters import single_parameters
from gateway.problems import Code, Problem
from payments.defects import InvariantViolation
from payments.event_types import event_type
from payments.feed import FeedPosition, feed_cursor
from runtime.clock import Clock
from runtime.faults import StorageUnavailable
from runtime.logs import get_logger
from runtime.metrics import GATEWAY_STREAM_EVENTS, GATEWAY_STREAMS, Metrics
from storage.event_feed import EventFeed, FeedPage, FeedQuery, StoredEvent

HEADER_LAST_EVENT_ID = "Last-Event-ID"

# How often is looked for news: a tenth of what people take for at once.
LOOK_EVERY_S = 0.2
# Proxies close what is silent for a minute, some after 30 s.
HEARTBEAT_S = 15.0
# How soon it is noticed that a client has gone, so that its place is free.
GONE_LOOK_S = 0.5
# A subscriber that takes nothing for so long is gone, or wants nothing.
WRITE_S_MAX = 30.0
# A key that was revoked works in caches for as long; whoever is still welcome comes again by itself.
STREAM_S_MAX = 15 * 60.0
# What a browser, or a client like one, waits before it comes again.
RETRY_MS = 1_000
# Subscribers of one process: each holds a connection and, at most, one page. And of one merchant, so that
# nobody takes all of them.
STREAMS_MAX = 256
STREAMS_PER_MERCHANT_MAX = 16
# Events handed to a subscriber at a time: about 100 kB. The largest have 200 KB each: of those fewer, and one at
# least.
PAGE_EVENTS_MAX = 100
PAGE_BYTES_MAX = 1024**2
# Subscribers looked after in one statement.
SUBSCRIBERS_PER_LOOK_MAX = 64

_TOO_MANY = Problem(
    code=Code.TOO_MANY_STREAMS,
    detail="Too many streams are open here. Close some, or read GET /v1/events in turns.",
)


_News = tuple[FeedPage, list[StoredEvent]]


class _Subscriber:
    """One open stream, and how far it was told."""

    def __init__(self, merchant: Merchant, after: FeedPosition) -> None:
        self.merchant = merchant
        self.after = after
        self.news: asyncio.Future[_News] | None = None
        """Set while it waits for more."""


class EventStreams:
    """The handler of the stream, and the one reader behind it."""

    def __init__(self, feed: EventFeed, *, clock: Clock, metrics: Metrics) -> None:
        self._feed = feed
        self._clock = clock
        self._log = get_logger("gateway.event_stream")
        self._subscribers: set[_Subscriber] = set()
        self._by_merchant: Counter[int] = Counter()
        self._reader: asyncio.Task[None] | None = None
        self._is_closing = False
        self._sent = metrics.counter(GATEWAY_STREAM_EVENTS)
        metrics.read(GATEWAY_STREAMS, lambda: [((), float(self.subscriber_count))])

    @property
    def subscriber_count(self) -> int:
        return len(self._subscribers)

    def start(self) -> None:
        """Look for news from now on."""
        self._reader = asyncio.create_task(self._read())

    async def close(self) -> None:
        """End all streams: their clients go on elsewhere, where they were."""
        self._is_closing = True
        for subscriber in self._subscribers:
            if subscriber.news is not None and not subscriber.news.done():
                subscriber.news.cancel()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    @documented(declared.STREAM)
    async def stream(
        self, request: web.Request, merchant: Merchant
    ) -> web.StreamResponse | Problem:
        """GET /v1/events/stream: from ``Last-Event-ID`` or ``after`` on; without them from now on."""
        parameters = single_parameters(request, ("after",))
        if isinstance(parameters, Problem):
            return parameters
        seen = request.headers.get(HEADER_LAST_EVENT_ID)
        if seen is None:
            after = read_cursor(parameters.get("after"), "query:after")
        else:
            after = read_cursor(seen, f"header:{HEADER_LAST_EVENT_ID}")
        if isinstance(after, Problem):
            return after
        if self._is_full_for(merchant):
            return _TOO_MANY
        try:
            after = after or await self._feed.newest(merchant.merchant_no, merchant.mode)
        except StorageUnavailable:
            return FEED_AWAY
        if self._is_full_for(merchant):
            # Others took the places while the books were asked.
            return _TOO_MANY
        subscriber = _Subscriber(merchant, after)
        async with self._subscribed(subscriber):
            return await self._serve(request, subscriber)

    def _is_full_for(self, merchant: Merchant) -> bool:
        return (
            self._is_closing
            or len(self._subscribers) >= STREAMS_MAX
            or self._by_merchant[merchant.merchant_no] >= STREAMS_PER_MERCHANT_MAX
        )

    @asynccontextmanager
    async def _subscribed(self, subscriber: _Subscriber) -> AsyncIterator[None]:
        merchant_no = subscriber.merchant.merchant_no
        self._subscribers.add(subscriber)
        self._by_merchant[merchant_no] += 1
        try:
            yield
        finally:
            self._subscribers.discard(subscriber)
            self._by_merchant[merchant_no] -= 1
            if not self._by_merchant[merchant_no]:
                del self._by_merchant[merchant_no]

    async def _serve(self, request: web.Request, subscriber: _Subscriber) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
                hdrs.CACHE_CONTROL: "no-store",
                # nginx would gather what we write.
                "X-Accel-Buffering": "no",
            }
        )
        finish(response, request[REQUEST_ID])
        await response.prepare(request)
        ends_at_s = self._clock.monotonic_s() + STREAM_S_MAX
        # The client went, or reads nothing: its affair, and the end of its stream.
        try:
            # With its place: whoever is cut off before the first event comes again from here, not from a later now.
            place = feed_cursor([subscriber.after] * SHARD_COUNT).encode()
            await _write(response, b"retry: %d\nid: %b\n\n" % (RETRY_MS, place))
            while not self._is_closing and self._clock.monotonic_s() < ends_at_s:
                await _write(response, await self._next(request, subscriber))
        except (ConnectionError, TimeoutError):
            response.force_close()
            if request.transport is not None:
                request.transport.abort()
        return response

    async def _next(self, request: web.Request, subscriber: _Subscriber) -> bytes:
        """Return what to write next: news, or a sign of life. Raises ConnectionError once nobody listens."""
        news: asyncio.Future[_News] = asyncio.get_running_loop().create_future()
        subscriber.news = news
        alive_at_s = self._clock.monotonic_s() + HEARTBEAT_S
        try:
            while not news.done() and (left_s := alive_at_s - self._clock.monotonic_s()) > 0:
                # Leaves the future alone when the time is up, so that no news is lost with it.
                await asyncio.wait([news], timeout=min(left_s, GONE_LOOK_S))
                if request.transport is None:
                    raise ConnectionResetError("the client has gone")
        finally:
            subscriber.news = None
        if news.cancelled() or not news.done():
            return b": alive\n\n"
        page, events = news.result()
        self._sent.inc(len(events))
        return b"".join(
            b"id: %b\nevent: %b\ndata: %b\n\n"
            % (
                feed_cursor([entry.position] * SHARD_COUNT).encode(),
                event_type(entry.type).wire.encode(),
                event.body,
            )
            for entry, event in zip(page.entries, events, strict=True)
        )

    async def _read(self) -> None:
        """Look for news, again and again; while the books are away nobody hears more than signs of life."""
        while True:
            waiting = [one for one in self._subscribers if one.news is not None]
            for first in range(0, len(waiting), SUBSCRIBERS_PER_LOOK_MAX):
                try:
                    await self._tell_each(waiting[first : first + SUBSCRIBERS_PER_LOOK_MAX])
                except StorageUnavailable:
                    break
            await asyncio.sleep(LOOK_EVERY_S)

    async def _tell_each(self, waiting: list[_Subscriber]) -> None:
        """Tell those that wait; an event that can't be shown ends the streams that it is for, and no others."""
        try:
            await self._tell(waiting)
        except InvariantViolation as defect:
            if len(waiting) > 1:
                for subscriber in waiting:
                    await self._tell_each([subscriber])
                return
            merchant_no = waiting[0].merchant.merchant_no
            self._log.error("event_unshown", merchant_no=merchant_no, defect=str(defect))
            if (news := waiting[0].news) is not None and not news.done():
                news.set_exception(ConnectionResetError("an event can't be shown"))

    async def _tell(self, waiting: list[_Subscriber]) -> None:
        pages = await self._feed.pages(
            [
                FeedQuery(one.merchant.merchant_no, one.merchant.mode, one.after, PAGE_EVENTS_MAX)
                for one in waiting
            ]
        )
        keys = {entry.position.key for page in pages for entry in page.entries}
        events = await self._feed.events(sorted(keys))
        for subscriber, page in zip(waiting, pages, strict=True):
            if page.entries and subscriber.news is not None and not subscriber.news.done():
                page, told = _cut(page, [events[entry.position.key] for entry in page.entries])
                subscriber.after = page.reached
                subscriber.news.set_result((page, told))


def _cut(page: FeedPage, events: list[StoredEvent]) -> _News:
    """Return as much of a page as a subscriber is handed at a time."""
    left_bytes = PAGE_BYTES_MAX
    for count, event in enumerate(events):
        left_bytes -= len(event.body)
        if left_bytes < 0 and count:
            entries = page.entries[:count]
            return FeedPage(entries, entries[-1].position, is_full=True), events[:count]
    return page, events


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(WRITE_S_MAX):
        await response.write(data)
