"""``python -m loadtest.checker DIRECTORY``: check the records of one run."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from loadtest.checker.checking import check
from loadtest.checker.collecting import collect
from loadtest.checker.rendering import report_document, report_lines
from loadtest.checker.report import Verdict

EXIT_CODES = {Verdict.VALID: 0, Verdict.VIOLATED: 1, Verdict.UNKNOWN: 2}


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--collect",
    "is_collecting",
    is_flag=True,
    help="First read books, PSPs, queue and logs of the run's stack, which has to run.",
)
@click.option("--json", "is_json", is_flag=True, help="Print JSON instead of a table.")
def main(directory: Path, is_collecting: bool, is_json: bool) -> None:
    """Check a run directory. Exits with 0 for valid, 1 for violated, 2 for unknown."""
    if is_collecting:
        for unread in asyncio.run(collect(directory)):
            sys.stderr.write(f"can't be read: {unread}\n")
    report = check(directory)
    if is_json:
        text = msgspec.json.format(msgspec.json.encode(report_document(report))).decode()
        sys.stdout.write(f"{text}\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in report_lines(report))
    sys.exit(EXIT_CODES[report.verdict])


if __name__ == "__main__":
    main()
