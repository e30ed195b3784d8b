"""``python -m loadtest.mutants list`` and ``… run``: see docs/load-testing.md."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace

import click

from loadtest.mutants.catalogue import MUTANTS
from loadtest.mutants.patching import Mutant
from loadtest.mutants.running import ChaosCommand, Outcome, Result, try_mutants
from ops.output import Output

EXIT_NOT_ALL_CAUGHT = 1
# As everywhere: 128 and the number of SIGINT.
EXIT_INTERRUPTED = 130


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
    rows = [(m.name, m.mix, ", ".join(m.breaks) or "-", m.defect) for m in MUTANTS.values()]
    output.table(f"{len(rows)} mutants", ("name", "mix", "breaks", "defect"), rows)


@main.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(MUTANTS)), metavar="[NAME]…")
@click.option("--mix", help="Run under this mix, whatever the catalogue says.")
@click.option("--minutes", type=click.FloatRange(0.1, 600), default=1.0, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--controls/--no-controls",
    default=True,
    show_default=True,
    help="Run each mix once without a defect first: if that is not valid, nothing is shown.",
)
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def run(
    names: Sequence[str], mix: str | None, minutes: float, seed: int, controls: bool, is_json: bool
) -> None:
    """Run ``tally chaos`` with each mutant; without names with all. Exits with 1 unless all are caught."""
    output = Output(os.environ)
    chosen = [MUTANTS[name] for name in names or MUTANTS]
    if mix is not None:
        chosen = [replace(mutant, mix=mix) for mutant in chosen]
    # Those of one mix one after the other, behind their control.
    chosen.sort(key=lambda mutant: mutant.mix)
    chaos = ChaosCommand(seed=seed, minutes=minutes, environment=os.environ)
    results: list[Result] = []
    try:
        for result in try_mutants(chosen, chaos, has_controls=controls):
            results.append(result)
            output.progress(_line(result))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    _show(output, results, is_json=is_json)
    if not all(result.outcome is Outcome.CAUGHT for result in results):
        sys.exit(EXIT_NOT_ALL_CAUGHT)


def _line(result: Result) -> str:
    seen = ", ".join(result.seen_by) or result.reason
    return f"{result.mutant.name}: {result.outcome}{f' ({seen})' if seen else ''}"


def _show(output: Output, results: Sequence[Result], *, is_json: bool) -> None:
    caught_count = sum(result.outcome is Outcome.CAUGHT for result in results)
    if is_json:
        output.json(
            {
                "caught_count": caught_count,
                "tried_count": len(results),
                "mutants": [
                    {
                        **_described(result.mutant),
                        "outcome": result.outcome.value,
                        "seen_by": list(result.seen_by),
                        "reason": result.reason,
                    }
                    for result in results
                ],
            }
        )
        return
    rows = [
        (
            result.mutant.name,
            result.mutant.mix,
            result.outcome.value,
            ", ".join(result.seen_by) or "-",
            result.reason,
        )
        for result in results
    ]
    output.table(
        f"{caught_count} of {len(results)} caught",
        ("name", "mix", "outcome", "seen by", "reason"),
        rows,
    )


def _described(mutant: Mutant) -> dict[str, object]:
    return {
        "name": mutant.name,
        "defect": mutant.defect,
        "breaks": list(mutant.breaks),
        "mix": mutant.mix,
    }


if __name__ == "__main__":
    main()
