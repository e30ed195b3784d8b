"""``tally chaos``: makes faults, on a stack of its own, and says what held."""

from __future__ import annotations

import click

from ops.commands.bench import run_apart
from ops.context import is_json_wanted, json_option, output_option
from ops.number_options import IntegerRange, NumberRange

MIXES = (
    "none",
    "kill",
    "freeze",
    "network",
    "disk",
    "psp",
    "poison",
    "double_start",
    "clock",
    "stores",
    "ray",
    "all",
)
SINGLES = ("host", "redis", "postgres", "gcs")


@click.group(invoke_without_command=True)
@click.option(
    "--mix", type=click.Choice(MIXES), default="all", show_default=True, help="Which faults."
)
@click.option(
    "--single",
    type=click.Choice(SINGLES),
    help="In place of a mix: kill one, once, and hold what follows against its goals.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Draws order, times, targets.")
@click.option(
    "--minutes",
    type=NumberRange(0.1, 600),
    help="How long, at least: every cell is hit once.  [default: 1]",
)
@click.option(
    "--cell",
    multiple=True,
    metavar="PATTERN",
    help="Only cells whose names match, such as 'kill/host/*'; may be repeated.",
)
@click.option(
    "--cells", type=IntegerRange(1, 1_000), help="Draw so many cells of the mix, for short runs."
)
@click.option("--rate", type=NumberRange(1, 2_000), help="Payments a second.  [default: 60]")
@click.option("--gateways", type=IntegerRange(1, 64), help="Gateway processes.  [default: 2]")
@click.option("--hosts", type=IntegerRange(1, 16), help="Partition hosts.  [default: 2]")
@click.option(
    "--webhooks",
    is_flag=True,
    help="Storefronts have endpoints, and what these get is checked (I18).",
)
@click.option(
    "--directory", type=click.Path(file_okay=False), help="Keep the records of the run there."
)
@click.option("--html", type=click.Path(dir_okay=False), help="Also write a page with charts.")
@output_option
@json_option
@click.pass_context
def chaos(context: click.Context, /, output_format: str, is_json: bool, **options: object) -> None:
    """Make faults by a seeded plan under load, heal, and check that nothing was lost or doubled.

    The stack is a new one in a temporary directory; the one of this home is left alone.
    Exits with 1 on a violation, with 3 when something could not be looked at.
    """
    if context.invoked_subcommand is None:
        run_apart("loadtest.chaos", [], {**options, "json": is_json_wanted(output_format, is_json)})


@chaos.command()
@click.argument(
    "paths", nargs=-1, required=True, metavar="PATH…", type=click.Path(exists=True, readable=True)
)
@click.option("--html", type=click.Path(dir_okay=False), help="Also write a page.")
@click.option("--svg", type=click.Path(dir_okay=False), help="Also write the picture alone.")
@click.option("--markdown", type=click.Path(dir_okay=False), help="Also write it as Markdown.")
@output_option
@json_option
def report(paths: tuple[str, ...], output_format: str, is_json: bool, **options: object) -> None:
    """Join runs: what each was, and what each kind of fault did in all of them.

    PATH is what `--json` printed, or a directory that `--directory` kept. Exits with 1 unless
    every run was valid.
    """
    run_apart(
        "loadtest.chaos.joining", paths, {**options, "json": is_json_wanted(output_format, is_json)}
    )
