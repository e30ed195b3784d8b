"""`tally chaos` as continuous integration runs it: a few faults, and everything that a run has to say."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_documentation import RUN_ELSEWHERE, script_of

CELL_COUNT = 3
COMMAND_TIMEOUT_S = 300.0


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run keeps its records."""
    return tmp_path_factory.mktemp("chaos")


@pytest.fixture(scope="module")
def document(directory: Path) -> dict[str, Any]:
    """The documentation's run of a few cells: a kill at a step, one at any moment, and one of a store."""
    program, *arguments = shlex.split(script_of(RUN_ELSEWHERE))
    assert program == ".venv/bin/tally"
    return run_of(*arguments, "--directory", str(directory), "--html", str(directory / "page.html"))


def run_of(*arguments: str) -> dict[str, Any]:
    """Return what a run of faults printed as JSON; it has to be valid."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ops.cli", *arguments, "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout[-2_000:]}"
    whole: dict[str, Any] = json.loads(done.stdout)
    return whole


def test_nothing_was_lost_and_all_was_looked_at(document: dict[str, Any]) -> None:
    """The verdict is valid only with books that were verified and payments that were read to their end."""
    assert document["verdict"] == "valid", document["reasons"]
    assert document["verify"]["ok"] is True
    assert document["load"]["sent"] > 300
    assert document["load"]["served"] > 0.5 * document["load"]["sent"]


def test_every_cell_is_accounted_for(document: dict[str, Any]) -> None:
    """Each was hit, or says why not; and each that was hit has its figures."""
    coverage = document["coverage"]
    assert len(coverage) == CELL_COUNT
    assert all(cell["hits"] or cell["reason"] for cell in coverage.values())
    hit = {name for name, cell in coverage.items() if cell["hits"]}
    assert hit == {fault["cell"] for fault in document["faults"]}
    assert len(hit) >= CELL_COUNT - 1
    for fault in document["faults"]:
        assert fault["end_s"] >= fault["begin_s"] > 0
        assert fault["detail"]["is_back"] is True, fault


def test_the_records_of_the_run_are_kept(directory: Path, document: dict[str, Any]) -> None:
    """Whoever checks it again finds what the load saw, what was done to the stack, and what was left."""
    run = json.loads((directory / "run.json").read_text())
    assert run["started_ns"] < run["healed_ns"] < run["quiesced_ns"] < run["ended_ns"]
    assert set(run["planned_cells"]) == set(document["coverage"])
    faults = [json.loads(line) for line in (directory / "faults.jsonl").read_text().splitlines()]
    begins = [fault for fault in faults if fault["phase"] == "begin"]
    assert len(begins) == document["chaos"]["fault_count"]
    assert all(run["started_ns"] < fault["at_ns"] < run["healed_ns"] for fault in begins)
    queue = json.loads((directory / "queue.json").read_text())
    assert [stream["message_count"] for stream in queue["streams"]] == [0] * 16
    assert json.loads((directory / "final.json").read_text())["is_complete"] is True
    assert (directory / "history.jsonl").stat().st_size > 0
    assert (directory / "logs" / "stack.log").exists()
    assert "Every fault" in (directory / "page.html").read_text()


def test_runs_that_were_kept_are_joined(directory: Path, document: dict[str, Any]) -> None:
    """`tally chaos report` finds the document in the run's directory, and draws what it says."""
    picture = directory / "faults.svg"
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "ops.cli", "chaos", "report", str(directory)),
            *("--svg", str(picture), "--json"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    totals = json.loads(done.stdout)["totals"]
    assert totals["faults"] == document["chaos"]["fault_count"]
    assert totals["verdict"] == "valid"
    assert picture.read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.campaign
def test_a_stop_heals_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """A run that is told to stop in the middle ends its stack and deletes its data before it goes."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "ops.cli", "chaos", "--mix", "freeze", "--minutes", "1"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as chaos:
        assert chaos.stderr is not None
        said = ""
        for line in chaos.stderr:
            said += line
            if "freeze/" in line:
                break
        time.sleep(1.0)
        chaos.terminate()
        said += chaos.stderr.read()
    assert chaos.returncode == 130, said
    assert "interrupted" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.campaign
def test_a_second_of_each_process_is_no_fault(tmp_path: Path) -> None:
    """Started once more under its own name, neither stack nor host nor gateway does harm."""
    options = ("--minutes", "0.1", "--rate", "20", "--directory", str(tmp_path))
    coverage = run_of("chaos", "--mix", "double_start", *options)["coverage"]
    assert len(coverage) == 3
    assert all(cell["hits"] for cell in coverage.values())
