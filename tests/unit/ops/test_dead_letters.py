"""``tally dead-letters`` before it asks any store."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ops import cli
from ops.commands import dead_letters as commands
from ops.context import CommandContext
from ops.exit_codes import ExitCode
from ops.stack.state import Phase, StackState
from payments.identity import dead_letter_id, parse_dead_letter_id


def run(monkeypatch: pytest.MonkeyPatch, home: Path, *arguments: str) -> int:
    """Run `tally dead-letters` in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["tally", "--home", str(home), "dead-letters", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.FAILED
    return ExitCode.OK


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "5"),
        ("show", "dl_a"),
        ("show", dead_letter_id(5), "--raw"),
        ("replay", dead_letter_id(5)),
        ("replay", dead_letter_id(5), "--reason", "   "),
        ("discard", dead_letter_id(5), "--reason", "x" * 501),
        ("discard", dead_letter_id(5), "--reason", "a\x07b"),
        ("accept", "--partition", "3"),
        ("accept", "--partition", "3", "--for", "86400", "--reason", "r"),
        ("list", "--state", "lost"),
    ],
)
def test_what_can_not_be_done_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: tuple[str, ...],
) -> None:
    """No action without a reason that can be kept, no raw body without one, no id of another kind."""
    assert run(monkeypatch, tmp_path, *arguments) == ExitCode.USAGE
    assert capsys.readouterr().err


def test_an_id_of_another_kind_is_told_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Whoever mistypes an id is told which one, and where the right ones are."""
    assert run(monkeypatch, tmp_path, "show", "dl_x") == ExitCode.USAGE
    message = capsys.readouterr().err
    assert "dl_x" in message
    assert "dead-letters list" in message


@pytest.mark.parametrize(("partition", "is_there"), [("15", True), ("16", False), ("99", False)])
def test_only_partitions_that_are_there_accept(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    partition: str,
    *,
    is_there: bool,
) -> None:
    """A number beyond the deployment's is a usage error, and nothing is written."""
    written: list[object] = []
    state = StackState(
        phase=Phase.RUNNING,
        stack_id="s",
        daemon_pid=1,
        daemon_start_ticks=1,
        started_at="2026-01-01T00:00:00Z",
        partition_count=16,
    )
    monkeypatch.setattr(CommandContext, "running_state", lambda _context: state)
    monkeypatch.setattr(commands, "_run", lambda _context, write: written.append(write))
    code = run(monkeypatch, tmp_path, "accept", "--partition", partition, "--reason", "r")
    assert code == (ExitCode.OK if is_there else ExitCode.USAGE)
    assert len(written) == is_there
    assert ("0 to 15" in capsys.readouterr().err) is not is_there


@pytest.mark.parametrize("number", [1, 15, 16, 2**40])
def test_ids_say_their_number(number: int) -> None:
    """An id of letters alone leads back to its number; another spelling of it is none."""
    text = dead_letter_id(number)
    assert not any(character.isdigit() for character in text)
    assert parse_dead_letter_id(text) == number
    assert parse_dead_letter_id(text.replace("dl_", "dl_b")) is None
