"""The growth probe's results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadtest.bench.growth import FITTED_FROM_ORDERS
from loadtest.bench.machine import revision_text
from ops.output import Output

UNDER_THE_TABLES = (
    "Bytes/order are whole sizes over all orders. Others are what Postgres stores apart, and its maps of free and"
    " of visible rows."
)


def print_growth(document: Mapping[str, Any], output: Output) -> None:
    """Print memory by process, sizes of tables, and what had to hold."""
    growth = document["growth"]
    points = growth["points"]
    first, last = points[0], points[-1]
    output.table(
        "",
        ("process", "MB at the start", f"MB at {last['orders']:,}", "slope, bytes/order"),
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
    output.line(slopes_text(growth))
    output.line()
    output.table(
        "",
        ("table", "MB", "bytes/order", "indexes MB", "bytes/order", "others MB", "bytes/order"),
        [
            (
                table["name"],
                f"{table['table_bytes'] / 1e6:,.1f}",
                f"{table['table_bytes_per_order']:,.1f}",
                f"{table['index_bytes'] / 1e6:,.1f}",
                f"{table['index_bytes_per_order']:,.1f}",
                f"{table['other_bytes'] / 1e6:,.1f}",
                f"{table['other_bytes_per_order']:,.1f}",
            )
            for table in growth["tables"]
        ],
    )
    output.line(UNDER_THE_TABLES)
    output.line()
    for name, ceiling in document["ceilings"].items():
        met = "met" if ceiling["met"] else "NOT MET"
        seen = "-" if ceiling["seen"] is None else f"{ceiling['seen']:,}"
        output.line(f"{name}: {seen}, below {ceiling['ceiling']:,.0f}: {met}")
    for reason in document["void"]:
        output.line(f"void: {reason}", style="bold red")
    books = "green" if document["verify"]["ok"] else "RED"
    output.line(f"Books at the end: {books}. {document['seconds']:.0f} s in all.")
    output.line(
        f"Revision {revision_text(document['revision'])}, measured {document['measured_at']}."
    )


def slopes_text(growth: Mapping[str, Any]) -> str:
    """From where on slopes are fitted, and what they are worth."""
    fitted_from = growth["fitted_from_orders"]
    text = f"Slopes are least-squares lines from {fitted_from:,} orders on."
    if fitted_from < FITTED_FROM_ORDERS:
        text += f" Below {FITTED_FROM_ORDERS:,} caches still fill: they say little, and are held against nothing."
    return text


def _slope(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
