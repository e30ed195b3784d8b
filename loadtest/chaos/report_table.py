"""The results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loadtest.bench.machine import revision_text
from loadtest.chaos.judging import VALID, VIOLATED
from ops.output import Output

_COLUMNS = (
    "fault",
    "count",
    "failed",
    "outage s",
    "accept gap s",
    "recovery s",
    "p99 ms",
    "held p99 ms",
    "settle gap s",
    "unowned s",
    "unknown",
)


def print_report(document: Mapping[str, Any], output: Output) -> None:
    """Print what the faults did, what was covered, and the verdict."""
    output.table("", _COLUMNS, [_row(name, kind) for name, kind in document["by_kind"].items()])
    if document["by_kind"]:
        output.line(
            "The worst of each. Recovery: until 95 % of what was served before is served again."
        )
        output.line()
    for name, goal in document.get("goals", {}).items():
        met = "met" if goal["met"] else "NOT MET"
        output.line(f"{name}: {_number(goal['seen_s'], 2)}, at most {goal['bound_s']:.1f}: {met}")
    skipped = [
        (name, cell["reason"]) for name, cell in document["coverage"].items() if not cell["hits"]
    ]
    output.table("", ("cell that was not hit", "why"), skipped) if skipped else None
    chaos, load = document["chaos"], document["load"]
    output.line(
        f"Cells hit: {chaos['hit_count']} of {chaos['cell_count']}; faults made: {chaos['fault_count']}."
    )
    output.line(
        f"Requests: {load['sent']}, {load['failed']} of them failed;"
        f" p50 {_number(load['p50_ms'], 1)} ms, p99 {_number(load['p99_ms'], 1)} ms."
    )
    unknowns = document["unknowns"]
    output.line(
        f"Unknown outcomes: {unknowns['resolved']} resolved"
        f" (p50 {_number(unknowns['p50_s'], 1)} s, longest {_number(unknowns['max_s'], 1)} s),"
        f" {unknowns['unresolved']} not."
    )
    if document["checker"] is not None:
        _print_invariants(document["checker"]["invariants"], output)
    for reason in document["reasons"]:
        output.line(reason, style="bold red" if document["verdict"] == VIOLATED else "bold yellow")
    output.line(
        f"Verdict: {document['verdict']}. {document['seconds']:.0f} s in all.",
        style="bold green" if document["verdict"] == VALID else "bold red",
    )
    if document["directory"] is not None:
        output.line(f"Records of the run: {document['directory']}")
    output.line(
        f"Revision {revision_text(document['revision'])}, measured {document['measured_at']},"
        f" seed {document['seed']}."
    )


def _print_invariants(invariants: Sequence[Mapping[str, Any]], output: Output) -> None:
    output.line()
    output.table(
        "",
        ("", "invariant", "state", "checked", "violated", ""),
        [
            (
                one["invariant"],
                one["title"],
                one["state"],
                one["checked"],
                one["violated"],
                one["why"],
            )
            for one in invariants
        ],
    )
    for one in invariants:
        if one["first"] is not None:
            output.line(f"{one['invariant']}: {one['first']['what']}", style="bold red")
            for entry in one["first"]["timeline"]:
                at = "" if entry["at_ms"] is None else f"{entry['at_ms'] / 1_000:10.3f} s"
                output.line(f"  {at:>12}  {entry['source']}: {entry['text']}")
    output.line()


def _row(name: str, kind: Mapping[str, Any]) -> tuple[object, ...]:
    recovery = _number(kind["recovery_s_max"], 1)
    if kind["unrecovered"]:
        recovery += f" ({kind['unrecovered']} not before the next)"
    return (
        name,
        kind["count"],
        kind["failed"],
        _number(kind["outage_s_max"], 1),
        _number(kind["accept_gap_s_max"], 1),
        recovery,
        _number(kind["p99_ms_max"]),
        _number(kind["held_p99_ms_max"]),
        _number(kind["settle_gap_s_max"], 1),
        _number(kind["unowned_s_max"], 1),
        kind["unknown_peak"],
    )


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
