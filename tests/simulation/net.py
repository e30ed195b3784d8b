"""Connections between simulated processes: latency, order, resets before and after the effect, stalls."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from tests.simulation.loop import CELL, Cell

T = TypeVar("T")

# How long a peer needs to hear that the other process is gone.
RST_S = 0.0005


class WireBroken(Exception):
    """The connection is gone; what was asked last may have happened. ``is_sent`` False: surely not."""

    def __init__(self, reason: str, *, is_sent: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_sent = is_sent


@dataclass(slots=True, kw_only=True)
class Weather:
    """What a network does: seconds, and probabilities a call."""

    latency_s: float = 0.0004
    slow_share: float = 0.0
    """How often a message takes up to ``slow_s``."""
    slow_s: float = 0.05
    reset_before: float = 0.0
    """The connection breaks, and the request is lost."""
    reset_after: float = 0.0
    """The request does its work; the connection breaks under the reply."""


class Net:
    """All links of a world. ``stalled`` holds, by link, until when nothing gets through."""

    def __init__(self, seed: object, weather: Weather) -> None:
        self._random = random.Random(f"{seed}:net")
        self.weather = weather
        self.stalled: dict[str, float] = {}
        self.lag_s: dict[str, float] = {}
        """By link: what each message takes on top, as between two sites."""

    def delay_s(self) -> float:
        """Return how long one message travels."""
        weather, draw = self.weather, self._random.random
        if weather.slow_share and draw() < weather.slow_share:
            return weather.slow_s * draw()
        return weather.latency_s * (0.5 + draw())

    def arrival_s(self, link: str, now_s: float) -> float:
        """Return when a message that leaves now arrives."""
        leaves_s = max(now_s, self.stalled.get(link, 0.0))
        return leaves_s + self.lag_s.get(link, 0.0) + self.delay_s()

    def fate(self) -> str:
        """Return what becomes of one call: ``ok``, ``before`` or ``after``."""
        weather = self.weather
        if not weather.reset_before and not weather.reset_after:
            return "ok"
        draw = self._random.random()
        if draw < weather.reset_before:
            return "before"
        return "after" if draw < weather.reset_before + weather.reset_after else "ok"


class Wire:
    """One TCP connection of the running process to a server: requests arrive in their order, or not at all."""

    def __init__(self, net: Net, server: Cell, link: str) -> None:
        self._net = net
        self._loop = server.loop
        self._client = CELL.get(self._loop.world)
        self._server = server
        self._link = link
        self._waiting: list[asyncio.Future[Any]] = []
        self._arrives_s = 0.0
        self._returns_s = 0.0
        self.is_open = not server.is_dead
        self.on_closed: Callable[[], None] | None = None
        """Run by the server once it notices."""
        server.on_death.append(self._server_died)
        self._client.on_death.append(self._client_died)

    @overload
    async def call(
        self, handler: Callable[[], Coroutine[Any, Any, T]], *, timeout_s: float = 5.0
    ) -> T: ...

    @overload
    async def call(self, handler: Callable[[], T], *, timeout_s: float = 5.0) -> T: ...

    async def call(self, handler: Callable[[], Any], *, timeout_s: float = 5.0) -> Any:
        """Have the server run ``handler`` and return what it returned, or raise what it raised.

        Raises WireBroken. A caller that is cancelled costs the connection.
        """
        if not self.is_open or self._loop.is_over:
            raise WireBroken("the connection is closed", is_sent=False)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(future)
        fate = self._net.fate()
        self._arrives_s = max(self._arrives_s, self._net.arrival_s(self._link, self._loop.time()))
        if fate == "before":
            self._client.call_at(self._arrives_s, self.abort, "reset on the way there")
        else:
            self._server.call_at(self._arrives_s, self._arrived, handler, future, fate == "after")
        late = self._loop.call_later(timeout_s, self.abort, f"no answer in {timeout_s} s")
        try:
            return await future
        except asyncio.CancelledError:
            self.abort("the caller was cancelled")
            raise
        finally:
            late.cancel()
            if future in self._waiting:
                self._waiting.remove(future)

    def abort(self, reason: str) -> None:
        """Close from the client's side. What is on its way to the server still arrives."""
        if not self.is_open:
            return
        self.is_open = False
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_exception(WireBroken(reason))
        when = max(self._arrives_s, self._loop.time() + RST_S)
        self._server.call_at(when, self._closed_at_server)

    def close_by_server(self, reason: str) -> None:
        """Close from the server's side; the client hears of it a little later."""
        self._client.call_at(self._loop.time() + RST_S, self.abort, reason)

    def _closed_at_server(self) -> None:
        hook, self.on_closed = self.on_closed, None
        if hook is not None:
            hook()

    def _server_died(self) -> None:
        self.close_by_server("the server is gone")

    def _client_died(self) -> None:
        self.is_open = False
        self._server.call_at(self._loop.time() + RST_S, self._closed_at_server)

    def _arrived(
        self, handler: Callable[[], Any], future: asyncio.Future[Any], is_reply_lost: bool
    ) -> None:
        try:
            result = handler()
        except Exception as error:
            self._reply(future, None, error, is_reply_lost)
            raise_if_defect(error)
            return
        if not asyncio.iscoroutine(result):
            self._reply(future, result, None, is_reply_lost)
            return
        task = self._server.spawn(result)
        task.add_done_callback(
            lambda done: self._ended(done, future, is_reply_lost),
            context=self._server.context,
        )

    def _ended(
        self, done: asyncio.Task[Any], future: asyncio.Future[Any], is_reply_lost: bool
    ) -> None:
        if not done.cancelled():
            error = done.exception()
            result = None if error is not None else done.result()
            self._reply(future, result, error, is_reply_lost)

    def _reply(
        self,
        future: asyncio.Future[Any],
        result: object,
        error: BaseException | None,
        is_reply_lost: bool,
    ) -> None:
        self._returns_s = max(self._returns_s, self._net.arrival_s(self._link, self._loop.time()))
        if is_reply_lost:
            self._client.call_at(self._returns_s, self.abort, "reset on the way back")
        else:
            self._client.call_at(self._returns_s, _resolve, future, result, error)


def _resolve(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def raise_if_defect(error: Exception) -> None:
    """A server's own defect must not pass for an answer."""
    if isinstance(error, (TypeError, AttributeError, KeyError, IndexError, AssertionError)):
        raise error
