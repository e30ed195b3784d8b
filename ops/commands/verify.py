"""``tally verify``: recompute the books from their rows, and compare them with what the PSPs recorded."""

from __future__ import annotations

import asyncio
import sys

import click

from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.counting import counted
from ops.exit_codes import ExitCode
from ops.output import Output
from ops.size_text import size_text
from ops.verify.progress import VerifyProgress
from ops.verify.report import CheckResult, Report, State
from ops.verify.story import place_text, story_lines
from ops.verify.verification import step_count
from ops.verify.verification import verify as run_verification


@click.command()
@output_option
@json_option
@click.pass_obj
def verify(context: CommandContext, output_format: str, is_json: bool) -> None:
    """Check that the books are whole, and that they agree with the PSPs' own records.

    Works while payments are made. Exits with 1 when anything is wrong or can't be read.
    """
    context.running_state()
    config = context.config()

    async def run() -> Report:
        console = context.output.error_console
        with VerifyProgress(console, step_count=step_count(config)) as progress:
            return await run_verification(config, progress)

    report = asyncio.run(run())
    if is_json_wanted(output_format, is_json):
        context.output.json(report.document())
    else:
        print_report(report, context.output)
    sys.exit(ExitCode.OK if report.is_ok else ExitCode.FAILED)


def print_report(report: Report, output: Output) -> None:
    """A line a check, what was found wrong or unreadable, the first finding's story, and the verdict."""
    output.table(
        "",
        ("check", "state", "checked", "violations", "claim"),
        [
            (
                check.name,
                check.state.value,
                _shown(check.checked),
                _shown(check.violations),
                check.claim,
            )
            for check in report.checks
        ],
    )
    output.line()
    in_flight = report.charges_of_open_orders + report.charges_of_newer_orders
    if in_flight:
        output.line(
            f"In flight, and left out: {counted(in_flight, 'charge')}"
            f" ({report.charges_of_open_orders} of open orders,"
            f" {report.charges_of_newer_orders} of orders newer than the snapshot)"
        )
    for check in report.checks:
        if check.first is not None:
            place = place_text(check.first.place)
            output.line(f"{check.name}, {place}: {check.first.text}", style="bold red")
        elif check.detail is not None:
            output.line(f"{check.name}: {check.detail}")
    if (red := report.first_red) is not None:
        _print_story(red, output)
    output.line(
        f"{_verdict(report)}, as of {report.snapshot.get('taken_at', 'no moment')}"
        f" ({report.seconds:.1f} s, {size_text(report.peak_memory_bytes)} of memory at most)",
        style="bold green" if report.is_ok else "bold red",
    )


def _print_story(check: CheckResult, output: Output) -> None:
    if check.first is None:
        return
    output.line()
    output.line(f"The story of {check.name}, {place_text(check.first.place)}:")
    for line in story_lines(check.first.story):
        output.line(line)
    output.line()


def _verdict(report: Report) -> str:
    """Books that are wrong are told apart from books of which not all could be read."""
    states = {check.state for check in report.checks}
    if report.is_ok:
        return "The books are whole"
    if State.FAILED not in states:
        return "The books could not be checked whole"
    not_whole = ", and could not be checked whole" if State.UNREADABLE in states else ""
    return f"The books are NOT right{not_whole}"


def _shown(count: int | None) -> int | str:
    """A count, or that there is none: nothing known is not zero."""
    return "-" if count is None else count
