"""The feed and the stream over HTTP, on a feed in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiohttp import ClientPayloadError, ClientResponse, ClientSession

import gateway.event_stream
from payments.answer import API_VERSION, EventView, event_body
from payments.defects import InvariantViolation
from payments.event_types import event_type
from payments.feed import (
    FEED_START,
    EventKey,
    FeedPosition,
    event_id,
    feed_cursor,
    parse_feed_cursor,
)
from payments.lifecycle import PaymentEvent
from payments.mode import Mode
from storage.event_feed import StoredEvent
from storage.read_ports import KeyRole
from tests.unit.gateway.stack import GatewayStack, until

SUCCEEDED = PaymentEvent.SUCCEEDED


def put(stack: GatewayStack, order_no: int, **columns: object) -> EventKey:
    key = EventKey(3, order_no, 2)
    body = event_body(
        EventView(
            event_id=event_id(key),
            type=SUCCEEDED.wire,
            created_at=datetime(2026, 11, 1, 12, tzinfo=UTC),
            object_kind="payment_order",
            object_id="6f1c0e58-6c0f-4b7f-9d5e-0f3f0a6f4c11",
            sequence=key.sequence,
            data=b"{}",
            api_version=API_VERSION,
        )
    )
    stack.feed.put(key, **{"type": SUCCEEDED, "body": body, **columns})
    return key


async def test_a_receiver_walks_the_feed_oldest_first() -> None:
    """Page after page, each event once, until there is no more; the last cursor shows what comes later."""
    async with GatewayStack() as stack:
        keys = [put(stack, number) for number in range(1, 6)]
        seen: list[str] = []
        path = "/v1/events?limit=2"
        has_more = True
        while has_more:
            page = (await stack.get(path)).json
            has_more = page["has_more"]
            seen += [event["id"] for event in page["data"]]
            path = f"/v1/events?limit=2&after={page['next_cursor']}"
        assert seen == [event_id(key) for key in keys]
        assert (await stack.get(path)).json["data"] == []
        new = put(stack, 9)
        assert [event["id"] for event in (await stack.get(path)).json["data"]] == [event_id(new)]


async def test_an_event_has_the_same_bytes_in_the_feed_and_alone() -> None:
    """GET of one event is what the feed shows, byte for byte."""
    async with GatewayStack() as stack:
        key = put(stack, 1)
        alone = await stack.get(f"/v1/events/{event_id(key)}")
        assert alone.status == 200
        assert alone.body in (await stack.get("/v1/events")).body


async def test_nobody_sees_anothers_events() -> None:
    """The feed is the key's own merchant's and mode's, and so is one event by its id."""
    async with GatewayStack() as stack:
        others = put(stack, 1, merchant_no=2)
        live = put(stack, 2, mode=Mode.LIVE)
        assert (await stack.get("/v1/events")).json["data"] == []
        for key in (others, live):
            answer = await stack.get(f"/v1/events/{event_id(key)}")
            assert answer.code == "event_not_found"
        live_key = stack.issue_key(mode=Mode.LIVE)
        seen = (await stack.get("/v1/events", key=live_key)).json["data"]
        assert [event["id"] for event in seen] == [event_id(live)]


@pytest.mark.parametrize(
    ("path", "code", "param"),
    [
        ("/v1/events?after=evt_b", "parameter_invalid", "query:after"),
        ("/v1/events?after=", "parameter_invalid", "query:after"),
        ("/v1/events?limit=0", "parameter_invalid", "query:limit"),
        ("/v1/events?since=1", "parameter_unknown", "query:since"),
        ("/v1/events/stream?limit=1", "parameter_unknown", "query:limit"),
        ("/v1/events/stream?after=x", "parameter_invalid", "query:after"),
    ],
)
async def test_bad_parameters_are_named(path: str, code: str, param: str) -> None:
    """What can't be read is refused with its place, and nothing is guessed."""
    async with GatewayStack() as stack:
        answer = await stack.get(path)
        assert (answer.code, answer.json["param"]) == (code, param)


@pytest.mark.parametrize("event", ["evt_nonsense", "evt_d_c_f", "1"])
async def test_an_unknown_event_is_not_found(event: str) -> None:
    """An id that leads to nothing, and a text that is no id."""
    async with GatewayStack() as stack:
        assert (await stack.get(f"/v1/events/{event}")).code == "event_not_found"


async def test_events_away_is_told_as_such() -> None:
    """While the books can't be read the feed says so, and that it may work soon."""
    async with GatewayStack() as stack:
        stack.feed.is_available = False
        for path in ("/v1/events", "/v1/events/evt_d_c_d", "/v1/events/stream"):
            answer = await stack.get(path)
            assert (answer.status, answer.code) == (503, "store_unavailable")


async def test_operators_have_no_feed() -> None:
    """A feed is a merchant's: an operator's key names none."""
    async with GatewayStack() as stack:
        key = stack.issue_key(role=KeyRole.OPERATOR)
        assert (await stack.get("/v1/events", key=key)).code == "merchant_key_required"


class Listener:
    """One client of the stream."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.last_id = ""

    async def message(self) -> dict[str, str]:
        """Return the next message that is no sign of life."""
        while True:
            lines: list[str] = []
            while line := (await self.response.content.readline()).decode().rstrip("\n"):
                lines.append(line)
            members = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
            if "data" in members:
                self.last_id = members["id"]
                return members
            if not lines:
                raise EOFError


@asynccontextmanager
async def listening(
    stack: GatewayStack, path: str = "/v1/events/stream", **headers: str
) -> AsyncIterator[Listener]:
    sent = {"Authorization": f"Bearer {stack.key}", **headers}
    async with (
        ClientSession() as session,
        session.get(f"{stack.url}{path}", headers=sent) as response,
    ):
        assert response.status == 200, await response.read()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["Request-Id"].startswith("req_")
        yield Listener(response)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.event_stream, "LOOK_EVERY_S", 0.01)


@pytest.mark.usefixtures("quick")
async def test_a_stream_tells_what_happens_from_now_on() -> None:
    """Who listens without a place hears what comes, each with its type, its bytes and its place."""
    async with GatewayStack() as stack:
        put(stack, 1)
        async with listening(stack) as listener, asyncio.timeout(5):
            await until(lambda: stack.gateway.streams.subscriber_count == 1)
            key = put(stack, 2)
            message = await listener.message()
            assert message["event"] == event_type(SUCCEEDED).wire
            body = (await stack.get(f"/v1/events/{event_id(key)}")).body
            assert message["data"].encode() == body


@pytest.mark.usefixtures("quick")
async def test_a_stream_goes_on_where_it_was_cut() -> None:
    """Who comes again with the id of the last event that he saw misses none, and sees none twice."""
    async with GatewayStack() as stack:
        keys = [put(stack, number) for number in range(1, 4)]
        start = f"/v1/events/stream?after={feed_cursor([FEED_START])}"
        async with asyncio.timeout(5):
            async with listening(stack, start) as first:
                await first.message()
            keys.append(put(stack, 4))
            async with listening(stack, **{"Last-Event-ID": first.last_id}) as second:
                seen = [await second.message() for _ in range(3)]
        assert [event_id(key) for key in keys[1:]] == [
            message["data"].split('"')[3] for message in seen
        ]
        (place,) = parse_feed_cursor(seen[-1]["id"], shard_count=1) or ()
        assert place.key == keys[-1]


@pytest.mark.usefixtures("quick")
async def test_a_quiet_stream_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies close what is silent: a comment comes in time."""
    monkeypatch.setattr(gateway.event_stream, "HEARTBEAT_S", 0.05)
    async with GatewayStack() as stack, listening(stack) as listener, asyncio.timeout(5):
        lines = [await listener.response.content.readline() for _ in range(5)]
        assert lines[0] == b"retry: 1000\n"
        assert lines[2:] == [b"\n", b": alive\n", b"\n"]


@pytest.mark.usefixtures("quick")
async def test_a_stream_cut_before_its_first_event_goes_on_from_its_beginning() -> None:
    """A stream tells its place at once: what happens between it and the next one is heard there."""
    async with GatewayStack() as stack, asyncio.timeout(5):
        put(stack, 1)
        async with listening(stack) as first:
            await first.response.content.readline()
            place = (await first.response.content.readline()).decode().removeprefix("id: ").strip()
        missed = put(stack, 2)
        async with listening(stack, **{"Last-Event-ID": place}) as second:
            assert event_id(missed) in (await second.message())["data"]


@pytest.mark.usefixtures("quick")
async def test_streams_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than so many at once are refused with a time to come again; one that ended makes room."""
    monkeypatch.setattr(gateway.event_stream, "STREAMS_PER_MERCHANT_MAX", 1)
    async with GatewayStack() as stack:
        async with listening(stack):
            refused = await stack.get("/v1/events/stream")
            assert (refused.status, refused.code) == (429, "too_many_streams")
            assert refused.headers["Retry-After"] == "1"
        await until(lambda: stack.gateway.streams.subscriber_count == 0)
        async with listening(stack):
            assert stack.gateway.streams.subscriber_count == 1


@pytest.mark.usefixtures("quick")
async def test_large_events_come_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscriber is handed no more than so many bytes at once, one event at least, and misses none."""
    monkeypatch.setattr(gateway.event_stream, "PAGE_BYTES_MAX", 2_500)
    async with GatewayStack() as stack, asyncio.timeout(5):
        sizes = [1_000, 1_000, 1_000, 9_000, 1, 2_500]
        for number, size in enumerate(sizes, start=1):
            put(stack, number, body=b"x" * size)
        start = f"/v1/events/stream?after={feed_cursor([FEED_START])}"
        async with listening(stack, start) as listener:
            seen = [await listener.message() for _ in sizes]
        assert [len(message["data"]) for message in seen] == sizes


@pytest.mark.usefixtures("quick")
async def test_an_event_that_cant_be_shown_holds_up_its_merchant_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such as one of a newer release's: its merchant's streams end, and others go on."""
    async with GatewayStack() as stack, asyncio.timeout(5):
        unreadable = put(stack, 1, mode=Mode.LIVE)
        events = stack.feed.events

        async def readable(keys: Sequence[EventKey]) -> Mapping[EventKey, StoredEvent]:
            if unreadable in keys:
                raise InvariantViolation("an event of a type that is not known here")
            return await events(keys)

        monkeypatch.setattr(stack.feed, "events", readable)
        start = f"/v1/events/stream?after={feed_cursor([FEED_START])}"
        key = f"Bearer {stack.issue_key(mode=Mode.LIVE)}"
        async with listening(stack, start) as good:
            async with listening(stack, start, Authorization=key) as bad:
                with pytest.raises(ClientPayloadError):
                    await bad.message()
            shown = put(stack, 2)
            assert event_id(shown) in (await good.message())["data"]


@pytest.mark.usefixtures("quick")
async def test_streams_that_begin_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that come while the books are still asked where the feed ends get no more places than others."""
    monkeypatch.setattr(gateway.event_stream, "STREAMS_PER_MERCHANT_MAX", 2)
    async with GatewayStack() as stack, ClientSession() as session, asyncio.timeout(5):
        may_tell = asyncio.Event()
        newest, asked = stack.feed.newest, 0

        async def late_newest(merchant_no: int, mode: Mode) -> FeedPosition:
            nonlocal asked
            asked += 1
            await may_tell.wait()
            return await newest(merchant_no, mode)

        monkeypatch.setattr(stack.feed, "newest", late_newest)
        url, headers = f"{stack.url}/v1/events/stream", {"Authorization": f"Bearer {stack.key}"}
        begun = [asyncio.create_task(session.get(url, headers=headers)) for _ in range(5)]
        await until(lambda: asked == len(begun))
        may_tell.set()
        responses = await asyncio.gather(*begun)
        assert sorted(response.status for response in responses) == [200, 200, 429, 429, 429]
        assert stack.gateway.streams.subscriber_count == 2
        for response in responses:
            response.close()


@pytest.mark.usefixtures("quick")
async def test_a_stream_survives_an_outage_of_the_books() -> None:
    """While the books are away a stream stays open, and then tells what it could not."""
    async with GatewayStack() as stack, listening(stack) as listener, asyncio.timeout(5):
        await until(lambda: stack.gateway.streams.subscriber_count == 1)
        stack.feed.is_available = False
        put(stack, 1)
        await asyncio.sleep(0.05)
        stack.feed.is_available = True
        assert (await listener.message())["event"] == "payment_order.succeeded"


@pytest.mark.usefixtures("quick")
async def test_a_drain_ends_streams_at_once() -> None:
    """A gateway that ends does not wait for streams: their clients go on at another one."""
    stack = GatewayStack()
    async with ClientSession() as session, asyncio.timeout(1.5):
        async with stack:
            response = await session.get(
                f"{stack.url}/v1/events/stream", headers={"Authorization": f"Bearer {stack.key}"}
            )
            await until(lambda: stack.gateway.streams.subscriber_count == 1)
        assert b"retry" in await response.read()
