"""Printing: tables for people, JSON for programs, progress on stderr, colours only on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

# A terminal is as wide as it is; a pipe has no width, and a cut column helps nobody.
_PIPE_WIDTH = 200


class OutputFormat(StrEnum):
    TABLE = "table"
    JSON = "json"


class Output:
    """Where one command prints. Results go to ``out``, progress and complaints to ``err``."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        out: TextIO | None = None,
        err: TextIO | None = None,
    ) -> None:
        self._out = _console(out or sys.stdout, environment)
        self._err = _console(err or sys.stderr, environment)

    @property
    def console(self) -> Console:
        """Where results go, for what draws itself."""
        return self._out

    @property
    def error_console(self) -> Console:
        """Where progress that moves is drawn."""
        return self._err

    def line(self, text: str = "", *, style: str | None = None) -> None:
        """Print one line of a result, as it is: nothing in it is markup."""
        self._out.print(Text(text, style=style or ""), soft_wrap=True)

    def json(self, document: object) -> None:
        """Print a result for programs; nothing else goes to stdout then."""
        self._out.file.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")

    def json_line(self, document: object) -> None:
        """Print one of many results for programs, on a line of its own, at once."""
        self._out.file.write(json.dumps(document, ensure_ascii=False, default=str) + "\n")
        self._out.file.flush()

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print rows under their columns; numbers stand to the right. Empty names: no header."""
        table = Table(
            title=title or None,
            title_justify="left",
            box=None,
            pad_edge=False,
            show_header=any(columns),
        )
        for index, column in enumerate(columns):
            is_number = bool(rows) and all(isinstance(row[index], int) for row in rows)
            table.add_column(column, justify="right" if is_number else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
        self._out.print(table)

    def progress(self, text: str) -> None:
        """Tell that a step was done or begun."""
        self._err.print(Text.assemble(("  ", ""), text), soft_wrap=True)

    def complaint(self, text: str) -> None:
        """Say what went wrong, and what to do."""
        self._err.print(Text.assemble(("tally: ", "bold red"), text), soft_wrap=True)


def _console(file: TextIO, environment: Mapping[str, str]) -> Console:
    is_terminal = file.isatty()
    has_colours = is_terminal and not environment.get("NO_COLOR")
    return Console(
        file=file,
        force_terminal=is_terminal,
        no_color=not has_colours,
        color_system="auto" if has_colours else None,
        width=None if is_terminal else _PIPE_WIDTH,
        highlight=False,
        emoji=False,
        markup=False,
    )
