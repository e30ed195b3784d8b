"""Coverage: which cells of the plan a run has met. A fault that was never made proves nothing."""

from __future__ import annotations

from collections import Counter

from loadtest.checker.records import FaultPhase, Records
from loadtest.checker.report import CellCount


def coverage_of(records: Records) -> tuple[CellCount, ...]:
    """Return a line for each cell planned or met, by name."""
    counts = Counter((fault.cell, fault.phase) for fault in records.faults)
    reasons = {
        fault.cell: fault.reason for fault in records.faults if fault.phase is FaultPhase.SKIPPED
    }
    cells = sorted({*records.run.planned_cells, *(fault.cell for fault in records.faults)})
    return tuple(
        CellCount(
            cell=cell,
            begun=counts[cell, FaultPhase.BEGIN],
            ended=counts[cell, FaultPhase.END],
            skipped=counts[cell, FaultPhase.SKIPPED],
            reason=reasons.get(cell, ""),
        )
        for cell in cells
    )


def missed_cells(records: Records) -> tuple[str, ...]:
    """Return the cells that were planned, and neither begun nor skipped for a stated reason."""
    return tuple(
        row.cell
        for row in coverage_of(records)
        if row.cell in records.run.planned_cells and not row.begun and not row.reason
    )
