"""A merchant's event stream (``GET /v1/events/stream``): read line by line, and taken up again where it broke."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp

from ops.faults import EventStreamRefused, GatewayUnreachable

STREAM_PATH = "/v1/events/stream"
# The stream says something every 15 s, if only that it lives: twice that is a dead connection.
SILENCE_S_MAX = 45.0
# As the stream itself asks for.
RECONNECT_S = 1.0
# In a row: a gateway that restarts is back within seconds; a minute without one is for people to look at.
RECONNECTS_MAX = 60
# An event is one line. With the largest metadata, all of it escaped, it is a sixth of this.
LINE_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedEvent:
    """One event as it was streamed."""

    cursor: str
    """Where the stream goes on after it."""
    type: str
    data: bytes
    """The event's JSON, byte for byte."""


class EventLines:
    """Gathers the lines of a stream into events, as the HTML standard tells; comments are passed over."""

    def __init__(self) -> None:
        self._cursor = ""
        self._type = ""
        self._data: list[bytes] = []

    def take(self, line: bytes) -> StreamedEvent | None:
        """Take one line without its end; return the event that it completes."""
        if not line:
            event = None
            if self._data:
                event = StreamedEvent(
                    cursor=self._cursor, type=self._type or "message", data=b"\n".join(self._data)
                )
            self._type, self._data = "", []
            return event
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"id" and b"\0" not in value:
            self._cursor = value.decode("utf-8", "replace")
        elif name == b"event":
            self._type = value.decode("utf-8", "replace")
        return None


class EventStream:
    """One merchant's stream at one gateway."""

    def __init__(
        self, session: aiohttp.ClientSession, gateway_url: str, api_key: str, *, after: str | None
    ) -> None:
        self._session = session
        self._url = f"{gateway_url}{STREAM_PATH}"
        self._headers = {"Authorization": f"Bearer {api_key}", "Accept": "text/event-stream"}
        self._after = after

    async def events(self) -> AsyncIterator[StreamedEvent]:
        """Yield events, for ever; a broken connection is made again, and goes on after the last event.

        Raises GatewayUnreachable when it can't be made RECONNECTS_MAX times in a row, EventStreamRefused when the
        gateway wants no stream of ours.
        """
        failed_count = 0
        while True:
            reason = "the stream ended"
            try:
                async for event in self._connected():
                    failed_count = 0
                    yield event
            except (TimeoutError, aiohttp.ClientError, ValueError) as error:
                # ValueError: a line beyond every event, so nothing of ours.
                reason = str(error) or type(error).__name__
            failed_count += 1
            if failed_count > RECONNECTS_MAX:
                raise GatewayUnreachable(self._url, reason)
            await asyncio.sleep(RECONNECT_S)

    async def _connected(self) -> AsyncIterator[StreamedEvent]:
        headers = dict(self._headers)
        if self._after is not None:
            headers["Last-Event-ID"] = self._after
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=SILENCE_S_MAX)
        async with self._session.get(
            self._url, headers=headers, timeout=timeout, read_bufsize=LINE_BYTES_MAX
        ) as response:
            if 400 <= response.status < 500 and response.status != 429:
                problem = await response.json(content_type=None)
                raise EventStreamRefused(response.status, str(problem.get("detail", "")))
            if response.status != 200:
                raise aiohttp.ClientError(f"answered {response.status}")
            lines = EventLines()
            async for line in response.content:
                event = lines.take(line.rstrip(b"\r\n"))
                if event is not None:
                    self._after = event.cursor
                    yield event
