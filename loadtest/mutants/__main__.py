"""``python -m loadtest.mutants list`` and ``… run``: see docs/load-testing.md."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import msgspec

from loadtest.mutants.catalogue import MUTANTS
from loadtest.mutants.children import Servers, Simulation, has_simulation, scenario_of
from loadtest.mutants.outcomes import Run, Where
from loadtest.mutants.patching import Mutant
from loadtest.mutants.remembering import Memory, sources_digest
from loadtest.mutants.running import Trial, Trying, is_clean
from ops.number_options import IntegerRange
from ops.output import Output

EXIT_NOT_ALL_CAUGHT = 1
# As everywhere: 128 and the number of SIGINT.
EXIT_INTERRUPTED = 130

BOTH = "both"
SIMULATION = "simulation"
SERVERS = "servers"

# Half as many again as the slowest of those that the simulation shows has needed.
SEEDS_MAX = 400


@click.group()
def main() -> None:
    """Deliberate defects of the product, to test what checks it."""


@main.command("list")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def list_all(is_json: bool) -> None:
    """Show every mutant: what it does wrong, what it breaks, and under which faults it shows."""
    output = Output(os.environ)
    if is_json:
        output.json({"mutants": [_described(mutant) for mutant in MUTANTS.values()]})
        return
    rows = [
        (m.name, str(scenario_of(m)), ", ".join(m.breaks) or "-", m.defect)
        for m in MUTANTS.values()
    ]
    output.table(f"{len(rows)} mutants", ("name", "faults", "breaks", "defect"), rows)


@main.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(MUTANTS)), metavar="[NAME]…")
@click.option(
    "--on",
    type=click.Choice([BOTH, SIMULATION, SERVERS]),
    default=BOTH,
    show_default=True,
    help="Where; both: on servers only what the simulation does not show.",
)
@click.option("--seeds", type=IntegerRange(1, 100_000), default=SEEDS_MAX, show_default=True)
@click.option("--mix", help="On servers, under this whole mix, whatever the catalogue says.")
@click.option("--minutes", type=click.FloatRange(0.1, 600), default=0.2, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the runs on servers.")
@click.option(
    "--controls/--no-controls",
    default=True,
    show_default=True,
    help="Run everything without a defect, too: if that is not clean, nothing is shown.",
)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var/mutants"),
    show_default=True,
    help="Keeps what was shown: the same command goes on where it was interrupted.",
)
@click.option("--again", is_flag=True, help="Use nothing that was kept.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def run(
    names: Sequence[str],
    on: str,
    seeds: int,
    mix: str | None,
    minutes: float,
    seed: int,
    controls: bool,
    directory: Path,
    again: bool,
    is_json: bool,
) -> None:
    """Try each mutant; without names all. Exits with 1 unless all are caught and all controls clean."""
    output = Output(os.environ)
    chosen = [mutant for mutant in MUTANTS.values() if not names or mutant.name in names]
    if mix is not None:
        on, chosen = SERVERS, [replace(mutant, mix=mix, cells=()) for mutant in chosen]
    is_simulated = on != SERVERS and has_simulation()
    trying = Trying(
        simulate=Simulation(seeds_max=seeds, environment=os.environ) if is_simulated else None,
        run_servers=None
        if on == SIMULATION
        else Servers(seed=seed, minutes=minutes, environment=os.environ),
        settings={
            Where.SIMULATION: {"seeds": seeds, "sources": sources_digest(Where.SIMULATION)},
            Where.SERVERS: {
                "minutes": minutes,
                "seed": seed,
                "sources": sources_digest(Where.SERVERS),
            },
        },
        memory=Memory(directory, is_read=not again),
        has_controls=controls,
        tell=output.progress,
    )
    try:
        trial = trying.run(chosen)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    _show(output, trial, is_json=is_json)
    if not trial.is_passed:
        sys.exit(EXIT_NOT_ALL_CAUGHT)


def _show(output: Output, trial: Trial, *, is_json: bool) -> None:
    if is_json:
        output.json(_document(trial))
        return
    rows = [
        (
            result.mutant.name,
            result.run.outcome.value,
            ", ".join(result.run.seen_by) or "-",
            _place(result.run),
            f"{result.run.seconds:.0f}",
        )
        for result in trial.results
    ]
    rows += [
        (
            "(no defect)",
            "clean" if is_clean(each) else "not clean",
            "-",
            _place(each),
            f"{each.seconds:.0f}",
        )
        for each in trial.controls
    ]
    title = f"{trial.caught_count} of {len(trial.results)} caught"
    output.table(title, ("mutant", "outcome", "seen by", "where", "seconds"), rows)
    unsaid = [(result.mutant.name, result.run) for result in trial.results]
    unsaid += [("without a defect", control) for control in trial.controls]
    for name, each in unsaid:
        if each.reason and not each.seen_by:
            output.line(f"{name}: {each.reason}")


def _place(run: Run) -> str:
    return f"{run.where}: {run.scenario}"


def _document(trial: Trial) -> dict[str, object]:
    return {
        "caught_count": trial.caught_count,
        "tried_count": len(trial.results),
        "is_passed": trial.is_passed,
        "mutants": [
            {**_described(result.mutant), **msgspec.to_builtins(result.run)}
            for result in trial.results
        ],
        "controls": [
            {"is_clean": is_clean(control), **msgspec.to_builtins(control)}
            for control in trial.controls
        ],
    }


def _described(mutant: Mutant) -> dict[str, object]:
    return {
        "name": mutant.name,
        "defect": mutant.defect,
        "breaks": list(mutant.breaks),
        "mix": mutant.mix,
        "cells": list(mutant.cells),
        "is_simulated": mutant.is_simulated,
    }


if __name__ == "__main__":
    main()
