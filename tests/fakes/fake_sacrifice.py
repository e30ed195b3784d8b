"""A child process in name only: which jobs it would die of, the test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actors.sacrificing import Job


class FakeSacrifice:
    """Implements ``actors.sacrificing.Sacrifice``."""

    def __init__(self, is_deadly: Callable[[Job], bool]) -> None:
        self._is_deadly = is_deadly
        self.jobs: list[Job] = []

    async def survivors(self, jobs: Sequence[Job]) -> Sequence[bool]:
        self.jobs.extend(jobs)
        return [not self._is_deadly(job) for job in jobs]
