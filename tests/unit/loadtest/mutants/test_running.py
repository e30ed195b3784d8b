"""Trying mutants: a verdict is only what a run, and its control, have shown."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadtest.mutants import __main__ as command
from loadtest.mutants.catalogue import MUTANTS
from loadtest.mutants.patching import Mutant
from loadtest.mutants.running import (
    ChaosCommand,
    ChaosRun,
    Outcome,
    judged,
    seen_by,
    try_mutants,
)

VALID = ChaosRun(0, {"verdict": "valid"})
VIOLATED = ChaosRun(
    1,
    {
        "verdict": "violated",
        "reasons": ["I4: two charges of one key"],
        "checker": {
            "invariants": [
                {"invariant": "I4", "checked": 7, "violated": 1},
                {"invariant": "I5", "checked": 7, "violated": 0},
            ]
        },
    },
)

# Prints what it was called with, as a run does, and ends as the mutant's name says.
FAKE_CHAOS = """
import json, os, sys, time
name = os.environ.get("TALLY_MUTANT", "")
if name == "frozen_answer_changes":
    time.sleep(60)
arguments = [os.environ["TALLY_TEST_STACK"], *sys.argv[1:]]
verdict = {"": "valid", "ack_before_wait": "violated"}.get(name, "unknown")
print("something else" if name == "fence_skipped" else json.dumps(
    {"verdict": verdict, "reasons": [" ".join(arguments)]}
))
sys.exit({"valid": 0, "violated": 1}.get(verdict, 3))
"""


def a_mutant(name: str = "a", mix: str = "kill") -> Mutant:
    """A mutant that is never put in."""
    return Mutant(name=name, defect="none", breaks=("I4",), mix=mix, put_in=lambda: None)


def test_a_violation_catches_a_mutant() -> None:
    """With the invariants that were violated, not those that were only checked."""
    result = judged(a_mutant(), VIOLATED)
    assert result.outcome is Outcome.CAUGHT
    assert result.seen_by == ("I4",)
    assert result.reason == "I4: two charges of one key"


@pytest.mark.parametrize(
    ("run", "outcome"),
    [
        (VALID, Outcome.MISSED),
        (ChaosRun(3, {"verdict": "unknown", "reasons": ["not quiet"]}), Outcome.VOID),
        (ChaosRun(1, None), Outcome.VOID),
        (ChaosRun(1, {"verdict": "unknown"}), Outcome.VOID),
        (ChaosRun(2, {"verdict": "violated"}), Outcome.VOID),
        (ChaosRun(-9, None), Outcome.VOID),
        (ChaosRun(None, None), Outcome.VOID),
    ],
)
def test_only_a_violation_catches(run: ChaosRun, outcome: Outcome) -> None:
    """Neither an unknown verdict nor a run that failed for another reason shows anything."""
    assert judged(a_mutant(), run).outcome is outcome


def test_invariants_are_found_where_a_document_has_them() -> None:
    """By a member's name, by where they stand, in a reason's text; and the books' own verification."""
    document = {
        "reasons": ["I28 a 202 without a copy", "III is no number, and I29 none of ours"],
        "verify": {"ok": False, "checks": [{"name": "chain", "violations": 1}]},
        "checker": {"I1": {"violated": 2}, "I2": {"violated": 0}, "rest": [{"I9": "I9"}]},
        "table": [{"name": "I13", "violations": ["one"]}, {"name": "I14", "violations": []}],
    }
    assert seen_by(document) == ("I1", "I13", "I28", "verify")
    assert seen_by({}) == seen_by({"verify": {"ok": False, "error": "not read"}}) == ()


def test_each_mix_is_tried_without_a_defect_first() -> None:
    """Once a mix; a mutant whose control is not valid is void, and not run."""
    tried: list[tuple[str, str | None]] = []

    def run(mix: str, name: str | None) -> ChaosRun:
        tried.append((mix, name))
        if name is not None:
            return VIOLATED
        return VALID if mix == "kill" else ChaosRun(3, {"reasons": ["not quiet"]})

    mutants = [a_mutant("a"), a_mutant("b"), a_mutant("c", mix="psp")]
    results = list(try_mutants(mutants, run, has_controls=True))
    assert tried == [("kill", None), ("kill", "a"), ("kill", "b"), ("psp", None)]
    assert [result.outcome for result in results] == ["caught", "caught", "void"]
    assert "not quiet" in results[2].reason
    tried.clear()
    assert len(list(try_mutants(mutants, run, has_controls=False))) == len(tried) == 3


@pytest.fixture
def fake_chaos(tmp_path: Path) -> tuple[str, ...]:
    """A command that ends as a run of chaos may."""
    script = tmp_path / "chaos.py"
    script.write_text(FAKE_CHAOS)
    return sys.executable, str(script)


def test_a_child_gets_the_defect_and_the_plan(fake_chaos: tuple[str, ...]) -> None:
    """Both variables, mix, seed and minutes; a control has no defect, also where our own process has one."""
    environment = {"TALLY_MUTANT": "versions_skipped"}
    chaos = ChaosCommand(seed=5, minutes=0.5, environment=environment, command=fake_chaos)
    asked = "1 --mix kill --seed 5 --minutes 0.5 --json"
    assert chaos("kill", None) == ChaosRun(0, {"verdict": "valid", "reasons": [asked]})
    caught = chaos("kill", "ack_before_wait")
    assert caught == ChaosRun(1, {"verdict": "violated", "reasons": [asked]})
    assert chaos("kill", "fence_skipped") == ChaosRun(3, None)


def test_a_run_that_does_not_end_is_stopped(
    fake_chaos: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is interrupted, so that it can end its servers, and shows nothing."""
    monkeypatch.setattr("loadtest.mutants.running.RUN_EXTRA_S", 0.2)
    chaos = ChaosCommand(seed=1, minutes=0.0, environment={}, command=fake_chaos)
    assert chaos("kill", "frozen_answer_changes") == ChaosRun(None, None)


@pytest.mark.parametrize(
    ("run", "exit_code", "caught_count"),
    [(VIOLATED, 0, 2), (VALID, 1, 0), (ChaosRun(3, None), 1, 0)],
)
def test_the_command_wants_all_to_be_caught(
    monkeypatch: pytest.MonkeyPatch, run: ChaosRun, exit_code: int, caught_count: int
) -> None:
    """It prints each outcome and ends with 1 unless every mutant was caught."""
    monkeypatch.setattr(ChaosCommand, "__call__", lambda _self, _mix, name: run if name else VALID)
    names = ["ack_before_wait", "fence_skipped"]
    done = CliRunner().invoke(command.main, ["run", *names, "--mix", "all", "--json"])
    assert done.exit_code == exit_code, done.output
    document = json.loads(done.stdout)
    assert document["caught_count"] == caught_count
    assert document["tried_count"] == 2
    assert {row["mix"] for row in document["mutants"]} == {"all"}
    table = CliRunner().invoke(command.main, ["run", *names])
    assert f"{caught_count} of 2 caught" in table.stdout


def test_the_list_names_every_mutant() -> None:
    """As a table and as JSON, with what each breaks."""
    listed = json.loads(CliRunner().invoke(command.main, ["list", "--json"]).stdout)
    assert [row["name"] for row in listed["mutants"]] == list(MUTANTS)
    table = CliRunner().invoke(command.main, ["list"]).stdout
    assert all(name in table for name in MUTANTS)
