"""Crash points: end or freeze the process exactly there, and only in sandboxes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.crash_points import POINTS, CrashPointError, CrashPoints

PROGRAM = """
import os
from runtime.crash_points import CrashPoints
points = CrashPoints.from_environment(os.environ, is_sandbox=True)
for n in range(1, 6):
    points.reach("before_psp_call")
    points.reach("after_removal")
    print(n, flush=True)
"""


def start(**variables: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **variables}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(("spec", "reached"), [("before_psp_call:3", 2), ("after_removal", 0)])
def test_the_process_is_killed_at_the_nth_reach(spec: str, reached: int) -> None:
    """It ends by SIGKILL at the named point and time: nothing after it runs, nothing cleans up."""
    with start(TALLY_CRASH_AT=spec) as process:
        output, _ = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL
    assert output.split() == [str(n + 1) for n in range(reached)]


def test_a_file_chooses_the_moment_and_is_used_once(tmp_path: Path) -> None:
    """Without its file a point does nothing; with it one process fires, and a second goes on."""
    file = tmp_path / "now"
    variables = {"TALLY_CRASH_AT": "before_psp_call:2", "TALLY_CRASH_FILE": str(file)}
    with start(**variables) as process:
        process.communicate(timeout=20)
    assert process.returncode == 0
    file.touch()
    with start(**variables) as process:
        output, _ = process.communicate(timeout=20)
    assert (process.returncode, output.split()) == (-signal.SIGKILL, ["1"])
    assert not file.exists()
    with start(**variables) as process:
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_the_process_is_frozen_and_goes_on_when_thawed() -> None:
    """SIGSTOP holds it at the point; after SIGCONT it carries on as if nothing were."""
    with start(TALLY_FREEZE_AT="before_psp_call:2") as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate(timeout=20)
    assert (process.returncode, output.split()) == (0, ["1", "2", "3", "4", "5"])


def test_an_order_chooses_point_and_moment(tmp_path: Path) -> None:
    """A file that comes later names the point; one process obeys it, and only at that point."""
    order = tmp_path / "order"
    with start(TALLY_CRASH_ORDER=str(order)) as process:
        process.communicate(timeout=20)
    assert process.returncode == 0
    order.write_text("kill after_removal\n")
    with start(TALLY_CRASH_ORDER=str(order)) as process:
        output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (-signal.SIGKILL, "")
    assert not order.exists()
    order.write_text("kill before_append")
    with start(TALLY_CRASH_ORDER=str(order)) as process:
        process.communicate(timeout=20)
    assert process.returncode == 0
    order.write_text("freeze before_psp_call")
    with start(TALLY_CRASH_ORDER=str(order)) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.mark.parametrize(
    "variable",
    ["TALLY_CRASH_AT", "TALLY_FREEZE_AT", "TALLY_CRASH_ORDER", "TALLY_CRASH_ON", "TALLY_RAISE_ON"],
)
def test_refused_outside_sandboxes(variable: str) -> None:
    """Where money is real nobody can arm one; an empty variable arms nothing."""
    with pytest.raises(CrashPointError, match=variable):
        CrashPoints.from_environment({variable: "before_append"}, is_sandbox=False)
    CrashPoints.from_environment({variable: ""}, is_sandbox=False).reach("before_append")


@pytest.mark.parametrize("spec", ["nowhere", "before_append:0", "before_append:x", ":1"])
def test_what_can_not_be_armed_is_refused(spec: str) -> None:
    """A misspelt point fails the start, so that no test passes because nothing happened."""
    with pytest.raises(CrashPointError, match="TALLY_CRASH_AT"):
        CrashPoints.from_environment({"TALLY_CRASH_AT": spec}, is_sandbox=True)


def test_with_nothing_armed_nothing_happens() -> None:
    """In production reaching a point does nothing."""
    points = CrashPoints.from_environment({}, is_sandbox=False)
    for point in POINTS:
        points.reach(point)
