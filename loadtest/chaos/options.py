"""What one run of faults is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from loadtest.chaos.cells import ALL, RAY, UNDER_LOAD, Cell, FaultKind, cells_of
from loadtest.chaos.plan import OVERLAP_MAX, Planned, plan

# Requests a second: what two cores carry beside everything else that runs here, with room to recover.
RATE_PER_S = 60.0

# A single fault comes when the load is steady, and is watched for longer than its goals.
SINGLE_AT_S = 10.0
SINGLE_SECONDS = 40.0

SINGLES: Mapping[str, str] = {
    "host": "host",
    "redis": "redis_primary",
    "postgres": "postgres_primary",
    "gcs": "gcs",
}
"""Word of the command line -> whose process is killed."""

# Kinds that take a whole store's ways or disks away one after another, and have many cells.
_OVERLAPPING = frozenset({ALL, "network"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One run."""

    mix: str = ALL
    single: str | None = None
    """One fault on a steady load, in place of a mix."""
    seed: int = 1
    minutes: float = 1.0
    patterns: tuple[str, ...] = ()
    """Only cells of the mix whose names match one of these, as file names do; none: all."""
    cell_count: int | None = None
    """So many cells of the mix, drawn by the seed; None for all."""
    rate_per_s: float = RATE_PER_S
    gateways: int = 2
    hosts: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the stack's processes get beside what they need, such as a mutant."""
    has_webhooks: bool = False
    """Storefronts have webhook endpoints, and what these get is recorded."""
    directory: Path | None = None
    """Where the run's records are kept; None deletes those of a run without violation."""

    @property
    def seconds(self) -> float:
        return SINGLE_SECONDS if self.single else 60.0 * self.minutes

    @property
    def is_ray_used(self) -> bool:
        return self.mix == RAY or self.single == "gcs"

    def cells(self) -> list[Cell]:
        """Every cell that this run is to hit."""
        if self.single:
            return [_single_cell(self.single)]
        planned = self.planned()
        wanted = {item.cell.name for item in planned if item.is_wanted}
        return [cell for cell in self._mixed() if cell.name in wanted]

    def planned(self) -> list[Planned]:
        """The plan."""
        if self.single:
            cell = _single_cell(self.single)
            return [
                Planned(
                    cell=cell, at_s=SINGLE_AT_S, may_overlap=False, seed=self.seed, is_wanted=True
                )
            ]
        return plan(
            self._mixed(),
            seed=self.seed,
            seconds=self.seconds,
            overlap_max=OVERLAP_MAX if self.mix in _OVERLAPPING else 1,
            cell_count=self.cell_count,
        )

    def _mixed(self) -> list[Cell]:
        cells = cells_of(self.mix)
        if not self.patterns:
            return cells
        return [
            cell
            for cell in cells
            if any(fnmatchcase(cell.name, pattern) for pattern in self.patterns)
        ]

    def has(self, fault: FaultKind) -> bool:
        """Whether there is such a fault in the run: some need a stack that is prepared for them."""
        return any(cell.fault is fault for cell in self.cells())


def _single_cell(single: str) -> Cell:
    return Cell(fault=FaultKind.KILL, target=SINGLES[single], step=UNDER_LOAD, hold_s=5.0)
