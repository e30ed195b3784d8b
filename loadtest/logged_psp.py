"""A PSP in our own process that leaves the simulator's own log behind: the oracle of what it charged."""

from __future__ import annotations

from pathlib import Path

from psp.in_process import InProcessPsp
from psp.simulator.log import LOG_VERSION, DurableLog
from psp.simulator.records import OpenRecord, Record
from runtime.clock import Clock


class LoggedPsp(InProcessPsp):
    """Charges as the simulator with this name and seed would, into its log. Close it in the end.

    A simulator that is started on the directory afterwards shows all that was charged here.
    """

    def __init__(self, *, name: str, seed: int, directory: Path, clock: Clock) -> None:
        """Raises LogUnusable, also while a simulator has the log."""
        super().__init__(name=name, account="default", seed=seed, clock=clock)
        self._log = DurableLog.opened(
            directory,
            OpenRecord(v=LOG_VERSION, name=name, seed=seed),
            on_durable=self._state.apply,
        )

    async def close(self) -> None:
        await self._log.close()

    async def _append(self, record: Record) -> None:
        await self._log.append(record)
