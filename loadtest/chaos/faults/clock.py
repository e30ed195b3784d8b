"""Clocks of single processes that jump."""

from __future__ import annotations

from loadtest.chaos.failures import NotPossible
from loadtest.chaos.faults.port import Detail, Scene


class ClockStep:
    """The wall clock of one process, an hour off."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    async def begin(self) -> Detail:
        raise NotPossible(
            "the wall clock of one process can't be stepped here: libfaketime is not installed, and"
            " a time namespace shifts monotonic clocks alone"
        )

    async def heal(self) -> Detail:
        return {}
