"""Events as they happen, on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Self

from tallystick.async_transport import AsyncTransport, OpenStream
from tallystick.exchange import (
    ForgetKey,
    KeepKey,
    NoAnswer,
    Pause,
    Response,
    Result,
    Send,
    Step,
)
from tallystick.following import SILENCE_S_MAX, Follower
from tallystick.records import Event


class AsyncEventStream:
    """An iterator that ends only by an error, or when it is closed: by ``close``, or behind a ``with`` block.

    Cut off, it asks again behind the last event, and misses none. It raises CallFailed when that fails as
    often, or for as long, as the client's policy allows; go on with a new one, ``after`` its ``cursor``.
    """

    def __init__(self, transport: AsyncTransport, follower: Follower) -> None:
        self._transport = transport
        self._follower = follower
        self._stream: OpenStream | None = None
        self._events = self._follow()

    @property
    def cursor(self) -> str | None:
        """Where the feed goes on behind the event that came last. Keep it once that is dealt with."""
        return self._follower.cursor

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return await anext(self._events)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._events.aclose()

    async def _follow(self) -> AsyncGenerator[Event, None]:
        while True:
            await self._open()
            assert self._stream is not None
            try:
                while piece := await self._stream.read(SILENCE_S_MAX):
                    for event in self._follower.take(piece):
                        yield event
            finally:
                self._stream.close()
            await asyncio.sleep(self._follower.pause_s())

    async def _open(self) -> None:
        steps = self._follower.opening()
        result: Result = None
        try:
            while True:
                result = await self._take(steps.send(result))
        except StopIteration:
            return
        except BaseException:
            if self._stream is not None:
                self._stream.close()
            raise
        finally:
            steps.close()

    async def _take(self, step: Step) -> Response | NoAnswer | None:
        match step:
            case Send(request, timeout_s):
                opened = await self._transport.open_stream(request, timeout_s)
                if not isinstance(opened, OpenStream):
                    return opened
                self._stream = opened
                return opened.head
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case KeepKey() | ForgetKey():
                pass  # a read has no key
        return None
