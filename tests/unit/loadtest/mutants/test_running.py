"""Trying mutants: a verdict is only what a run, and its control, have shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from loadtest.chaos.options import Options
from loadtest.mutants import __main__ as command
from loadtest.mutants.catalogue import MUTANTS
from loadtest.mutants.children import Scenario, Servers, Simulation
from loadtest.mutants.outcomes import Outcome, Run, Where
from loadtest.mutants.patching import Mutant
from loadtest.mutants.remembering import Memory, sources_digest
from loadtest.mutants.running import Trying, is_clean

KILLED = Scenario(mix="kill", cells=("kill/host/under_load",))


def a_mutant(name: str, *, is_simulated: bool = True, mix: str = "kill") -> Mutant:
    """A mutant that is never put in."""
    cells = KILLED.cells if mix == "kill" else ()
    return Mutant(
        name=name,
        defect="none",
        breaks=("I4",),
        mix=mix,
        cells=cells,
        is_simulated=is_simulated,
        put_in=lambda: None,
    )


def a_run(outcome: Outcome, where: Where, scenario: str, seed_count: int = 0) -> Run:
    seen = ("I4",) if outcome is Outcome.CAUGHT else ()
    return Run(outcome=outcome, where=where, scenario=scenario, seen_by=seen, seed_count=seed_count)


class Machines:
    """Both commands, of which a test says whom they catch, and whether they are clean without a defect."""

    def __init__(self) -> None:
        self.tried: list[tuple[str, str | None, object]] = []
        self.seeds = {"early": 3, "late": 90}
        self.on_servers = {"hidden"}
        self.unclean: set[str] = set()

    def simulate(self, name: str | None, seeds: int | None) -> Run:
        self.tried.append(("simulation", name, seeds))
        if name is None:
            outcome = Outcome.CAUGHT if "simulation" in self.unclean else Outcome.MISSED
            return a_run(outcome, Where.SIMULATION, f"seeds below {seeds}")
        if name not in self.seeds:
            return a_run(Outcome.MISSED, Where.SIMULATION, "seeds below 100", seed_count=100)
        seed = self.seeds[name]
        return a_run(Outcome.CAUGHT, Where.SIMULATION, f"seed {seed}", seed_count=seed + 1)

    def run_servers(self, scenario: Scenario, name: str | None) -> Run:
        self.tried.append(("servers", name, str(scenario)))
        is_shown = name in self.on_servers or (name is None and str(scenario) in self.unclean)
        outcome = Outcome.CAUGHT if is_shown else Outcome.MISSED
        return a_run(outcome, Where.SERVERS, str(scenario))

    def trying(self, directory: Path | None = None, sources: str = "s", **changed: Any) -> Trying:
        settings = {where: {"sources": sources} for where in Where}
        given: dict[str, Any] = {
            "simulate": self.simulate,
            "run_servers": self.run_servers,
            "settings": settings,
            "memory": Memory(directory),
            "has_controls": True,
            "tell": lambda _: None,
        }
        return Trying(**{**given, **changed})


MUTANTS_TRIED = [
    a_mutant("early"),
    a_mutant("hidden"),
    a_mutant("late"),
    a_mutant("of_sql", is_simulated=False, mix="none"),
]


def test_the_simulation_comes_first_and_servers_for_the_rest() -> None:
    """What the simulation shows is not tried again; each way has its control, once."""
    machines = Machines()
    machines.on_servers.add("of_sql")
    trial = machines.trying().run(MUTANTS_TRIED)
    assert machines.tried == [
        ("simulation", "early", None),
        ("simulation", "hidden", None),
        ("simulation", "late", None),
        # As many seeds as it took for the last of them.
        ("simulation", None, 91),
        ("servers", None, "kill/host/under_load"),
        ("servers", "hidden", "kill/host/under_load"),
        ("servers", None, "load alone"),
        ("servers", "of_sql", "load alone"),
    ]
    assert trial.is_passed
    assert trial.caught_count == len(MUTANTS_TRIED)
    assert [result.run.where for result in trial.results] == [
        Where.SIMULATION,
        Where.SERVERS,
        Where.SIMULATION,
        Where.SERVERS,
    ]
    assert all(map(is_clean, trial.controls))
    assert len(trial.controls) == 3


def test_a_control_that_shows_something_makes_its_verdicts_void() -> None:
    """A false alarm catches every mutant, so it proves nothing of any."""
    machines = Machines()
    machines.unclean.update({"simulation", "kill/host/under_load"})
    trial = machines.trying().run(MUTANTS_TRIED)
    outcomes = {result.mutant.name: result.run for result in trial.results}
    assert outcomes["early"].outcome is Outcome.VOID
    assert "kill/host/under_load is not clean" in outcomes["hidden"].reason
    assert outcomes["of_sql"].outcome is Outcome.MISSED
    assert not trial.is_passed
    # A mutant is not run where its control was not clean.
    assert ("servers", "hidden", "kill/host/under_load") not in machines.tried


def test_all_caught_does_not_pass_beside_an_unclean_control() -> None:
    """The control of the seeds is unclean; servers catch all the same; the trial has not passed."""
    machines = Machines()
    machines.unclean.add("simulation")
    machines.on_servers.add("early")
    trial = machines.trying().run([a_mutant("early")])
    assert trial.caught_count == 1
    assert not trial.is_passed


def test_a_mutant_that_nothing_shows_is_missed() -> None:
    """Neither a seed nor a fault on servers: the verdict says so."""
    trial = Machines().trying().run([a_mutant("equivalent")])
    assert [result.run.outcome for result in trial.results] == [Outcome.MISSED]
    assert not trial.is_passed


def test_what_was_shown_is_kept_and_the_rest_is_tried_again(tmp_path: Path) -> None:
    """By the same sources alone; a run that showed nothing is not kept."""
    machines = Machines()
    machines.trying(tmp_path).run(MUTANTS_TRIED)
    machines.tried.clear()
    again = machines.trying(tmp_path).run(MUTANTS_TRIED)
    assert machines.tried == [
        ("simulation", "hidden", None),
        ("servers", "of_sql", "load alone"),
    ]
    assert again.caught_count == 3
    machines.tried.clear()
    machines.trying(tmp_path, sources="others").run(MUTANTS_TRIED)
    assert ("simulation", "early", None) in machines.tried
    machines.tried.clear()
    unread = Memory(tmp_path, is_read=False)
    machines.trying(tmp_path, memory=unread).run(MUTANTS_TRIED)
    assert ("simulation", "early", None) in machines.tried


def test_a_change_of_sources_changes_their_digest(tmp_path: Path) -> None:
    """Of what a run executes, and of nothing else: the simulation has no servers, servers no simulation."""
    for name in ("payments/a.py", "storage/sql/b.sql", "tests/simulation/c.py", "ops/d.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text("one")
    before = {where: sources_digest(where, tmp_path) for where in Where}
    (tmp_path / "tests/simulation/c.py").write_text("two")
    assert sources_digest(Where.SERVERS, tmp_path) == before[Where.SERVERS]
    assert sources_digest(Where.SIMULATION, tmp_path) != before[Where.SIMULATION]
    (tmp_path / "tests/simulation/c.py").write_text("one")
    assert sources_digest(Where.SIMULATION, tmp_path) == before[Where.SIMULATION]
    (tmp_path / "storage/sql/b.sql").write_text("two")
    assert all(sources_digest(where, tmp_path) != before[where] for where in Where)


def test_one_way_alone() -> None:
    """Without servers a mutant of SQL is not tried, without the simulation all are tried on servers."""
    machines = Machines()
    trial = machines.trying(run_servers=None).run(MUTANTS_TRIED)
    assert {place for place, _, _ in machines.tried} == {"simulation"}
    assert trial.results[-1].run.reason == "it was not tried"
    machines.tried.clear()
    machines.trying(simulate=None, has_controls=False).run(MUTANTS_TRIED)
    assert sorted(str(name) for _, name, _ in machines.tried) == sorted(
        mutant.name for mutant in MUTANTS_TRIED
    )


def test_every_mutant_names_faults_that_there_are() -> None:
    """Its cells are of its mix, so that the run on servers is one that can be made."""
    for mutant in MUTANTS.values():
        cells = Options(mix=mutant.mix, patterns=mutant.cells).cells()
        assert bool(cells) == (mutant.mix != "none"), mutant.name
        assert len(cells) <= 4 or not mutant.cells, mutant.name


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Callable[[Outcome], None]:
    """Have both commands end as a test wants."""

    def end(outcome: Outcome) -> None:
        def simulated(_self: Simulation, name: str | None, seeds: int | None = None) -> Run:
            sought = outcome if name else Outcome.MISSED
            return a_run(sought, Where.SIMULATION, "seed 4", seed_count=seeds or 5)

        def served(_self: Servers, scenario: Scenario, name: str | None) -> Run:
            return a_run(outcome if name else Outcome.MISSED, Where.SERVERS, str(scenario))

        monkeypatch.setattr(Simulation, "__call__", simulated)
        monkeypatch.setattr(Servers, "__call__", served)

    return end


@pytest.mark.parametrize(
    ("outcome", "exit_code", "caught_count"),
    [(Outcome.CAUGHT, 0, 2), (Outcome.MISSED, 1, 0), (Outcome.VOID, 1, 0)],
)
def test_the_command_wants_all_to_be_caught(
    tmp_path: Path,
    commands: Callable[[Outcome], None],
    outcome: Outcome,
    exit_code: int,
    caught_count: int,
) -> None:
    """It prints each outcome and where, and ends with 1 unless every mutant was caught."""
    commands(outcome)
    names = ["ack_before_wait", "fence_skipped"]
    asked = ["run", *names, "--directory", str(tmp_path)]
    done = CliRunner().invoke(command.main, [*asked, "--mix", "all", "--json"])
    assert done.exit_code == exit_code, done.output
    document = json.loads(done.stdout)
    assert document["caught_count"] == caught_count
    assert document["tried_count"] == 2
    assert document["is_passed"] == (exit_code == 0)
    assert {row["scenario"] for row in document["mutants"]} == {"mix all"}
    table = CliRunner().invoke(command.main, asked).stdout
    assert f"{caught_count} of 2 caught" in table
    assert ("simulation: seed 4" in table) == (outcome is Outcome.CAUGHT)


def test_the_list_names_every_mutant() -> None:
    """As a table and as JSON, with what each breaks."""
    listed = json.loads(CliRunner().invoke(command.main, ["list", "--json"]).stdout)
    assert [row["name"] for row in listed["mutants"]] == list(MUTANTS)
    table = CliRunner().invoke(command.main, ["list"]).stdout
    assert all(name in table for name in MUTANTS)


def test_a_kept_run_is_the_run() -> None:
    """It comes back from its file as it was."""
    run = a_run(Outcome.CAUGHT, Where.SERVERS, "load alone")
    assert msgspec.json.decode(msgspec.json.encode(run), type=Run) == run
