"""Clocks of single processes that jump."""

from __future__ import annotations

from collections.abc import Mapping

from loadtest.chaos.failures import NotPossible
from loadtest.chaos.faults.port import Detail, Scene
from loadtest.chaos.faults.processes import living

_HOUR_NS = 3_600 * 1_000_000_000

OFFSETS_NS: Mapping[str, int] = {"hour_forward": _HOUR_NS, "hour_back": -_HOUR_NS}


class ClockStep:
    """The wall clock of one process jumps by an hour, and back when it heals."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._pid: int | None = None

    async def begin(self) -> Detail:
        scene = self._scene
        clocks = scene.stack.clocks
        if clocks is None:
            raise NotPossible(scene.stack.clocks_missing)
        record = scene.draw.choice(await living(scene))
        clocks.shift(record.pid, OFFSETS_NS[scene.cell.step])
        self._pid = record.pid
        return {"name": record.name, "pid": record.pid}

    async def heal(self) -> Detail:
        clocks = self._scene.stack.clocks
        if clocks is not None and self._pid is not None:
            clocks.right(self._pid)
        return {}
