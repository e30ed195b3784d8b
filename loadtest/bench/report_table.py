"""The results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadtest.bench.machine import revision_text
from loadtest.bench.plan import SHORT_FORM
from ops.output import Output

UNDER_THE_TABLE = (
    "CPU, WAL and AOF are for each payment. CPU and PSS are sums over all processes, the",
    "generator's among them, and beside a baseline those of the stack at rest.",
    "Latencies of e2e and handwritten are to settlement, of noop and accept to the answer,",
    "of engine from intake to outcome, of copy of a batch of payments from BEGIN to COMMIT.",
)

GENERATOR_TOO_SLOW = "The generator can't send twice what noop answers: noop is faster than this."


def print_report(document: Mapping[str, Any], output: Output) -> None:
    """Print what the runs have shown."""
    runs = document["runs"]
    if document["options"]["is_short"]:
        output.line(SHORT_FORM)
        output.line()
    output.table(
        "",
        ("run", "rate/s", "p50 ms", "p99 ms", "CPU ms", "PSS MB", "WAL B", "AOF B", ""),
        [
            (
                name,
                _number(run["rate_per_s"]),
                _number(run["p50_ms"], 1),
                _number(run["p99_ms"], 1),
                _number(1_000 * sum(run["cpu_s_per_payment"].values()), 2),
                _number(sum(run["pss_peak_bytes"].values()) / 1e6),
                _number(run["wal_bytes_per_payment"]),
                _number(run["aof_bytes_per_payment"]),
                "void" if run["is_void"] else "",
            )
            for name, run in runs.items()
        ],
    )
    for line in UNDER_THE_TABLE:
        output.line(line)
    output.line()
    if document["ratios"]:
        floors = document["floors"]
        output.table(
            "",
            ("ratio", "of rates", "floor", "", "of payments a CPU second"),
            [
                (
                    name,
                    f"{seen:.2f}",
                    *_floor(floors.get(name)),
                    _number(document["cpu_ratios"].get(name), 2),
                )
                for name, seen in document["ratios"].items()
            ],
        )
        output.line()
    for name, floor in document["floors"].items():
        if name not in document["ratios"]:
            output.line(f"{name}: {floor['seen']:,.0f}, floor {floor['floor']:,.0f}: {_met(floor)}")
    generator = document["generator"]
    if generator["is_enough"] is False:
        output.line(GENERATOR_TOO_SLOW)
    for reason in document["void"]:
        output.line(f"void: {reason}", style="bold red")
    books = "green" if document["verify"]["ok"] else "RED"
    output.line(f"Books after each run: {books}. {document['seconds']:.0f} s in all.")
    output.line(
        f"Revision {revision_text(document['revision'])}, measured {document['measured_at']}."
    )


def _floor(floor: Mapping[str, Any] | None) -> tuple[str, str]:
    return ("", "") if floor is None else (f"{floor['floor']:.2f}", _met(floor))


def _met(floor: Mapping[str, Any]) -> str:
    return {True: "met", False: "NOT MET", None: "not judged"}[floor["met"]]


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
