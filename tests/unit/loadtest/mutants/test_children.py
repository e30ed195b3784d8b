"""The two commands that try a mutant: what they are asked, what they said, and that they end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from loadtest.mutants.children import Scenario, Servers, Simulation, has_simulation
from loadtest.mutants.outcomes import Outcome, Where

# Prints what it was called with, as a run does, and ends as the mutant's name says.
FAKE_CHAOS = """
import json, os, signal, sys, time
name = os.environ.get("TALLY_MUTANT", "")
if name == "frozen_answer_changes":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(60)
arguments = [os.environ["TALLY_TEST_STACK"], *sys.argv[1:]]
verdict = {"": "valid", "ack_before_wait": "violated"}.get(name, "unknown")
print("something else" if name == "fence_skipped" else json.dumps(
    {"verdict": verdict, "reasons": [" ".join(arguments)], "checker": {"I4": {"violated": 1}}}
))
sys.exit({"valid": 0, "violated": 1}.get(verdict, 3))
"""
FAKE_SIMULATION = """
import json, os, sys
arguments = sys.argv[1:]
assert "TALLY_MUTANT" not in os.environ
said = {
    "ack_before_wait": {"seeds": 9, "seed": 7, "violated": ["defect", "I13", "I1"], "what": "I1: it is lost"},
    "fence_skipped": {"seeds": 9, "seed": 2, "violated": ["defect"], "what": "defect: halted"},
    "versions_skipped": None,
}.get(arguments[arguments.index("--mutant") + 1] if "--mutant" in arguments else "",
      {"seeds": int(arguments[arguments.index("--seeds") + 1]), "seed": None})
print("no JSON" if said is None else json.dumps(said))
"""


def a_command(folder: Path, text: str) -> tuple[str, ...]:
    """A command that ends as a run may."""
    script = folder / "command.py"
    script.write_text(text)
    return sys.executable, str(script)


def test_a_run_on_servers_gets_the_defect_and_the_plan(tmp_path: Path) -> None:
    """Both variables, mix, cells, seed and minutes; a control has no defect, also where our own process has one."""
    servers = Servers(
        seed=5,
        minutes=0.5,
        environment={"TALLY_MUTANT": "versions_skipped"},
        command=a_command(tmp_path, FAKE_CHAOS),
    )
    scenario = Scenario(mix="kill", cells=("kill/host/*",))
    asked = "1 --mix kill --seed 5 --minutes 0.5 --cell kill/host/* --json"
    assert servers(scenario, None).outcome is Outcome.MISSED
    caught = servers(scenario, "ack_before_wait")
    assert caught.outcome is Outcome.CAUGHT
    assert caught.reason == asked
    assert (caught.where, caught.scenario) == (Where.SERVERS, "kill/host/*")
    assert caught.seen_by == ("I4",)
    assert servers(scenario, "fence_skipped").outcome is Outcome.VOID


def test_a_run_that_does_not_end_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told to end, so that it can end its servers, and shows nothing: also where a shell had it ignore SIGINT."""
    monkeypatch.setattr("loadtest.mutants.children.RUN_EXTRA_S", 0.2)
    command = a_command(tmp_path, FAKE_CHAOS)
    servers = Servers(seed=1, minutes=0.0, environment={}, command=command)
    stopped = servers(Scenario(mix="none"), "frozen_answer_changes")
    assert (stopped.outcome, stopped.reason) == (Outcome.VOID, "the run did not end")


@pytest.mark.parametrize(
    ("name", "outcome", "scenario", "seed_count"),
    [
        ("ack_before_wait", Outcome.CAUGHT, "seed 7", 8),
        # That a process stopped by itself is no checker's merit.
        ("fence_skipped", Outcome.VOID, "seed 2", 3),
        ("versions_skipped", Outcome.VOID, "seeds below 30", 0),
        ("second_body_wins", Outcome.MISSED, "seeds below 30", 30),
        (None, Outcome.MISSED, "seeds below 30", 30),
    ],
)
def test_what_the_simulation_says(
    tmp_path: Path, name: str | None, outcome: Outcome, scenario: str, seed_count: int
) -> None:
    """The seed that shows a mutant, and by which invariants; or that none does."""
    simulate = Simulation(
        seeds_max=30,
        environment={"TALLY_MUTANT": "versions_skipped"},
        command=a_command(tmp_path, FAKE_SIMULATION),
    )
    run = simulate(name)
    assert (run.outcome, run.scenario, run.seed_count) == (outcome, scenario, seed_count)
    assert run.seen_by == (("I1", "I13") if outcome is Outcome.CAUGHT else ())


def test_a_checkout_has_the_simulation() -> None:
    """Where it is not, as in an installed package, everything is tried on servers."""
    assert has_simulation()


def test_the_simulation_tells_what_was_asked() -> None:
    """The real one, with a defect that the first seed shows, and without one."""
    simulate = Simulation(seeds_max=2, environment={})
    caught = simulate("fingerprint_not_compared")
    assert caught.outcome is Outcome.CAUGHT, caught.reason
    assert "I13" in caught.seen_by
    assert simulate(None, 1).outcome is Outcome.MISSED
