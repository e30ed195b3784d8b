"""``python -m loadtest.bench``: what ``tally bench`` runs."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from pathlib import Path
from typing import Any

import click

from loadtest.bench.faults import BenchFailed
from loadtest.bench.growth import GROWTH_GATEWAYS, GROWTH_HOSTS, GROWTH_ORDERS, measure_growth
from loadtest.bench.plan import GROUPS, GROWTH, RUN_NAMES, Options, Plan
from loadtest.bench.report_growth import print_growth
from loadtest.bench.report_html import render_html
from loadtest.bench.report_table import print_report
from loadtest.bench.session import Session
from loadtest.interrupting import cancel_on_signals
from ops.compiled.form import INTERPRETED_VARIABLE
from ops.local.faults import LocalFault
from ops.output import Output

# The short form: enough to see that everything works, too little to compare.
SHORT_SECONDS = 1.0

# What a process has open beside the generator's connections: stores, logs, listeners.
OTHER_FILES = 128

EXIT_VOID = 1
# As everywhere: 128 and the number of SIGINT.
EXIT_INTERRUPTED = 130


def _writable(_context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    """Refuse, before minutes of runs, a page that could not be written after them."""
    if path is not None:
        if path.is_dir():
            raise click.BadParameter(f"{path} is a directory")
        folder = path.absolute().parent
        if not folder.is_dir():
            raise click.BadParameter(f"there is no directory {folder}")
        is_there = path.exists()
        try:
            # Only an attempt tells: whoever is root may write anywhere, and still can't.
            with path.open("ab"):
                pass
        except OSError as fault:
            raise click.BadParameter(f"{path} can't be written: {fault.strerror}") from None
        if not is_there:
            path.unlink()
    return path


@click.command()
@click.argument(
    "names", nargs=-1, type=click.Choice([*RUN_NAMES, *GROUPS, GROWTH]), metavar="[NAME…]"
)
@click.option("--repeat", type=int, default=1)
@click.option("--seed", type=int, default=1)
@click.option("--seconds", type=float, default=None)
@click.option("--gateways", type=int, default=None)
@click.option("--hosts", type=int, default=None)
@click.option("--connections", type=int, default=Options().connections)
@click.option("--held-every", type=int, default=Options().held_every)
@click.option("--hosts-without-ray", is_flag=True)
@click.option("--interpreted", "is_interpreted", is_flag=True)
@click.option("--short", "is_short", is_flag=True)
@click.option("--json", "is_json", is_flag=True)
@click.option(
    "--html",
    "html_path",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_writable,
)
@click.option("--orders", type=int, default=None)
def main(
    names: tuple[str, ...],
    repeat: int,
    seed: int,
    seconds: float | None,
    gateways: int | None,
    hosts: int | None,
    connections: int,
    held_every: int,
    hosts_without_ray: bool,
    is_interpreted: bool,
    is_short: bool,
    is_json: bool,
    html_path: Path | None,
    orders: int | None,
) -> None:
    """Run what is named. `tally bench` checks the arguments and explains them."""
    refusal = _refusal(
        names, repeat=repeat, seconds=seconds, orders=orders, is_short=is_short
    ) or _refused_connections(connections)
    if refusal is not None:
        raise click.UsageError(refusal)
    output = Output(os.environ)
    default_seconds = SHORT_SECONDS if is_short else Options().seconds
    options = Options(
        repeat=repeat,
        seed=seed,
        seconds=seconds or default_seconds,
        gateways=gateways or (GROWTH_GATEWAYS if GROWTH in names else Options().gateways),
        hosts=hosts or (GROWTH_HOSTS if GROWTH in names else Options().hosts),
        connections=connections,
        held_every=held_every,
        is_ray_used=not hosts_without_ray,
        is_interpreted=is_interpreted or os.environ.get(INTERPRETED_VARIABLE) == "1",
        pool_sizes=(16,) if is_short else Options().pool_sizes,
        backlog_max=2_000 if is_short else Options().backlog_max,
        is_short=is_short,
    )
    try:
        document = asyncio.run(_measure(names, options, orders, output))
    except asyncio.CancelledError:
        output.complaint("interrupted; the stack is ended and its data deleted")
        sys.exit(EXIT_INTERRUPTED)
    except (BenchFailed, LocalFault) as fault:
        output.complaint(str(fault))
        sys.exit(EXIT_VOID)
    if is_json:
        output.json(document)
    elif GROWTH in names:
        print_growth(document, output)
    else:
        print_report(document, output)
    is_written = html_path is None or _write_page(html_path, document, output)
    if not is_written or document["void"] or not document["verify"]["ok"]:
        sys.exit(EXIT_VOID)


def _write_page(path: Path, document: dict[str, Any], output: Output) -> bool:
    """Whether that could be done; why not is told."""
    try:
        path.write_text(render_html(document), encoding="utf-8")
    except OSError as fault:
        output.complaint(f"{path}: {fault.strerror}")
        return False
    return True


def _refusal(
    names: tuple[str, ...],
    *,
    repeat: int,
    seconds: float | None,
    orders: int | None,
    is_short: bool,
) -> str | None:
    """Why these can't be asked for together: what would be ignored is refused."""
    if GROWTH not in names:
        is_told = orders is not None
        return f"--orders: only {GROWTH} ends with a number; see --seconds" if is_told else None
    if len(names) > 1:
        return f"NAME: {GROWTH} takes minutes and is run alone, without other names"
    if repeat > 1:
        return f"--repeat: {GROWTH} is run once; its own readings show the noise"
    if seconds is not None:
        return f"--seconds: {GROWTH} ends with its last order; see --orders"
    if is_short:
        return f"--short: {GROWTH} has no short form; see --orders"
    return None


def _refused_connections(count: int) -> str | None:
    """Why generator and gateway, which inherit our bound of open files, could not have so many."""
    files_max, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files_max == resource.RLIM_INFINITY or count + OTHER_FILES <= files_max:
        return None
    return f"--connections: {count:,} and {OTHER_FILES} other files are more than may be open here; see ulimit -n"


async def _measure(
    names: tuple[str, ...], options: Options, orders: int | None, output: Output
) -> dict[str, Any]:
    cancel_on_signals()
    if GROWTH in names:
        return await measure_growth(options, orders or GROWTH_ORDERS, output.progress)
    return await Session(Plan.of(names), options, output.progress).run()


if __name__ == "__main__":
    # People call it by that name, and its help is the one that explains the options.
    main(prog_name="tally bench")
