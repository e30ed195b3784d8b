"""The files of a run directory: what happened to the stack, beside what the load saw."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import msgspec

from loadtest.chaos.cells import Cell

RUN_FILE = "run.json"
FAULTS_FILE = "faults.jsonl"
QUEUE_FILE = "queue.json"
DOCUMENT_FILE = "document.json"

BEGIN = "begin"
END = "end"
SKIPPED = "skipped"


class FaultLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the faults. Times are nanoseconds of CLOCK_MONOTONIC."""

    at_ns: int
    cell: str
    phase: str
    number: int
    """Of this fault in the run: its begin and its end share it."""
    detail: Mapping[str, Any] = {}
    reason: str = ""
    """Why it was skipped."""
    is_lasting: bool = False
    """Of a skipped one: whether it can't be made on this stack or machine at all."""
    partition_index: int | None = None
    """Of poison: into whose stream it was written, and under which id."""
    stream_id: str | None = None


class FaultLog:
    """Writes each line at once: a run that is interrupted has left what it did."""

    def __init__(self, directory: Path) -> None:
        self._file: TextIO = (directory / FAULTS_FILE).open("w", encoding="utf-8")
        self.lines: list[FaultLine] = []

    def note(self, line: FaultLine) -> None:
        """Keep and write one line."""
        self.lines.append(line)
        self._file.write(msgspec.json.encode(line).decode() + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class CellCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one cell of the plan."""

    hits: int
    """How often it was made."""
    reason: str = ""
    """Of one that was never made: why."""


def coverage(cells: list[Cell], lines: list[FaultLine]) -> dict[str, CellCoverage]:
    """Return every planned cell with its hits, in the order of the cells."""
    hits = Counter(line.cell for line in lines if line.phase == BEGIN)
    reasons = {line.cell: line.reason for line in lines if line.phase == SKIPPED}
    return {
        cell.name: CellCoverage(
            hits=hits[cell.name],
            reason="" if hits[cell.name] else reasons.get(cell.name, "its turn did not come"),
        )
        for cell in cells
    }


def unmade(cells: list[Cell], lines: list[FaultLine]) -> list[str]:
    """The planned cells that were never made, though this stack and machine allow them."""
    excused = {line.cell for line in lines if line.phase == BEGIN or line.is_lasting}
    return [cell.name for cell in cells if cell.name not in excused]


def write_json(path: Path, document: object) -> None:
    """Write one file, readable by people."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")


def unix_less_monotonic_ns(unix_ns: int) -> int:
    """What added to a time of the run gives nanoseconds since 1970; ``unix_ns`` is now."""
    return unix_ns - time.monotonic_ns()
