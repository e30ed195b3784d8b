"""``tally payments resolve`` before it asks any store."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.exit_codes import ExitCode
from tests.unit.ops.test_cli import run

KEY = "3f1e0000-0000-4000-8000-000000000000"
REFERENCE = ("--reference", "ch_x")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--not-charged", "--charged", *REFERENCE), "exclude each other"),
        (("--charged", "--not-charged", *REFERENCE), "exclude each other"),
        ((), "say --charged or --not-charged"),
        (("--charged",), "--charged needs the PSP's --reference"),
        (("--not-charged", *REFERENCE), "--not-charged goes without --reference"),
        (("--not-charged", "--amount", "3"), "--not-charged goes without --amount"),
    ],
)
def test_words_that_contradict_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    options: tuple[str, ...],
    told: str,
) -> None:
    """What can't be taken back is one clear word; the refusal names the option and the rule."""
    words = ("payments", "resolve", KEY, "--evidence", "as the dashboard says", *options)
    assert run(monkeypatch, tmp_path, *words) == ExitCode.USAGE
    assert told in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("options", [("--not-charged",), ("--charged", *REFERENCE)])
def test_one_clear_word_goes_on_to_the_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Each of the two words alone is enough, with the reference that a charge needs."""
    words = ("payments", "resolve", KEY, "--evidence", "as the dashboard says", *options)
    assert run(monkeypatch, tmp_path, *words) == ExitCode.NOT_RUNNING
