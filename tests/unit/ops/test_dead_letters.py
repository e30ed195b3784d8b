"""``tally dead-letters`` before it asks any store."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ops import cli
from ops.exit_codes import ExitCode
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


@pytest.mark.parametrize("number", [1, 15, 16, 2**40])
def test_ids_say_their_number(number: int) -> None:
    """An id of letters alone leads back to its number; another spelling of it is none."""
    text = dead_letter_id(number)
    assert not any(character.isdigit() for character in text)
    assert parse_dead_letter_id(text) == number
    assert parse_dead_letter_id(text.replace("dl_", "dl_b")) is None
