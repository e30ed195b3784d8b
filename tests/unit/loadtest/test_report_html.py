"""The page with charts: whole in itself, and made of files that are what they were."""

from __future__ import annotations

import hashlib
import json
import re
from importlib import resources
from typing import Any

import pytest

from loadtest.bench.figures import cpu_ratios, floors, ratios, summary
from loadtest.bench.plan import SHORT_FORM
from loadtest.bench.report_html import asset, render_html
from loadtest.bench.report_table import print_report
from ops.output import Output
from tests.unit.loadtest.test_figures import figures, strict


def document(**changes: object) -> dict[str, Any]:
    runs = {"noop": summary([figures(1_000.0)]), "accept": summary([figures(500.0)])}
    return {
        "runs": runs,
        "ratios": ratios(runs),
        "cpu_ratios": cpu_ratios(runs),
        "floors": floors(runs, ratios(runs), is_judged=True),
        "verify": {"ok": True},
        "void": [],
        "durability": strict(),
        "generator": {"is_enough": True},
        "machine": {
            "cpu_model": "A </script><b>model",
            "cores_usable": 2,
            "memory_bytes": 24e9,
            "load_average_before": [0.1, 0.1, 0.1],
        },
        "revision": {"commit": "abcdef0123456789", "is_changed": False},
        "measured_at": "2024-05-06T07:08:09+00:00",
        "seed": 1,
        "options": {"repeat": 1, "is_short": False},
        "seconds": 3.0,
        **changes,
    }


def test_the_page_needs_nothing_else() -> None:
    """It can be mailed and opened years later: it loads nothing from anywhere."""
    page = render_html(document())
    assert not re.search(r"""(src|href)\s*=|@import|url\(|fetch\(|XMLHttpRequest""", page)
    assert asset("uPlot.iife.min.js")[:60] in page


def test_data_can_not_break_out_of_the_page() -> None:
    """Whatever a machine calls itself, it is shown, not run; and the charts read the same data."""
    page = render_html(document())
    assert "<b>model" not in page
    (data,) = re.findall(r'<script id="document" type="application/json">(.*?)</script>', page)
    assert json.loads(data) == json.loads(json.dumps(document()))


def test_what_does_not_count_is_said_first() -> None:
    """A void run's reason stands above its figures."""
    page = render_html(document(void=["accept: redis_primary: appendfsync is everysec"]))
    assert page.index("appendfsync is everysec") < page.index("Payments a second")
    assert "strict</div>" not in page


def short_document() -> dict[str, Any]:
    runs = {"noop": summary([figures(1_000.0)]), "accept": summary([figures(1.0)])}
    return document(
        runs=runs,
        ratios=ratios(runs),
        cpu_ratios=cpu_ratios(runs),
        floors=floors(runs, ratios(runs), is_judged=False),
        options={"repeat": 1, "is_short": True},
    )


def test_the_short_form_is_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    """Page and table of a short run say that it compares nothing, and no floor of it is missed."""
    page = render_html(short_document())
    assert page.index(SHORT_FORM) < page.index("Payments a second")
    assert "not judged" in page
    assert 'class="bad"' not in page
    print_report(short_document(), Output({}))
    table = capsys.readouterr().out
    assert SHORT_FORM in table
    assert "not judged" in table
    assert "NOT MET" not in table


def test_a_run_in_full_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --short a floor is met or not, in page and table, and nothing is said of a short form."""
    page = render_html(document())
    assert ": met</div>" in page
    print_report(document(), Output({}))
    assert SHORT_FORM not in page + capsys.readouterr().out


def test_when_and_of_what_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Page and table name the commit, whether files differed from it, and the time of measuring."""
    changed = document(revision={"commit": "abcdef0123456789", "is_changed": True})
    print_report(changed, Output({}))
    for text in (render_html(changed), capsys.readouterr().out):
        assert "Revision abcdef012345, with local changes" in text
        assert "2024-05-06T07:08:09+00:00" in text
    assert "with local changes" not in render_html(document())


def test_vendored_files_are_unchanged() -> None:
    """What was copied in is byte for byte what its manifest says, and nothing is without one."""
    assets = resources.files("loadtest.bench").joinpath("assets")
    digests = json.loads(asset("manifest.json"))["sha256"]
    for name, digest in digests.items():
        assert hashlib.sha256(assets.joinpath(name).read_bytes()).hexdigest() == digest
    foreign = {entry.name for entry in assets.iterdir() if entry.name.startswith("uPlot")}
    assert foreign == set(digests)
