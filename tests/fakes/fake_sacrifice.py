"""A child process in name only: which jobs it would die of, the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from actors.sacrificing import Job


class FakeSacrifice:
    """Implements ``actors.sacrificing.Sacrifice``."""

    def __init__(self, is_deadly: Callable[[Job], bool], *, start_s: float = 0.0) -> None:
        """A child takes ``start_s`` to start, at first and after each death."""
        self._is_deadly = is_deadly
        self._start_s = start_s
        self._is_started = False
        self.jobs: list[Job] = []

    async def survivors(self, jobs: Sequence[Job]) -> Sequence[bool]:
        self.jobs.extend(jobs)
        survived = [not self._is_deadly(job) for job in jobs]
        if jobs and not self._is_started:
            await asyncio.sleep(self._start_s)
        self._is_started = all(survived)
        return survived
