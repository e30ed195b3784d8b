"""Several runs joined, as tables: for a terminal, for a page of the documentation, and for one of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from loadtest.bench.report_html import asset
from loadtest.chaos.joining.joined import FIGURES
from loadtest.chaos.joining.picture import render_svg
from loadtest.chaos.judging import VALID
from loadtest.chaos.report_html import own_asset
from ops.output import Output


class Table(NamedTuple):
    """One table; every cell is text already."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


_RUN_COLUMNS = (
    "run",
    "seed",
    "minutes",
    "faults",
    "cells hit",
    "requests",
    "failed",
    "p99 ms",
    "unknown, resolved",
    "p50 s",
    "longest s",
    "unresolved",
    "verdict",
)
_FAULT_COLUMNS = (
    "fault",
    "count",
    "failed",
    "outage s",
    "nothing accepted s",
    "nothing settled s",
    "partitions unowned s",
    "recovery s",
    "p99 ms",
    "held p99 ms",
    "unknown",
)
_SINGLE_COLUMNS = ("fault", "seed", "figure", "seen s", "at most s", "")


def tables_of(document: Mapping[str, Any]) -> Iterator[Table]:
    """The tables of what ``joined`` returned; none without rows."""
    for table in (
        Table("Runs", _RUN_COLUMNS, [_run_row(run) for run in document["runs"]]),
        Table(
            "Faults of all mixes: median / worst",
            _FAULT_COLUMNS,
            [_fault_row(name, kind) for name, kind in document["by_fault"].items()],
        ),
        Table(
            "Single faults on a steady load, held against their goals",
            _SINGLE_COLUMNS,
            [row for single in document["singles"] for row in _single_rows(single)],
        ),
        Table("Cells that no run hit", ("cell",), [(name,) for name in document["cells_not_hit"]]),
    ):
        if table.rows:
            yield table


def summary_of(document: Mapping[str, Any]) -> str:
    """All runs in one line."""
    totals = document["totals"]
    # Single faults belong to no mix, and have goals in place of cells.
    cells = f" {totals['cells_hit']} of {totals['cells']} cells hit," if totals["cells"] else ""
    return (
        f"{totals['runs']} runs, {totals['faults']:,} faults,{cells} {totals['requests']:,} requests;"
        f" {totals['unknowns_resolved']:,} unknown outcomes resolved, the longest after"
        f" {_number(totals['unknown_s_max'], 1)} s, {totals['unknowns_unresolved']} not."
        f" Verdict: {totals['verdict']}."
    )


def source_of(document: Mapping[str, Any]) -> str:
    """Of what revision, when, and on which machine."""
    machine, (first, last) = document["machine"], document["measured_at"]
    changed = ", with local changes" if document["is_changed"] else ""
    return (
        f"Revision {', '.join(document['revisions'])}{changed}, measured {first} to {last} on"
        f" {machine['cores_usable']} cores of {machine['cpu_model']},"
        f" {machine['memory_bytes'] / 1e9:.0f} GB."
    )


def print_joined(document: Mapping[str, Any], output: Output) -> None:
    """Print it for people."""
    for table in tables_of(document):
        output.table(table.title, table.columns, table.rows)
        output.line()
    for run in document["runs"]:
        for reason in run["reasons"]:
            output.line(f"{run['name']}, seed {run['seed']}: {reason}", style="bold red")
    is_valid = document["totals"]["verdict"] == VALID
    output.line(summary_of(document), style="bold green" if is_valid else "bold red")
    output.line(source_of(document))


def render_markdown(document: Mapping[str, Any]) -> str:
    """The same as Markdown, for the documentation."""
    parts = [summary_of(document), ""]
    for table in tables_of(document):
        parts += [f"{table.title}:", "", _line(table.columns), _line(["---"] * len(table.columns))]
        parts += [_line(row) for row in table.rows]
        parts.append("")
    return "\n".join([*parts, source_of(document), ""])


def render_page(document: Mapping[str, Any]) -> str:
    """The same as a page that needs nothing else, with the picture in it."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.from_string(own_asset("joined.html.j2")).render(
        summary=summary_of(document),
        source=source_of(document),
        runs=document["runs"],
        tables=list(tables_of(document)),
        css=Markup(asset("report.css")),  # noqa: S704  # our own file
        svg=Markup(render_svg(document)),  # noqa: S704  # whose texts are escaped
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _run_row(run: Mapping[str, Any]) -> tuple[str, ...]:
    unknowns = run["unknowns"]
    return (
        f"single {run['name']}" if run["is_single"] else run["name"],
        str(run["seed"]),
        "–" if run["is_single"] else f"{run['minutes']:g}",
        str(run["faults"]),
        f"{run['cells_hit']} of {run['cells']}",
        f"{run['requests']:,}",
        f"{run['failed']:,}",
        _number(run["p99_ms"]),
        f"{unknowns['resolved']:,}",
        _number(unknowns["p50_s"], 1),
        _number(unknowns["max_s"], 1),
        str(unknowns["unresolved"]),
        run["verdict"],
    )


def _fault_row(name: str, kind: Mapping[str, Any]) -> tuple[str, ...]:
    figures = {
        figure: " / ".join(
            _number(kind[figure][word], 0 if figure.endswith("_ms") else 1)
            for word in ("median", "max")
        )
        for figure in FIGURES
    }
    if kind["unrecovered"]:
        figures["recovery_s"] += f" ({kind['unrecovered']} not before the next)"
    return (
        name,
        str(kind["count"]),
        f"{kind['failed']:,}",
        *(figures[figure] for figure in FIGURES),
        str(kind["unknown_peak"]),
    )


def _single_rows(single: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, goal in single["goals"].items():
        yield (
            f"kill {single['name']}",
            str(single["seed"]),
            name,
            _number(goal["seen_s"], 2),
            _number(goal["bound_s"], 1),
            "met" if goal["met"] else "not met",
        )


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"
