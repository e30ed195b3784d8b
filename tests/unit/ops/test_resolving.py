"""``tally payments resolve`` before it asks any store."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from ops.exit_codes import ExitCode
from payments.identity import operation_id
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


@pytest.mark.parametrize("name", ["rf_b", "x", "3f1e", "rf_zz_bcdf"])
@pytest.mark.parametrize(
    "words", [("resolve", "--not-charged", "--evidence", "as it says"), ("unpark", "--reason", "x")]
)
def test_an_id_is_a_payments_or_an_operations(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    words: tuple[str, ...],
) -> None:
    """Anything else is refused before a store is asked; an operation's public id is taken."""
    verb, *options = words
    assert run(monkeypatch, tmp_path, "payments", verb, name, *options) == ExitCode.USAGE
    assert "ID is a UUID" in " ".join(capsys.readouterr().err.split())
    refund = operation_id("rf", 3, UUID(KEY))
    assert run(monkeypatch, tmp_path, "payments", verb, refund, *options) == ExitCode.NOT_RUNNING


@pytest.mark.parametrize("options", [("--not-charged",), ("--charged", *REFERENCE)])
def test_one_clear_word_goes_on_to_the_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Each of the two words alone is enough, with the reference that a charge needs."""
    words = ("payments", "resolve", KEY, "--evidence", "as the dashboard says", *options)
    assert run(monkeypatch, tmp_path, *words) == ExitCode.NOT_RUNNING
