"""``python -m loadtest.chaos``: what ``tally chaos`` runs."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import click

from loadtest.chaos.cells import ALL, MIXES, NONE
from loadtest.chaos.failures import ChaosFailed
from loadtest.chaos.judging import UNKNOWN, VIOLATED
from loadtest.chaos.options import RATE_PER_S, SINGLES, Options
from loadtest.chaos.report_html import render_html
from loadtest.chaos.report_table import print_report
from loadtest.chaos.session import Session
from loadtest.history.directories import new_run_directory
from loadtest.interrupting import cancel_on_signals
from ops.local.faults import LocalFault
from ops.output import Output
from ops.stack.settings import passed_environment

EXIT_VIOLATED = 1
EXIT_UNKNOWN = 3
# As everywhere: 128 and the number of SIGINT.
EXIT_INTERRUPTED = 130


@click.command()
@click.option("--mix", type=click.Choice(MIXES), default=ALL)
@click.option("--single", type=click.Choice(list(SINGLES)), default=None)
@click.option("--seed", type=int, default=1)
@click.option("--minutes", type=float, default=Options().minutes)
@click.option("--cell", "patterns", multiple=True)
@click.option("--cells", "cell_count", type=int, default=None)
@click.option("--rate", "rate_per_s", type=float, default=RATE_PER_S)
@click.option("--gateways", type=int, default=Options().gateways)
@click.option("--hosts", type=int, default=Options().hosts)
@click.option("--webhooks", "has_webhooks", is_flag=True)
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), default=None)
@click.option("--json", "is_json", is_flag=True)
@click.option("--html", "html_path", type=click.Path(path_type=Path, dir_okay=False), default=None)
def main(is_json: bool, html_path: Path | None, **given: Any) -> None:
    """Run what is asked for. `tally chaos` checks the arguments and explains them."""
    output = Output(os.environ)
    options = Options(**given, environment=passed_environment(os.environ))
    if options.mix != NONE and not options.cells():
        raise click.UsageError(f"no cell of {options.mix} matches {' or '.join(options.patterns)}")
    if options.directory is not None:
        new_run_directory(options.directory)
    try:
        document = asyncio.run(_run(options, output))
    except asyncio.CancelledError:
        output.complaint("interrupted; the stack is ended and its data deleted")
        sys.exit(EXIT_INTERRUPTED)
    except (ChaosFailed, LocalFault) as fault:
        output.complaint(str(fault))
        sys.exit(EXIT_UNKNOWN)
    if is_json:
        output.json(document)
    else:
        print_report(document, output)
    if html_path is not None:
        html_path.write_text(render_html(document), encoding="utf-8")
    if document["verdict"] == VIOLATED:
        sys.exit(EXIT_VIOLATED)
    if document["verdict"] == UNKNOWN:
        sys.exit(EXIT_UNKNOWN)


async def _run(options: Options, output: Output) -> dict[str, Any]:
    cancel_on_signals()
    return await Session(options, output.progress).run()


if __name__ == "__main__":
    # People call it by that name, and its help is the one that explains the options.
    main(prog_name="tally chaos")
