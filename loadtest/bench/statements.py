"""The benchmark's own SQL files: read as those of storage are."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from storage.sql_files import parse_statements


def read_own_sql(name: str) -> str:
    """Return the text of a file below ``loadtest/bench/sql``."""
    return resources.files("loadtest.bench").joinpath("sql", name).read_text(encoding="utf-8")


def load_own_statements(name: str) -> Mapping[str, str]:
    """Return the named statements of such a file."""
    return parse_statements(read_own_sql(name))
