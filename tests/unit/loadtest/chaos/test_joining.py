"""Several runs joined into one table and one picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from loadtest.chaos.failures import ChaosFailed
from loadtest.chaos.joining.__main__ import main
from loadtest.chaos.joining.joined import joined
from loadtest.chaos.joining.picture import render_svg
from loadtest.chaos.joining.report import render_markdown, render_page
from loadtest.chaos.judging import UNKNOWN, VALID, VIOLATED

SVG = "{http://www.w3.org/2000/svg}"


def fault(cell: str, seconds: float, *, recovery_s: float | None = 1.0) -> dict[str, Any]:
    """One fault's figures: every time in it as long as that."""
    return {
        "cell": cell,
        "failed": 3,
        "outage_s": seconds,
        "accept_gap_s": seconds,
        "settle_gap_s": seconds,
        "unowned_s": seconds,
        "recovery_s": recovery_s,
        "p99_ms": seconds * 1_000,
        "held_p99_ms": 3_000.0,
        "unknown_peak": 2,
    }


def run(
    mix: str,
    faults: list[dict[str, Any]],
    *,
    single: str | None = None,
    verdict: str = VALID,
    **more: Any,
) -> dict[str, Any]:
    """The document of one run, as far as it is joined."""
    cells = {one["cell"]: {"hits": 1, "reason": ""} for one in faults}
    return {
        "chaos": {
            "mix": None if single else mix,
            "single": single,
            "fault_count": len(faults),
            "cell_count": len(cells),
            "hit_count": len(cells),
        },
        "seed": 4,
        "verdict": verdict,
        "reasons": [] if verdict == VALID else ["I1: an order is <lost>"],
        "faults": faults,
        "coverage": cells,
        "load": {"sent": 100, "failed": 3, "p99_ms": 40.0},
        "unknowns": {"resolved": 5, "unresolved": 0, "p50_s": 0.6, "max_s": 2.5},
        "quiet_after_s": 9.0,
        "options": {"minutes": 3.0},
        "machine": {"cpu_model": "A <model>", "cores_usable": 2, "memory_bytes": 24e9},
        "revision": {"commit": "abcdef0123456789", "is_changed": False},
        "measured_at": "2024-05-06T07:08:09+00:00",
        **more,
    }


KILLS = run("kill", [fault("kill/host/under_load", 2.0), fault("kill/host/flush_begun", 8.0)])
EDGES = run("network", [fault("network/host->redis/stall", 4.0, recovery_s=None)])
SINGLE = run(
    "",
    [fault("kill/host/under_load", 3.0)],
    single="host",
    goals={"unowned_s": {"seen_s": 1.25, "bound_s": 3.0, "met": True}},
)


def test_a_kind_of_fault_has_its_median_and_its_worst_of_all_runs() -> None:
    """Nobody has to look for the worst in a dozen documents, and one outlier is seen to be one."""
    again = run("all", [fault("kill/host/under_load", 3.0)])
    kind = joined([KILLS, EDGES, again])["by_fault"]["kill/host"]
    assert (kind["count"], kind["failed"]) == (3, 9)
    assert kind["settle_gap_s"] == {"median": 3.0, "max": 8.0}


def test_what_no_run_hit_is_named() -> None:
    """A cell counts as hit if one run hit it, and is missing if none did."""
    missed = {"hits": 0, "reason": "takes root"}
    cells = {"kill/host/under_load": missed, "disk_full/redis_primary/under_load": missed}
    document = joined([KILLS, run("all", [], coverage=cells)])
    assert document["cells_not_hit"] == ["disk_full/redis_primary/under_load"]
    assert (document["totals"]["cells"], document["totals"]["cells_hit"]) == (3, 2)


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        ((VALID, VALID), VALID),
        ((UNKNOWN, VALID), UNKNOWN),
        ((VIOLATED, UNKNOWN, VALID), VIOLATED),
    ],
)
def test_the_worst_verdict_is_that_of_all(verdicts: tuple[str, ...], whole: str) -> None:
    """One run that is not valid is not outvoted by the others."""
    runs = [run("kill", [fault("kill/host/under_load", 1.0)], verdict=one) for one in verdicts]
    assert joined(runs)["totals"]["verdict"] == whole


def test_single_faults_stand_apart_from_the_mixes() -> None:
    """Their load is another one: what they show is held against goals, not mixed into medians."""
    document = joined([EDGES, SINGLE])
    assert "kill/host" not in document["by_fault"]
    assert document["totals"]["faults"] == 2
    assert "| kill host | 4 | unowned_s | 1.25 | 3.0 | met |" in render_markdown(document)


def test_a_fault_without_recovery_is_told() -> None:
    """What had not recovered when the next fault began is counted, not left out silently."""
    document = joined([KILLS, EDGES])
    assert "– / – (1 not before the next)" in render_markdown(document)


def test_the_picture_has_a_row_for_each_kind_and_a_bar_for_each_figure() -> None:
    """It is well-formed, names every kind, and its bars are as long as their values."""
    root = ElementTree.fromstring(render_svg(joined([KILLS, EDGES])))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"kill", "host", "network", "host → redis"} <= set(texts)
    assert any("A <model>" in (text or "") for text in texts)
    _legend, *worst = [
        float(bar.attrib["width"])
        for bar in root.iter(f"{SVG}rect")
        if bar.attrib["class"] == "worst"
    ]
    # Two rows of five figures, but for the recovery that never came.
    assert len(worst) == 9
    # Outages of 8 s and of 4 s, on one scale.
    assert worst[0] == pytest.approx(2 * worst[1], abs=0.2)


def test_the_page_shows_reasons_as_text_and_loads_nothing() -> None:
    """Whatever a run said is shown, not run; and the picture is in it."""
    page = render_page(joined([run("kill", KILLS["faults"], verdict=VIOLATED)]))
    assert "I1: an order is &lt;lost&gt;" in page
    assert "<svg" in page
    assert "src=" not in page


def test_files_and_directories_are_joined(tmp_path: Path) -> None:
    """Both what `--json` printed and what a run kept are read; one invalid run fails the command."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "document.json").write_text(json.dumps(KILLS))
    printed = tmp_path / "printed.json"
    printed.write_text(json.dumps(EDGES))
    svg = tmp_path / "faults.svg"
    done = CliRunner().invoke(main, [str(kept), str(printed), "--svg", str(svg)])
    assert done.exit_code == 0, done.output
    assert svg.read_text().startswith("<svg")
    printed.write_text(json.dumps({**EDGES, "verdict": UNKNOWN}))
    assert CliRunner().invoke(main, [str(kept), str(printed)]).exit_code == 1


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    """A file of something else is named, not joined."""
    other = tmp_path / "other.json"
    other.write_text("[]")
    assert CliRunner().invoke(main, [str(other)]).exit_code == 3


def test_a_directory_without_a_run_is_told_as_such(tmp_path: Path) -> None:
    """No number of the operating system's: what is missing, and where."""
    done = CliRunner().invoke(main, [str(tmp_path)])
    assert done.exit_code == 3
    assert "holds no run" in done.output
    assert "Errno" not in done.output
    with pytest.raises(ChaosFailed, match="no document"):
        joined([{"runs": []}])
