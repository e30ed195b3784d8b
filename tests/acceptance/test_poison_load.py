"""``python -m loadtest.poison --short`` on a stack of its own."""

from __future__ import annotations

import json
import subprocess
import sys

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
