"""``python -m loadtest.poison --short`` on a stack of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.campaign
def test_the_short_form_finds_one_letter_of_each_kind() -> None:
    """Hosts that die, a handler that raises, bytes that nobody reads: one letter each, no order lost."""
    finished = subprocess.run(
        [sys.executable, "-m", "loadtest.poison", "--short", "--json", "--rate", "150"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-3000:]
    result = json.loads(finished.stdout)
    assert result["problems"] == []
    assert [run["dead_letters"] for run in result["runs"]] == [
        [],
        ["payload_malformed"],
        ["handler_defect"],
        ["kills_host"],
    ]
    assert all(run["lost"] == run["charged_wrongly"] == 0 for run in result["runs"])


@pytest.mark.campaign
def test_a_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    """Told to stop in the middle of a load, it says so, ends its stack and deletes its data."""
    with subprocess.Popen(
        [sys.executable, "-m", "loadtest.poison", "--orders", "10000"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as measure:
        assert measure.stderr is not None
        for line in measure.stderr:
            if "have an owner" in line:
                break
        # By then its loop has taken the signals over, and the first load is being posted.
        with pytest.raises(subprocess.TimeoutExpired):
            measure.wait(timeout=3)
        measure.terminate()
        said = measure.stderr.read()
    assert measure.returncode == 130, said
    assert "interrupted" in said
    assert list(tmp_path.iterdir()) == []
