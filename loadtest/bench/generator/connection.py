"""One connection in a closed loop: send, read the answer, send the next."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import cast

from loadtest.bench.generator.requests import Requests

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
# "HTTP/1.1 202": the status stands at a fixed place.
_STATUS = slice(9, 12)

NO_ANSWER = "0"


class Observed:
    """What all connections of one generator have seen. Latencies are in seconds."""

    def __init__(self, *, until_s: float, requests_max: int | None) -> None:
        self.until_s = until_s
        self.left = requests_max if requests_max is not None else float("inf")
        self.statuses: Counter[bytes] = Counter()
        self.lost_count = 0
        self.at_once_s: list[float] = []
        self.held_s: list[float] = []
        self.last_answer_s = 0.0

    def may_send(self, now_s: float) -> bool:
        """Whether one more request is wanted; counts it."""
        if now_s >= self.until_s or self.left <= 0:
            return False
        self.left -= 1
        return True


class Connection(asyncio.Protocol):
    """Sends until the observed wants no more. ``ended`` is done when its last answer has come."""

    def __init__(
        self, requests: Requests, observed: Observed, *, held_every: int, offset: int
    ) -> None:
        self._requests = requests
        self._observed = observed
        self._held_every = held_every
        # Connections hold in turns, so that held requests spread over time.
        self._sent_count = offset
        self._is_held = False
        self._is_waiting = False
        self._sent_s = 0.0
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._lost: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._is_waiting:
            self._observed.lost_count += 1
        self._is_waiting = False
        self._end()
        self._lost.set_result(None)

    def begin(self) -> None:
        """Send the first request."""
        self._send(time.monotonic())

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        if not is_whole(buffer):
            self._buffer = buffer
            return
        self._buffer = b""
        now_s = time.monotonic()
        observed = self._observed
        observed.statuses[buffer[_STATUS]] += 1
        (observed.held_s if self._is_held else observed.at_once_s).append(now_s - self._sent_s)
        observed.last_answer_s = now_s
        self._is_waiting = False
        self._send(now_s)

    async def close(self) -> None:
        """Close it, and return when it is closed. An answer that has not come by now never does."""
        if self._transport is not None:
            self._transport.abort()
            await self._lost

    def _send(self, now_s: float) -> None:
        if self._transport is None or not self._observed.may_send(now_s):
            self._end()
            return
        self._sent_count += 1
        self._is_held = self._held_every > 0 and self._sent_count % self._held_every == 0
        self._is_waiting = True
        self._sent_s = now_s
        self._transport.write(self._requests.next(is_held=self._is_held))

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


def is_whole(buffer: bytes) -> bool:
    """Whether the answer is complete. Every server here answers with a length; without pipelining
    nothing follows it.
    """
    head_length = buffer.find(_HEAD_END)
    if head_length < 0:
        return False
    head = buffer[:head_length].lower()
    start = head.find(_LENGTH)
    if start < 0:
        return True
    end = head.find(b"\r\n", start)
    length = int(head[start + len(_LENGTH) : end if end > 0 else None])
    return len(buffer) >= head_length + len(_HEAD_END) + length
