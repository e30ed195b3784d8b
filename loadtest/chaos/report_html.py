"""The results as one page that needs nothing else: charts, style and data are in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from loadtest.bench.machine import revision_text
from loadtest.bench.report_html import asset, figure


def render_html(document: Mapping[str, Any]) -> str:
    """Return the page of a document of ``tally chaos``."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["figure"] = figure
    return environment.from_string(own_asset("report.html.j2")).render(
        report=document,
        machine=document["machine"],
        revision=revision_text(document["revision"]),
        skipped={name: cell for name, cell in document["coverage"].items() if not cell["hits"]},
        document_json=Markup(json.dumps(document).replace("<", "\\u003c")),  # noqa: S704  # and so no element
        css=Markup(asset("report.css")),  # noqa: S704  # our own files
        js=_within_script(asset("report.js") + own_asset("report.js")),
        uplot_css=Markup(asset("uPlot.min.css")),  # noqa: S704
        uplot_js=_within_script(asset("uPlot.iife.min.js")),
    )


def own_asset(name: str) -> str:
    """The text of a file below ``assets``."""
    return resources.files("loadtest.chaos").joinpath("assets", name).read_text(encoding="utf-8")


def _within_script(text: str) -> Markup:
    """Text for a script element: nothing in it may look like the element's end."""
    return Markup(text.replace("</", "<\\/"))  # noqa: S704
