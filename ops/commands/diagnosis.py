"""``tally doctor``: what this machine lacks, and what of ours listens where."""

from __future__ import annotations

import sys

import click

from ops.context import CommandContext, is_json_wanted, json_option, output_option
from ops.doctor import Verdict, examine
from ops.exit_codes import ExitCode

_STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "bold red"}


@click.command()
@output_option
@json_option
@click.pass_obj
def doctor(context: CommandContext, output_format: str, is_json: bool) -> None:
    """Check Python, the C library, servers, ports and disk, and say what listens where.

    Exits with 1 when something keeps a stack from running here.
    """
    findings = examine(context.root, context.environment)
    if is_json_wanted(output_format, is_json):
        context.output.json(
            [
                {"subject": item.subject, "verdict": item.verdict, "detail": item.detail}
                for item in findings
            ]
        )
    else:
        for item in findings:
            text = f"{item.verdict:8}{item.subject}: {item.detail}"
            context.output.line(text, style=_STYLES[item.verdict])
    has_failed = any(item.verdict is Verdict.FAILED for item in findings)
    sys.exit(ExitCode.FAILED if has_failed else ExitCode.OK)
