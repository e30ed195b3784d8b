"""Checking: every invariant over one run's records, and the verdict."""

from __future__ import annotations

from pathlib import Path

from loadtest.checker.coverage import coverage_of, missed_cells
from loadtest.checker.findings import Findings
from loadtest.checker.invariants import INVARIANTS, Invariant
from loadtest.checker.joined import Joined
from loadtest.checker.loading import load_records
from loadtest.checker.records import Records
from loadtest.checker.report import CounterExample, InvariantResult, Report, Verdict
from loadtest.checker.timeline import timeline_around


def check_records(records: Records) -> Report:
    """Return what the records show. Pure: no file, no clock, and the records stay as they are."""
    joined = Joined(records)
    results = tuple(_result(invariant, joined) for invariant in INVARIANTS)
    verdict, reasons = _verdict(records, results)
    return Report(
        verdict=verdict,
        reasons=reasons,
        invariants=results,
        coverage=coverage_of(records),
        counts={
            "operations": len(joined.ops),
            "keys": len(joined.posts),
            "orders": len(records.orders),
            "outcomes": len(records.outcomes),
            "transfers": len(records.transfers),
            "charges": len(records.charges),
            "snapshots": len(records.snapshots),
            "faults": sum(row.begun for row in coverage_of(records)),
        },
    )


def check(directory: Path) -> Report:
    """Return what a run directory's files show. What is missing makes the verdict unknown."""
    return check_records(load_records(directory))


def _result(invariant: Invariant, joined: Joined) -> InvariantResult:
    not_shown = joined.records.not_shown.get(invariant.number, invariant.not_yet)
    if invariant.check is None or not_shown:
        return InvariantResult(invariant=invariant.number, title=invariant.title, not_yet=not_shown)
    unread = sorted(invariant.needs & joined.records.unread_inputs)
    if unread:
        return InvariantResult(
            invariant=invariant.number,
            title=invariant.title,
            unknown=f"{' and '.join(unread)} could not be read",
        )
    found = Findings()
    invariant.check(joined, found)
    first = None
    if found.violated:
        first = CounterExample(what=found.what, timeline=timeline_around(joined, found.subject))
    unknown = found.unknown
    if not found.checked and not unknown and not invariant.may_be_empty:
        unknown = "there was nothing to look at"
    return InvariantResult(
        invariant=invariant.number,
        title=invariant.title,
        checked=found.checked,
        violated=found.violated,
        first=first,
        unknown=unknown,
    )


def _verdict(
    records: Records, results: tuple[InvariantResult, ...]
) -> tuple[Verdict, tuple[str, ...]]:
    """A violation that was found stands, whatever else could not be read."""
    violated = [
        f"{result.invariant}: {result.first.what}" for result in results if result.first is not None
    ]
    missing = [f"can't be read: {what}" for what in records.unreadable]
    if not records.is_final_complete:
        missing.append(f"final reads are not complete: {len(records.unread)} keys are unread")
    missing += [f"{result.invariant}: {result.unknown}" for result in results if result.unknown]
    missing += [f"cell {cell} was planned and not met" for cell in missed_cells(records)]
    if violated:
        return Verdict.VIOLATED, (*violated, *missing)
    if missing:
        return Verdict.UNKNOWN, tuple(missing)
    return Verdict.VALID, ()
