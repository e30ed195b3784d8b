"""A PSP in our own process that leaves the simulator's own log behind: the oracle of what it charged."""

from __future__ import annotations

from pathlib import Path

from psp.in_process import InProcessPsp
from psp.simulator.log import LOG_VERSION, DurableLog
from psp.simulator.records import OpenRecord
from runtime.clock import Clock


def logged_psp(*, name: str, seed: int, directory: Path, clock: Clock) -> InProcessPsp:
    """Return one that charges as the simulator with this name and seed would, into its log. Close it in the end.

    A simulator that is started on the directory afterwards shows all that was charged here. Raises
    LogUnusable, also while a simulator has the log.
    """
    return InProcessPsp(
        name=name,
        account="default",
        seed=seed,
        clock=clock,
        journal=lambda state: DurableLog.opened(
            directory, OpenRecord(v=LOG_VERSION, name=name, seed=seed), on_durable=state.apply
        ),
    )
