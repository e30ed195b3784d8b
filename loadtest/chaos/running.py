"""Carrying a plan out: each fault in its turn, few at a time, and everything healed at the end."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from loadtest.chaos.cells import Cell, FaultKind
from loadtest.chaos.failures import NotNow, NotPossible
from loadtest.chaos.faults.making import make_fault
from loadtest.chaos.faults.port import Fault, Scene
from loadtest.chaos.plan import GAP_S, OVERLAP_MAX, Planned, may_meet
from loadtest.chaos.recording import BEGIN, END, SKIPPED, FaultLine, FaultLog
from loadtest.chaos.stack import ChaosStack
from ops.local.faults import LocalFault
from ops.local.resp import RespError

# A moment at which a fault can't be made is rare; a third one in a row is no moment.
AGAIN_MAX = 3
# A store's copy is built again within seconds on books of a few minutes.
WHOLE_TIMEOUT_S = 60.0

# How a fault that can't be made shows beside NotPossible: a server or a tool that is away right now.
_AWAY = (LocalFault, RespError, OSError)


class Runner:
    """Runs one plan on one stack."""

    def __init__(
        self,
        stack: ChaosStack,
        log: FaultLog,
        progress: Callable[[str], None],
        make: Callable[[Scene], Fault] = make_fault,
    ) -> None:
        self._stack = stack
        self._make = make
        self._log = log
        self._progress = progress
        self._began_s = time.monotonic()
        self._active: dict[asyncio.Task[None], Cell] = {}
        self._last_end_s = 0.0
        self._number = 0
        self._again: list[Planned] = []

    async def run(self, planned: Sequence[Planned], seconds: float) -> None:
        """Make every fault of the first round, and later rounds' while the time lasts.

        Ends with nothing active. Raises ChaosFailed when the stack's daemon is gone.
        """
        self._began_s = time.monotonic()
        try:
            await self._all(planned, seconds)
            for _ in range(AGAIN_MAX):
                await self._wait_active(0)
                again, self._again = self._again, []
                # What could not be made in its turn gets another, alone.
                await self._all([_alone(item) for item in again], float("inf"))
            await self._wait_active(0)
        finally:
            for task in self._active:
                task.cancel()
            await asyncio.gather(*self._active, return_exceptions=True)

    async def _all(self, planned: Sequence[Planned], seconds: float) -> None:
        for item in planned:
            await asyncio.sleep(max(0.0, item.at_s - self._now_s()))
            await self._wait_turn(item)
            if not item.is_wanted and self._now_s() + item.cell.hold_s > seconds:
                break
            task = asyncio.create_task(self._one(item))
            self._active[task] = item.cell

    def _now_s(self) -> float:
        return time.monotonic() - self._began_s

    async def _wait_turn(self, item: Planned) -> None:
        if not item.may_overlap:
            await self._wait_active(0)
            await asyncio.sleep(max(0.0, self._last_end_s + GAP_S - self._now_s()))
            return
        while len(self._active) >= OVERLAP_MAX or any(
            not may_meet(item.cell, other) for other in self._active.values()
        ):
            await self._wait_active(len(self._active) - 1)

    async def _wait_active(self, count: int) -> None:
        """Wait until no more faults than that are active; a failed one is raised."""
        while len(self._active) > count:
            done, _ = await asyncio.wait(self._active, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                del self._active[task]
                self._last_end_s = self._now_s()
                task.result()

    async def _one(self, item: Planned) -> None:
        self._number += 1
        number, cell = self._number, item.cell
        draw = random.Random(item.seed)  # noqa: S311  # which process, how many milliseconds
        fault = self._make(Scene(cell=cell, stack=self._stack, draw=draw))
        self._progress(f"{number:4}  {cell.name}")
        began_ns = time.monotonic_ns()
        try:
            for store in sorted(cell.touches):
                await self._stack.wait_whole(store, WHOLE_TIMEOUT_S)
            began_ns = time.monotonic_ns()
            detail = dict(await fault.begin())
        except (NotPossible, *_AWAY) as reason:
            await self._skip(item, number, fault, reason)
            return
        except BaseException:
            await self._heal(fault)
            raise
        # Of one that waits for its moment, the moment; of a message, where it is.
        began_ns = detail.pop("at_ns", began_ns)
        place = (detail.pop("partition_index", None), detail.pop("stream_id", None))
        self._note(began_ns, cell, BEGIN, number, detail=detail, place=place)
        try:
            # What is dead is dead at once; its coming back is what is waited for.
            await asyncio.sleep(0.0 if cell.fault is FaultKind.KILL else cell.hold_s)
        finally:
            healed = await self._heal(fault)
            self._note(time.monotonic_ns(), cell, END, number, detail=healed)

    async def _skip(self, item: Planned, number: int, fault: Fault, reason: Exception) -> None:
        await self._heal(fault)
        self._progress(f"{number:4}  {item.cell.name}: skipped, {reason}")
        is_lasting = isinstance(reason, NotPossible) and not isinstance(reason, NotNow)
        self._log.note(
            FaultLine(
                at_ns=time.monotonic_ns(),
                cell=item.cell.name,
                phase=SKIPPED,
                number=number,
                reason=str(reason),
                is_lasting=is_lasting,
            )
        )
        if item.is_wanted and not is_lasting:
            self._again.append(item)

    async def _heal(self, fault: Fault) -> dict[str, object]:
        """Heal whatever happens; what went wrong meanwhile is part of the record."""
        try:
            return dict(await fault.heal())
        except (NotPossible, *_AWAY) as reason:
            return {"heal_failed": str(reason)}

    def _note(
        self,
        at_ns: int,
        cell: Cell,
        phase: str,
        number: int,
        *,
        detail: dict[str, object],
        place: tuple[int | None, str | None] = (None, None),
    ) -> None:
        self._log.note(
            FaultLine(
                at_ns=at_ns,
                cell=cell.name,
                phase=phase,
                number=number,
                detail=detail,
                partition_index=place[0],
                stream_id=place[1],
            )
        )


def _alone(item: Planned) -> Planned:
    return replace(item, at_s=0.0, may_overlap=False, seed=item.seed + 1)
