"""Within a process the simulation's loop does what asyncio's own does, in the same order."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import selectors
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import pytest

from tests.simulation.loop import running_loop

Deed = Literal[
    "sleep", "sleep_0", "sleep_in_time", "wait_in_time", "set", "later", "cancel", "either"
]
DEEDS: tuple[Deed, ...] = Deed.__args__  # type: ignore[attr-defined]
TASK_COUNT, EVENT_COUNT = 6, 3


class OrderedTimer(asyncio.TimerHandle):
    """asyncio leaves open which of two timers of one moment comes first; here the older one does."""

    number = 0

    def __lt__(self, other: asyncio.TimerHandle) -> bool:
        assert isinstance(other, OrderedTimer)
        return (self.when(), self.number) < (other.when(), other.number)


class VirtualSelector(selectors.SelectSelector):
    """Passes the time that the loop wants to wait for."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "everybody waits for somebody"
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, on a virtual clock."""

    def __init__(self) -> None:
        self._virtual = VirtualSelector()
        self._numbers = itertools.count()
        super().__init__(self._virtual)
        self._clock_resolution = 1e-12

    def time(self) -> float:
        return self._virtual.now_s

    def call_at(  # type: ignore[override]  # of any callback
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        timer = OrderedTimer(when, callback, args, self, context)
        timer.number = next(self._numbers)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer


class Act(NamedTuple):
    """One thing that a task does; two times in seconds, and whom and what it concerns."""

    deed: Deed
    first_s: float
    second_s: float
    task_no: int
    event_no: int


def _program(seed: int, *, has_ties: bool) -> list[list[Act]]:
    draws = random.Random(seed)

    def delay_s() -> float:
        return draws.randrange(1, 5) if has_ties else draws.uniform(0, 4)

    return [
        [
            Act(
                draws.choice(DEEDS),
                delay_s(),
                delay_s(),
                draws.randrange(TASK_COUNT),
                draws.randrange(EVENT_COUNT),
            )
            for _ in range(5)
        ]
        for _ in range(TASK_COUNT)
    ]


class Run:
    """Carries a program out on the running loop, and notes what happened when."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._events = [asyncio.Event() for _ in range(EVENT_COUNT)]

    async def main(self, program: list[list[Act]]) -> None:
        self._tasks += [
            asyncio.create_task(self._live(number, acts)) for number, acts in enumerate(program)
        ]
        await asyncio.wait(self._tasks)

    def _note(self, what: str) -> None:
        self.log.append(f"{asyncio.get_running_loop().time():.6f} {what}")

    async def _live(self, number: int, acts: list[Act]) -> None:
        try:
            for position, act in enumerate(acts):
                name = f"{number}.{position} {act.deed}"
                try:
                    await self._do(act, name)
                    self._note(name)
                except TimeoutError:
                    self._note(f"{name} timed out")
        except asyncio.CancelledError:
            self._note(f"{number} cancelled")
            raise

    async def _do(self, act: Act, name: str) -> None:
        loop, event = asyncio.get_running_loop(), self._events[act.event_no]
        match act.deed:
            case "sleep":
                await asyncio.sleep(act.first_s)
            case "sleep_0":
                await asyncio.sleep(0)
            case "sleep_in_time":
                async with asyncio.timeout(act.second_s):
                    await asyncio.sleep(act.first_s)
            case "wait_in_time":
                async with asyncio.timeout(act.second_s):
                    await event.wait()
            case "set":
                self._wake(event, name)
            case "later":
                loop.call_later(act.first_s, self._wake, event, f"{name} called")
            case "cancel":
                loop.call_later(act.first_s, self._tasks[act.task_no].cancel)
            case "either":
                sleeps = [asyncio.create_task(asyncio.sleep(s)) for s in act[1:3]]
                _, others = await asyncio.wait(sleeps, return_when=asyncio.FIRST_COMPLETED)
                for sleep in others:
                    sleep.cancel()

    def _wake(self, event: asyncio.Event, name: str) -> None:
        self._note(name)
        event.set()
        event.clear()


def _log_of(loop: asyncio.AbstractEventLoop, program: list[list[Act]]) -> list[str]:
    async def run() -> list[str]:
        carried_out = Run()
        await carried_out.main(program)
        return carried_out.log

    return loop.run_until_complete(run())


@pytest.mark.parametrize("has_ties", [False, True])
def test_random_programs_go_as_on_asyncios_own_loop(has_ties: bool) -> None:
    """Sleeps, timeouts, cancellations and callbacks of one moment keep their order, or defects would hide."""
    for seed in range(150):
        program = _program(seed, has_ties=has_ties)
        real = VirtualLoop()
        with running_loop(seed) as simulated:
            assert _log_of(simulated, program) == _log_of(real, program), f"seed {seed}"
        real.close()


def test_after_a_thaw_what_fell_due_comes_in_its_order() -> None:
    """A frozen process finds timers of several moments due at once; the earlier one is not always the first to tell."""
    seen: list[str] = []

    async def sleep_in_time() -> None:
        try:
            async with asyncio.timeout(0.04):
                await asyncio.sleep(0.02)
            seen.append("slept")
        except TimeoutError:
            seen.append("timed out")

    with running_loop(1) as loop:
        frozen = loop.cell("frozen")
        frozen.spawn(sleep_in_time())
        frozen.call_at(0.03, seen.append, "called")
        loop.world.call_at(0.01, frozen.freeze)
        loop.world.call_at(0.1, frozen.thaw)
        loop.run_until_complete(asyncio.sleep(1))
    assert seen == ["called", "timed out"]
