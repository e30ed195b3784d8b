"""The stream of events: what its bytes say, where it stands, and when it is asked for again. Pure."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import NamedTuple

from tallystick.errors import AnswerUnreadable, NotReached
from tallystick.exchange import Response, Steps
from tallystick.records import Event
from tallystick.retrying import Surroundings, Wanted, exchanged

STREAM = "/v1/events/stream"

# A gateway gives a sign of life every 15 s: after three that did not come nobody is there any more.
SILENCE_S_MAX = 45.0
# An event is a few kB; a line without an end is no answer of a gateway.
MESSAGE_BYTES_MAX = 1024 * 1024
# A stream that lived so long was a good one, also when nothing happened meanwhile.
GOOD_S_MIN = 30.0

_log = logging.getLogger("tallystick")


class Message(NamedTuple):
    """One server-sent event."""

    cursor: str | None
    """The id, which is where the feed goes on behind it; None when it came without one."""
    data: bytes


class MessageReader:
    """Takes pieces of a stream, however cut, and returns the messages that they complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._cursor: str | None = None
        self._data: list[bytes] = []
        self._data_bytes = 0

    def take(self, piece: bytes) -> Iterator[Message]:
        """Raises ValueError for a message that is too long."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            message = self._take_line(line.removesuffix(b"\r"))
            if message is not None:
                yield message
        if len(self._rest) + self._data_bytes > MESSAGE_BYTES_MAX:
            raise ValueError(f"a message of more than {MESSAGE_BYTES_MAX} bytes")

    def _take_line(self, line: bytes) -> Message | None:
        if not line:
            message = Message(self._cursor, b"\n".join(self._data))
            self._cursor, self._data, self._data_bytes = None, [], 0
            return message if message.data or message.cursor is not None else None
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"id" and b"\0" not in value:
            self._cursor = value.decode(errors="replace")
        elif name == b"data":
            self._data.append(value)
            self._data_bytes += len(line)
        return None


class Follower:
    """Where a reader of the stream stands. It asks again, a bounded number of times in a row."""

    def __init__(self, after: str | None, surroundings: Surroundings) -> None:
        self.cursor = after
        self._surroundings = surroundings
        self._messages = MessageReader()
        self._opened_at_s = 0.0
        self._cut_count = 0

    def opening(self) -> Steps[Response]:
        """The steps to an open stream. Raises CallFailed."""
        headers = {"Accept": "text/event-stream"}
        if self.cursor is not None:
            headers["Last-Event-ID"] = self.cursor
        wanted = Wanted(method="GET", target=STREAM, headers=headers, body=None, key=None)
        response = yield from exchanged(wanted, self._surroundings)
        if "text/event-stream" not in response.headers.get("content-type", ""):
            request_id = response.headers.get("request-id")
            what = f"GET {STREAM}: {response.status} without a stream"
            raise AnswerUnreadable(what, status=response.status, request_id=request_id)
        self._messages = MessageReader()
        self._opened_at_s = self._surroundings.monotonic_s()
        return response

    def take(self, piece: bytes) -> Iterator[Event]:
        """Return the events that a piece completes; ``cursor`` is each one's while it is dealt with.

        Raises AnswerUnreadable for what no gateway sends.
        """
        try:
            for message in self._messages.take(piece):
                if message.data:
                    event = _event(message)
                    self.cursor, self._cut_count = message.cursor, 0
                    yield event
                else:
                    self.cursor = message.cursor
        except (ValueError, RecursionError) as error:
            raise AnswerUnreadable(f"GET {STREAM}: {error}", status=200) from None

    def pause_s(self) -> float:
        """How long to wait before asking again, after a stream ended. Raises NotReached after too many."""
        policy = self._surroundings.policy
        if self._surroundings.monotonic_s() - self._opened_at_s >= GOOD_S_MIN:
            self._cut_count = 0
        self._cut_count += 1
        if self._cut_count >= policy.attempts_max:
            what = f"GET {STREAM}: cut off {self._cut_count} times in a row before anything came"
            raise NotReached(what, attempt_count=self._cut_count)
        pause_s = policy.pause_s(self._cut_count, self._surroundings.draw)
        _log.info("GET %s: the stream ended, it is asked for again in %.2f s", STREAM, pause_s)
        return pause_s


def _event(message: Message) -> Event:
    document = json.loads(message.data)
    if not isinstance(document, dict) or message.cursor is None:
        raise ValueError("a message that is no event")
    return Event(document)
