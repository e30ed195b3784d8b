"""The directory that one run's records go into."""

from __future__ import annotations

from pathlib import Path

import click


def new_run_directory(directory: Path) -> Path:
    """Make the directory where it is missing; return it.

    Raises click.UsageError for one that holds anything: records of two runs, read as those of one, show
    violations that never were, and might hide one that was.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise click.UsageError(
            f"{directory} is not empty: records of two runs would mix. Name a new directory."
        )
    return directory
