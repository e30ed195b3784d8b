"""`tally listen`: a stream of events as webhooks to a local program."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from ops import event_stream
from ops.event_stream import EventLines, EventStream, StreamedEvent
from ops.faults import EventStreamRefused, GatewayUnreachable
from ops.forwarding import Forwarder, listening_secret
from psp.webhooks import (
    HEADER_ID,
    HEADER_SIGNATURE,
    HEADER_TIMESTAMP,
    WebhookVerifier,
    secret_bytes,
)
from tests.manual_clock import ManualClock

EVENT = b'{"id":"evt_b","type":"payment_order.succeeded"}'
SECRET = "whsec_" + "bW9yZSB0aGFuIGVub3VnaCBzZWNyZXQgYnl0ZXM="


@asynccontextmanager
async def served(*routes: web.RouteDef) -> AsyncIterator[str]:
    """The URL of a server with these routes."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def taken(text: bytes) -> list[StreamedEvent]:
    """Every event of a stream's text."""
    lines = EventLines()
    found = (lines.take(line.rstrip(b"\r")) for line in text.split(b"\n"))
    return [event for event in found if event is not None]


def test_a_stream_is_read_as_its_standard_says() -> None:
    """Comments and signs of life are no events; data of several lines is one; an event ends at an empty line."""
    text = b"retry: 1000\n\n: alive\n\nid: fc_b\nevent: a.b\ndata: 1\ndata:2\n\nid: fc_c\r\ndata: 3\r\n\r\ndata: cut"
    assert taken(text) == [
        StreamedEvent(cursor="fc_b", type="a.b", data=b"1\n2"),
        StreamedEvent(cursor="fc_c", type="message", data=b"3"),
    ]


@given(
    events=st.lists(
        st.tuples(
            st.from_regex(r"fc_[b-v]{1,8}", fullmatch=True),
            st.sampled_from(["payment_order.succeeded", "refund.failed"]),
            st.dictionaries(st.text(), st.text()),
        )
    )
)
def test_what_is_streamed_is_what_is_read(events: list[tuple[str, str, dict[str, str]]]) -> None:
    """Each event comes out once, in its order, byte for byte."""
    wanted = [
        StreamedEvent(cursor=cursor, type=kind, data=json.dumps(data).encode())
        for cursor, kind, data in events
    ]
    text = b"".join(
        b"id: %b\nevent: %b\ndata: %b\n\n: alive\n\n"
        % (event.cursor.encode(), event.type.encode(), event.data)
        for event in wanted
    )
    assert taken(text) == wanted


async def test_a_broken_stream_goes_on_after_its_last_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each connection names the last event that was seen, so nothing is missed and nothing comes twice."""
    monkeypatch.setattr(event_stream, "RECONNECT_S", 0.0)
    asked: list[str | None] = []

    async def stream(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("Last-Event-ID"))
        assert request.headers["Authorization"] == "Bearer key"
        response = web.StreamResponse()
        await response.prepare(request)
        number = len(asked)
        await response.write(b"id: fc_%d\nevent: e\ndata: %d\n\n" % (number, number))
        return response

    async with (
        served(web.get("/v1/events/stream", stream)) as url,
        aiohttp.ClientSession() as session,
    ):
        events = EventStream(session, url, "key", after="fc_0").events()
        seen = [await anext(events) for _ in range(3)]
    assert [event.data for event in seen] == [b"1", b"2", b"3"]
    assert asked == ["fc_0", "fc_1", "fc_2"]


async def test_a_gateway_that_is_away_is_told_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Connections are tried a bounded number of times in a row."""
    monkeypatch.setattr(event_stream, "RECONNECT_S", 0.0)
    monkeypatch.setattr(event_stream, "RECONNECTS_MAX", 3)
    asked = 0

    async def stream(_request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.json_response({}, status=503)

    async with (
        served(web.get("/v1/events/stream", stream)) as url,
        aiohttp.ClientSession() as session,
    ):
        with pytest.raises(GatewayUnreachable, match="answered 503"):
            await anext(EventStream(session, url, "key", after=None).events())
    assert asked == 4


async def test_a_refusal_ends_it_at_once() -> None:
    """A key that is no good, or a cursor that is none, does not become better by asking again."""

    async def stream(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": "The API key does not exist."}, status=401)

    async with (
        served(web.get("/v1/events/stream", stream)) as url,
        aiohttp.ClientSession() as session,
    ):
        with pytest.raises(EventStreamRefused, match="401 The API key does not exist"):
            await anext(EventStream(session, url, "key", after=None).events())


async def test_forwarded_events_are_signed_as_webhooks() -> None:
    """The receiver gets the event's bytes under its id, with a signature that our own verifier believes."""
    clock = ManualClock()
    got: list[tuple[dict[str, str], bytes]] = []

    async def hook(request: web.Request) -> web.Response:
        got.append((dict(request.headers), await request.read()))
        return web.Response(status=204)

    async with served(web.post("/hook", hook)) as url, aiohttp.ClientSession() as session:
        forwarder = Forwarder(session, f"{url}/hook", SECRET, clock=clock)
        forwarded = await forwarder.forward(
            StreamedEvent(cursor="fc_b", type="payment_order.succeeded", data=EVENT)
        )
    assert forwarded.is_delivered
    ((headers, body),) = got
    assert body == EVENT
    assert headers[HEADER_ID] == forwarded.event_id == "evt_b"
    verifier = WebhookVerifier([secret_bytes(SECRET)], tolerance_s=1)
    refusal = verifier.refusal(
        headers[HEADER_ID],
        headers[HEADER_TIMESTAMP],
        headers[HEADER_SIGNATURE],
        body,
        now_s=clock.now().timestamp(),
    )
    assert refusal is None


async def test_a_receiver_that_is_away_is_told_and_not_followed_elsewhere() -> None:
    """No answer is told as such, and a redirect is a failed delivery."""

    async def elsewhere(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/")

    event = StreamedEvent(cursor="fc_b", type="e", data=b"no json")
    async with aiohttp.ClientSession() as session:
        async with served(web.post("/hook", elsewhere)) as url:
            redirected = await Forwarder(
                session, f"{url}/hook", SECRET, clock=ManualClock()
            ).forward(event)
        away = await Forwarder(session, f"{url}/hook", SECRET, clock=ManualClock()).forward(event)
    assert (redirected.status, redirected.is_delivered, redirected.event_id) == (302, False, "fc_b")
    assert (away.status, away.is_delivered) == (None, False)
    assert away.error


def test_the_secret_of_a_home_stays_the_same(tmp_path: Path) -> None:
    """A receiver is configured once; the file is for its owner alone."""
    (tmp_path / "secrets").mkdir()
    secret = listening_secret(tmp_path)
    assert listening_secret(tmp_path) == secret
    assert len(secret_bytes(secret)) == 32
    (made,) = (tmp_path / "secrets").iterdir()
    assert made.stat().st_mode & 0o777 == 0o600
