"""``python -m loadtest.chaos.joining``: what ``tally chaos report`` runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from loadtest.chaos.failures import ChaosFailed
from loadtest.chaos.joining.joined import joined
from loadtest.chaos.joining.picture import render_svg
from loadtest.chaos.joining.report import print_joined, render_markdown, render_page
from loadtest.chaos.judging import VALID
from loadtest.chaos.recording import DOCUMENT_FILE
from ops.output import Output

EXIT_NOT_VALID = 1
EXIT_UNREADABLE = 3


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "is_json", is_flag=True)
@click.option("--html", "html_path", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--svg", "svg_path", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--markdown", "markdown_path", type=click.Path(path_type=Path, dir_okay=False))
def main(
    paths: tuple[Path, ...],
    is_json: bool,
    html_path: Path | None,
    svg_path: Path | None,
    markdown_path: Path | None,
) -> None:
    """Join runs. `tally chaos report` checks the arguments and explains them."""
    output = Output(os.environ)
    try:
        document = joined([_read(path) for path in paths])
    except ChaosFailed as failed:
        output.complaint(str(failed))
        sys.exit(EXIT_UNREADABLE)
    for path, render in (
        (html_path, render_page),
        (svg_path, render_svg),
        (markdown_path, render_markdown),
    ):
        if path is not None:
            path.write_text(render(document), encoding="utf-8")
    if is_json:
        output.json(document)
    else:
        print_joined(document, output)
    if document["totals"]["verdict"] != VALID:
        sys.exit(EXIT_NOT_VALID)


def _read(path: Path) -> dict[str, Any]:
    """The document in a file, or in a run's directory. Raises ChaosFailed."""
    file = path / DOCUMENT_FILE if path.is_dir() else path
    if path.is_dir() and not file.exists():
        raise ChaosFailed(f"{path} holds no run: there is no {DOCUMENT_FILE} in it")
    try:
        document: dict[str, Any] = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as fault:
        raise ChaosFailed(f"{file} is no document of `tally chaos --json`: {fault}") from fault
    return document


if __name__ == "__main__":
    main(prog_name="tally chaos report")
