"""What the simulated stores need of a loop. The simulation's own has it; ``RealTime`` lends it to any other.

So the contract suites can run the simulated stores on an ordinary loop, beside the real ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Protocol

from tests.simulation.loop import Cell


class Time(Protocol):
    """The part of ``SimLoop`` that stores and wires use."""

    is_over: bool

    @property
    def world(self) -> Cell: ...
    def cell(self, name: str) -> Cell: ...
    def effect(self, line: str) -> None: ...
    def time(self) -> float: ...
    def activate(self, cell: Cell) -> None: ...
    def create_future(self) -> asyncio.Future[Any]: ...
    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, context: Context
    ) -> asyncio.Task[Any]: ...
    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context
    ) -> asyncio.TimerHandle: ...
    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any
    ) -> asyncio.TimerHandle: ...


class RealTime:
    """An ordinary running loop in the place of the simulation's. Its cells can't be killed or frozen."""

    is_over = False

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.world = self.cell("world")

    def cell(self, name: str) -> Cell:
        return Cell(self, name)

    def effect(self, line: str) -> None:
        """Nobody keeps a trace."""

    def activate(self, cell: Cell) -> None:
        """Nobody was frozen."""

    def time(self) -> float:
        return self._loop.time()

    def create_future(self) -> asyncio.Future[Any]:
        return self._loop.create_future()

    def create_task(self, coro: Coroutine[Any, Any, Any], *, context: Context) -> asyncio.Task[Any]:
        return self._loop.create_task(coro, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context
    ) -> asyncio.TimerHandle:
        return self._loop.call_at(when, callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any
    ) -> asyncio.TimerHandle:
        return self._loop.call_later(delay, callback, *args)
