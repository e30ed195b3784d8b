"""The results as one page that needs nothing else: charts, style and data are in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from loadtest.bench.machine import revision_text
from loadtest.bench.plan import SHORT_FORM
from loadtest.bench.report_growth import UNDER_THE_TABLES, slopes_text
from loadtest.bench.report_table import GENERATOR_TOO_SLOW, UNDER_THE_TABLE

_TITLES = {"runs": "benchmark", "growth": "growth"}


def render_html(document: Mapping[str, Any]) -> str:
    """Return the page of a document of ``tally bench`` or ``tally bench growth``."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["figure"] = figure
    return environment.from_string(asset("report.html.j2")).render(
        title=next(title for key, title in _TITLES.items() if key in document),
        report=document,
        machine=document["machine"],
        revision=revision_text(document["revision"]),
        short_form=SHORT_FORM if "runs" in document and document["options"]["is_short"] else None,
        bounds=list(_bounds(document)),
        notes=_notes(document),
        conditions=list(_conditions(document)),
        document_json=Markup(json.dumps(document).replace("<", "\\u003c")),  # noqa: S704  # and so no element,
        css=Markup(asset("report.css")),  # noqa: S704  # our own files
        js=_within_script(asset("report.js")),
        uplot_css=Markup(asset("uPlot.min.css")),  # noqa: S704
        uplot_js=_within_script(asset("uPlot.iife.min.js")),
    )


def asset(name: str) -> str:
    """The text of a file below ``assets``."""
    return resources.files("loadtest.bench").joinpath("assets", name).read_text(encoding="utf-8")


def figure(value: float | None, digits: int = 0) -> str:
    """A number with its thousands parted; a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def _within_script(text: str) -> Markup:
    """Text for a script element: nothing in it may look like the element's end."""
    return Markup(text.replace("</", "<\\/"))  # noqa: S704


def _bounds(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Floors and ceilings, as the cards on top show them."""
    for name, floor in document.get("floors", {}).items():
        digits = 0 if name.endswith("per_s") else 2
        yield (
            name,
            {
                "met": floor["met"],
                "seen_text": figure(floor["seen"], digits),
                "bound_text": f"at least {figure(floor['floor'], digits)}",
            },
        )
    for name, ceiling in document.get("ceilings", {}).items():
        is_size = name.endswith("_rest_bytes")
        unit, scale = ("MB", 1e6) if is_size else ("", 1.0)
        seen = ceiling["seen"]
        yield (
            name,
            {
                "met": ceiling["met"],
                "seen_text": f"{figure(None if seen is None else seen / scale, 1)} {unit}".rstrip(),
                "bound_text": f"below {figure(ceiling['ceiling'] / scale)} {unit}".rstrip(),
            },
        )


def _notes(document: Mapping[str, Any]) -> dict[str, str]:
    """What is said of the figures, in the words of the terminal's tables."""
    notes = {
        "figures": " ".join(UNDER_THE_TABLE),
        "generator": GENERATOR_TOO_SLOW,
        "tables": UNDER_THE_TABLES,
    }
    if "growth" in document:
        notes["slopes"] = slopes_text(document["growth"])
    return notes


def _conditions(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for section in ("options", "generator", "machine"):
        for name, value in document.get(section, {}).items():
            yield f"{section}: {name}", json.dumps(value)
    for server, settings in document["durability"].items():
        yield f"durability: {server}", json.dumps(settings)
