"""The growth probe's results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadtest.bench.machine import revision_text
from ops.output import Output


def print_growth(document: Mapping[str, Any], output: Output) -> None:
    """Print memory by process, sizes of tables, and what had to hold."""
    growth = document["growth"]
    points = growth["points"]
    first, last = points[0], points[-1]
    output.table(
        "",
        ("process", "MB at the start", f"MB at {last['orders']:,}", "bytes an order"),
        [
            (
                name,
                f"{size / 1e6:,.1f}",
                f"{last['pss_bytes'].get(name, 0) / 1e6:,.1f}",
                _slope(growth["slope_bytes_per_order"].get(name)),
            )
            for name, size in first["pss_bytes"].items()
        ],
    )
    output.line(f"Slopes are fitted from {growth['fitted_from_orders']:,} orders on.")
    output.line()
    output.table(
        "",
        ("table", "MB", "bytes an order", "indexes MB", "bytes an order"),
        [
            (
                table["name"],
                f"{table['table_bytes'] / 1e6:,.1f}",
                f"{table['table_bytes_per_order']:,.1f}",
                f"{table['index_bytes'] / 1e6:,.1f}",
                f"{table['index_bytes_per_order']:,.1f}",
            )
            for table in growth["tables"]
        ],
    )
    output.line()
    for name, ceiling in document["ceilings"].items():
        met = "met" if ceiling["met"] else "NOT MET"
        seen = "-" if ceiling["seen"] is None else f"{ceiling['seen']:,}"
        output.line(f"{name}: {seen}, at most {ceiling['ceiling']:,}: {met}")
    for reason in document["void"]:
        output.line(f"void: {reason}", style="bold red")
    output.line(
        f"Revision {revision_text(document['revision'])}, measured {document['measured_at']}."
    )


def _slope(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
