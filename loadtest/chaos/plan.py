"""When which fault comes: drawn by one seed, every cell at least once, few at a time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loadtest.chaos.cells import Cell

# Load alone comes first, so that there is something to compare with.
WARM_UP_S = 6.0
# Between the end of one fault and the begin of the next: what recovers is seen recovering.
GAP_S = 1.5
OVERLAP_MAX = 2
# In mixes that may overlap, so many faults in a hundred begin while another lasts.
OVERLAPPING_PERCENT = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A cell with its place in the run. Times are seconds since the load began."""

    cell: Cell
    at_s: float
    may_overlap: bool
    """Whether it may begin while the one before it lasts."""
    seed: int
    """What the fault itself draws by: which process, how many milliseconds."""
    is_wanted: bool
    """Whether it belongs to the first round, in which every cell comes once."""


def plan(
    cells: Sequence[Cell],
    *,
    seed: int,
    seconds: float,
    overlap_max: int = OVERLAP_MAX,
    cell_count: int | None = None,
) -> list[Planned]:
    """Return the plan of a run: the same for the same seed.

    After the first round come further ones while there is time left; a first round that needs more
    than ``seconds`` gets it. ``cell_count`` draws so many cells instead of taking all.
    """
    draw = random.Random(f"chaos {seed}")  # noqa: S311  # a plan, not a secret
    wanted = list(cells)
    if cell_count is not None:
        wanted = draw.sample(wanted, min(cell_count, len(wanted)))
    planned: list[Planned] = []
    timeline = _Timeline(overlap_max)
    for round_no, cell in _rounds(wanted, draw):
        may_overlap = (
            overlap_max > 1 and bool(planned) and draw.randrange(100) < OVERLAPPING_PERCENT
        )
        share = draw.uniform(0.2, 0.8)
        at_s = timeline.place(cell, may_overlap=may_overlap, share=share)
        if round_no > 0 and at_s + cell.hold_s + GAP_S > seconds:
            break
        timeline.take(cell, at_s)
        planned.append(
            Planned(
                cell=cell,
                at_s=round(at_s, 3),
                may_overlap=may_overlap,
                seed=draw.getrandbits(32),
                is_wanted=round_no == 0,
            )
        )
    return planned


def _rounds(cells: list[Cell], draw: random.Random) -> Iterator[tuple[int, Cell]]:
    round_no = 0
    while cells:
        order = list(cells)
        draw.shuffle(order)
        for cell in order:
            yield round_no, cell
        round_no += 1


class _Timeline:
    """What lasts when, while the plan is made."""

    def __init__(self, overlap_max: int) -> None:
        self._overlap_max = overlap_max
        self._lasting: list[tuple[float, float, Cell]] = []

    def place(self, cell: Cell, *, may_overlap: bool, share: float) -> float:
        """The first moment at which the cell may begin."""
        if not self._lasting:
            return WARM_UP_S
        begin_s, end_s, _ = self._lasting[-1]
        if not may_overlap:
            return max(end for _, end, _ in self._lasting) + GAP_S
        at_s = begin_s + share * (end_s - begin_s)
        while True:
            active = [(end, other) for _, end, other in self._lasting if end + GAP_S > at_s]
            in_the_way = [end for end, other in active if not may_meet(cell, other)]
            if len(active) >= self._overlap_max:
                in_the_way.append(min(end for end, _ in active))
            if not in_the_way:
                return at_s
            at_s = max(in_the_way) + GAP_S + 1e-6

    def take(self, cell: Cell, at_s: float) -> None:
        self._lasting.append((at_s, at_s + cell.hold_s, cell))


def may_meet(one: Cell, other: Cell) -> bool:
    """Whether two faults may last at one time: never two on one store, nor twice the same target."""
    return one.touches.isdisjoint(other.touches) and one.target != other.target
