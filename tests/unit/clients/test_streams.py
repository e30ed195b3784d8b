"""The stream of events in both clients: against our own gateway, and against what cuts it off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence

import pytest

import gateway.event_stream
from payments.feed import FEED_START, event_id, feed_cursor
from tallystick import (
    AnswerUnreadable,
    AsyncTallystick,
    CallFailed,
    NotReached,
    RetryPolicy,
    Tallystick,
    async_stream,
    following,
    problems,
    sync_stream,
)
from tests.unit.clients.scripted_server import Reply, ScriptedServer, problem
from tests.unit.gateway.stack import GatewayStack, until
from tests.unit.gateway.test_events import put

KEY = "sk_test_secret"
POLICY = RetryPolicy(pause_first_s=0.01, pause_s_max=0.02, attempts_max=3, attempt_s_max=2.0)
START = feed_cursor([FEED_START])

Seen = tuple[list[str], str | None, CallFailed | None]
"""The ids of the events that came, the cursor afterwards, and how it ended."""
Streamer = Callable[..., Seen]


def _blocking(url: str, count: int, after: str | None = None, key: str = KEY) -> Seen:
    seen: list[str] = []
    with (
        Tallystick(url, key, policy=POLICY) as client,
        client.events.stream(after=after) as stream,
    ):
        try:
            while len(seen) < count:
                seen.append(next(stream).id)
        except CallFailed as error:
            return seen, stream.cursor, error
        return seen, stream.cursor, None


async def _awaited(url: str, count: int, after: str | None, key: str) -> Seen:
    seen: list[str] = []
    async with (
        AsyncTallystick(url, key, policy=POLICY) as client,
        client.events.stream(after=after) as stream,
    ):
        try:
            while len(seen) < count:
                seen.append((await anext(stream)).id)
        except CallFailed as error:
            return seen, stream.cursor, error
        return seen, stream.cursor, None


def _async(url: str, count: int, after: str | None = None, key: str = KEY) -> Seen:
    return asyncio.run(_awaited(url, count, after, key))


@pytest.fixture(params=[_blocking, _async], ids=["sync", "async"])
def streamed(request: pytest.FixtureRequest) -> Streamer:
    """Reads so many events of a stream, or up to its error."""
    run: Streamer = request.param
    return run


def stream_of(*events: int, is_cut: bool = False, is_reset: bool = False) -> Reply:
    """A stream of these events, which then ends, is cut inside of a chunk, or is reset."""
    text = "".join(
        f'id: fc_{number}\nevent: a.b\ndata: {{"id":"evt_{number}"}}\n\n' for number in events
    ).encode()
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    body = b"%x\r\n%b\r\n" % (len(text), text) if text else b""
    if is_cut:
        body += b'400\r\nid: fc_99\ndata: {"id":"evt_99'
    elif not is_reset:
        body += b"0\r\n\r\n"
    return Reply(head + body, is_closed=not is_reset, is_reset=is_reset)


def resumed_at(server: ScriptedServer) -> Sequence[str | None]:
    return [each.headers.get("last-event-id") for each in server.got]


async def test_both_clients_hear_our_gateway_across_its_drain(
    streamed: Streamer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there and what comes later is heard once each, in order, also when the stream ends between."""
    monkeypatch.setattr(gateway.event_stream, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(gateway.event_stream, "STREAM_S_MAX", 0.2)
    monkeypatch.setattr(gateway.event_stream, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(following, "GOOD_S_MIN", 0.1)
    async with GatewayStack() as stack, asyncio.timeout(10):
        keys = [put(stack, number) for number in (1, 2)]
        reading = asyncio.create_task(asyncio.to_thread(streamed, stack.url, 4, START, stack.key))
        for number in (3, 4):
            await until(lambda: stack.gateway.streams.subscriber_count == 1)
            await until(lambda: stack.gateway.streams.subscriber_count == 0)
            keys.append(put(stack, number))
        seen, cursor, error = await reading
        assert error is None
        assert seen == [event_id(key) for key in keys]
        assert cursor is not None


def test_a_stream_that_is_cut_off_goes_on_behind_its_last_whole_event(streamed: Streamer) -> None:
    """Ended, cut inside an event, reset, refused for a moment: each event once, from where it was."""
    with ScriptedServer(
        stream_of(1, 2, is_cut=True),
        problem("store_unavailable", 503, retryable=True),
        stream_of(3, is_reset=True),
        stream_of(4),
        stream_of(5),
    ) as server:
        seen, cursor, error = streamed(server.url, 5, after="fc_0")
    assert error is None
    assert seen == [f"evt_{number}" for number in range(1, 6)]
    assert cursor == "fc_5"
    assert resumed_at(server) == ["fc_0", "fc_2", "fc_2", "fc_3", "fc_4"]


def test_a_stream_asks_again_a_bounded_number_of_times(streamed: Streamer) -> None:
    """A gateway that ends every stream at once is given up, and the cursor says where to go on."""
    with ScriptedServer(stream_of(1), stream_of()) as server:
        seen, cursor, error = streamed(server.url, 2)
    assert (seen, cursor) == (["evt_1"], "fc_1")
    assert isinstance(error, NotReached)
    assert len(server.got) == 1 + POLICY.attempts_max - 1


def test_a_gateway_that_is_gone_is_told(streamed: Streamer) -> None:
    """Nobody there: an error after as many attempts as the policy has."""
    with ScriptedServer(stream_of(1)) as server:
        url = server.url
    seen, _, error = streamed(url, 1)
    assert seen == []
    assert isinstance(error, NotReached)
    assert error.attempt_count == POLICY.attempts_max


def test_a_refused_stream_is_an_error_of_its_class(streamed: Streamer) -> None:
    """What can't get better is not asked again."""
    with ScriptedServer(problem("parameter_invalid", 400, retryable=False)) as server:
        _, _, error = streamed(server.url, 1, after="nonsense")
    assert isinstance(error, problems.ParameterInvalid)
    assert len(server.got) == 1


def test_silence_ends_a_connection(streamed: Streamer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which not even signs of life come is left, and the next one asked."""
    monkeypatch.setattr(sync_stream, "SILENCE_S_MAX", 0.2)
    monkeypatch.setattr(async_stream, "SILENCE_S_MAX", 0.2)
    silent = Reply(stream_of(1, is_reset=True).data)
    with ScriptedServer(silent, stream_of(2)) as server:
        seen, _, error = streamed(server.url, 2)
    assert (seen, error) == (["evt_1", "evt_2"], None)


@pytest.mark.parametrize(
    "body",
    [
        b"id: fc_1\ndata: {nonsense\n\n",
        b"data: {}\n\n",
        b"id: fc_1\ndata: []\n\n",
        b"id: fc_1\ndata: " + b"[" * 200_000 + b"\n\n",
        b"data: " + b"x" * (following.MESSAGE_BYTES_MAX + 1),
        b"data: x\n" * (following.MESSAGE_BYTES_MAX // 4),
    ],
    ids=["no_json", "no_id", "no_object", "deep", "endless_line", "endless_event"],
)
def test_what_is_no_stream_of_events_is_refused(streamed: Streamer, body: bytes) -> None:
    """Neither nonsense nor an event without an end is kept or handed out."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n"
    with ScriptedServer(Reply(head % len(body) + body)) as server:
        seen, _, error = streamed(server.url, 1)
    assert seen == []
    assert isinstance(error, AnswerUnreadable)


def test_a_page_of_a_proxy_is_no_stream(streamed: Streamer) -> None:
    """A 200 that is no stream is told as what it is, not waited for."""
    page = b"<html></html>"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page)
    with ScriptedServer(Reply(head + page)) as server:
        _, _, error = streamed(server.url, 1)
    assert isinstance(error, AnswerUnreadable)


def test_messages_are_whole_however_the_bytes_are_cut() -> None:
    """Comments, retry, CRLF, data of several lines, an id alone: the same at any cut."""
    text = b'retry: 1000\nid: fc_0\n\n: alive\n\nid: fc_1\r\nevent: a.b\r\ndata: {"a":\r\ndata: 1}\r\n\r\ndata: cut'
    for size in range(1, len(text)):
        reader = following.MessageReader()
        pieces = (text[start : start + size] for start in range(0, len(text), size))
        found = [message for piece in pieces for message in reader.take(piece)]
        assert [message.cursor for message in found] == ["fc_0", "fc_1"]
        assert json.loads(found[1].data) == {"a": 1}
