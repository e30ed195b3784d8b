"""Events as they happen, blocking between them."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Self

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
from tallystick.sync_transport import OpenStream, SyncTransport


class EventStream:
    """An iterator that ends only by an error, or when it is closed: by ``close``, or behind a ``with`` block.

    Cut off, it asks again behind the last event, and misses none. It raises CallFailed when that fails as
    often, or for as long, as the client's policy allows; go on with a new one, ``after`` its ``cursor``.
    """

    def __init__(self, transport: SyncTransport, follower: Follower) -> None:
        self._transport = transport
        self._follower = follower
        self._stream: OpenStream | None = None
        self._events = self._follow()

    @property
    def cursor(self) -> str | None:
        """Where the feed goes on behind the event that came last. Keep it once that is dealt with."""
        return self._follower.cursor

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        return next(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._events.close()

    def _follow(self) -> Generator[Event, None, None]:
        while True:
            self._open()
            assert self._stream is not None
            try:
                while piece := self._stream.read(SILENCE_S_MAX):
                    yield from self._follower.take(piece)
            finally:
                self._stream.close()
            time.sleep(self._follower.pause_s())

    def _open(self) -> None:
        steps = self._follower.opening()
        result: Result = None
        try:
            while True:
                result = self._take(steps.send(result))
        except StopIteration:
            return
        except BaseException:
            if self._stream is not None:
                self._stream.close()
            raise
        finally:
            steps.close()

    def _take(self, step: Step) -> Response | NoAnswer | None:
        match step:
            case Send(request, timeout_s):
                opened = self._transport.open_stream(request, timeout_s)
                if not isinstance(opened, OpenStream):
                    return opened
                self._stream = opened
                return opened.head
            case Pause(seconds):
                time.sleep(seconds)
            case KeepKey() | ForgetKey():
                pass  # a read has no key
        return None
