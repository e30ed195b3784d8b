"""The report, as JSON and for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from loadtest.checker.report import CounterExample, InvariantResult, Report

_TITLE_WIDTH = 46


def report_document(report: Report) -> dict[str, Any]:
    """Return the report as plain JSON values."""
    return {
        "verdict": report.verdict.value,
        "reasons": list(report.reasons),
        "counts": dict(report.counts),
        "invariants": [_invariant(result) for result in report.invariants],
        "coverage": [cell._asdict() for cell in report.coverage],
    }


def _invariant(result: InvariantResult) -> dict[str, Any]:
    return {
        "invariant": result.invariant,
        "title": result.title,
        "state": state_of(result),
        "checked": result.checked,
        "violated": result.violated,
        "why": result.not_yet or result.unknown,
        "first": None if result.first is None else _example(result.first),
    }


def _example(example: CounterExample) -> dict[str, Any]:
    return {
        "what": example.what,
        "timeline": [line._asdict() for line in example.timeline],
    }


def state_of(result: InvariantResult) -> str:
    """Return ``held``, ``violated``, ``unknown``, ``not met`` (nothing of the kind) or ``not yet``."""
    if result.not_yet:
        return "not yet"
    if result.violated:
        return "violated"
    if result.unknown:
        return "unknown"
    return "held" if result.checked else "not met"


def report_lines(report: Report) -> Iterator[str]:
    """Yield the report as lines of text: the table, counter-examples, coverage, the verdict."""
    counts = ", ".join(f"{count} {name}" for name, count in report.counts.items())
    yield counts
    yield ""
    yield f"{'':4} {'':{_TITLE_WIDTH}} {'state':9} {'checked':>10} {'violated':>9}"
    for result in report.invariants:
        line = (
            f"{result.invariant:4} {result.title:{_TITLE_WIDTH}} {state_of(result):9}"
            f" {result.checked:>10} {result.violated:>9}"
        )
        why = result.not_yet or result.unknown
        yield f"{line}  {why}".rstrip()
    for result in report.invariants:
        if result.first is not None:
            yield ""
            yield f"{result.invariant}: {result.first.what}"
            yield from _timeline(result.first)
    if report.coverage:
        yield ""
        yield f"{'cell':60} {'begun':>6} {'ended':>6} {'skipped':>8}"
        for cell in report.coverage:
            yield (
                f"{cell.cell:60} {cell.begun:>6} {cell.ended:>6} {cell.skipped:>8}  {cell.reason}"
            ).rstrip()
    yield ""
    for reason in report.reasons:
        yield f"  {reason}"
    yield f"verdict: {report.verdict}"


def _timeline(example: CounterExample) -> Iterator[str]:
    for line in example.timeline:
        at = "" if line.at_ms is None else f"{line.at_ms:.1f} ms"
        yield f"  {at:>14}  {line.source:8} {line.text}"
