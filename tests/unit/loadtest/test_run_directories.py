"""Records of two runs never share a directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from loadtest.chaos.__main__ import main as chaos
from loadtest.history.__main__ import main as history
from loadtest.history.directories import new_run_directory


def test_a_new_or_empty_directory_is_taken(tmp_path: Path) -> None:
    """What is missing is made, its parents too; what is empty is taken as it is."""
    wanted = tmp_path / "runs" / "one"
    assert new_run_directory(wanted) == wanted
    assert new_run_directory(wanted).is_dir()


@pytest.mark.parametrize("command", [chaos, history])
def test_a_directory_with_records_is_refused_before_anything_starts(
    command: object, tmp_path: Path
) -> None:
    """A run that was interrupted left records: read together with the next one's they tell violations."""
    (tmp_path / "history.jsonl").write_text("{}\n")
    arguments = ["--directory", str(tmp_path)]
    if command is history:
        arguments += ["--home", str(tmp_path)]
    done = CliRunner().invoke(command, arguments)  # type: ignore[arg-type]
    assert done.exit_code == 2
    assert "is not empty" in done.output
    assert [file.name for file in tmp_path.iterdir()] == ["history.jsonl"]
